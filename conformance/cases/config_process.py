"""config.md#process and #posix-process: program, arguments, environment, directory, terminal, limits."""

from __future__ import annotations

import os
import resource

from conformance.lib.bundle import PATH, Config
from conformance.lib.host import granted_capabilities
from conformance.lib.requirement import requirement
from conformance.lib.terminal import Terminal
from conformance.lib.trial import Trial

PROCESS = "config.md#process"
POSIX = "config.md#posix-process"
_CAP_SYS_RESOURCE = 24


@requirement(PROCESS, "cwd is the working directory of the program")
def cwd(t: Trial) -> None:
    config = t.config("pwd")
    config["process"]["cwd"] = "/etc"
    t.equal(t.output(config), "/etc", "working directory")


@requirement(PROCESS, "cwd must be an absolute path")
def cwd_relative(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["cwd"] = "etc"
    t.refused_by_start(config, "a relative cwd")


@requirement(PROCESS, "cwd is required")
def cwd_missing(t: Trial) -> None:
    config = t.sleeper()
    del config["process"]["cwd"]
    t.refused_by_start(config, "no cwd")


@requirement(PROCESS, "cwd is resolved in the container's root, including symlinks")
def cwd_symlink(t: Trial) -> None:
    config = t.config("pwd -P")
    config["process"]["cwd"] = "/link"
    container = t.container(config)
    (container.rootfs / "link").symlink_to("/etc")
    t.succeed(container.create(), "create")
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(container.stdout.strip(), "/etc", "working directory")


@requirement(PROCESS, "cwd may lie on a mount of the container")
def cwd_on_mount(t: Trial) -> None:
    config = t.config("pwd; touch here && ls")
    config["mounts"].append({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"})
    config["process"]["cwd"] = "/mnt"
    t.equal(t.output(config), "/mnt\nhere", "output")


@requirement(PROCESS, "env is the whole environment of the program")
def environment(t: Trial) -> None:
    config = t.config("tr '\\0' '\\n' < /proc/1/environ | sort")
    config["process"]["env"] = [PATH, "A=1", "B=two words", "EMPTY=", "C=a=b"]
    seen = t.output(config).split("\n")
    seen = [line for line in seen if not line.startswith("HOME=")]  # runc and crun add HOME: see README
    t.equal(sorted(seen), sorted(config["process"]["env"]), "environment")


@requirement(PROCESS, "variables of the caller of the runtime do not reach the program", level="MUST NOT")
def environment_not_inherited(t: Trial) -> None:
    os.environ["CONFORMANCE_LEAK"] = "leaked"
    t.check("CONFORMANCE_LEAK" not in t.output("env"), "a variable of the runtime's caller is in the environment")


@requirement(PROCESS, "args are the program's arguments, byte for byte")
def arguments(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["args"] = ["/bin/printf", "[%s]", "a b", "", "*", "$X", "é"]
    t.equal(t.output(config), "[a b][][*][$X][é]", "arguments")


@requirement(PROCESS, "args[0] without a slash is looked up in the PATH of env, inside the container")
def path_lookup(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["args"] = ["only-here"]
    config["process"]["env"] = ["PATH=/nowhere:/opt/tools:/bin"]
    container = t.container(config)
    tools = container.rootfs / "opt/tools"
    tools.mkdir(parents=True)
    (tools / "only-here").write_text("#!/bin/sh\necho found $0\n")
    (tools / "only-here").chmod(0o755)
    t.succeed(container.create(), "create")
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(container.stdout.strip(), "found /opt/tools/only-here", "output")


def _bad_args(name: str, value: object) -> None:
    @requirement(PROCESS, f"at least one entry is required in args: {value!r} is refused", name=f"args_{name}")
    def case(t: Trial) -> None:
        config = t.sleeper()
        if value is None:
            del config["process"]["args"]
        else:
            config["process"]["args"] = value
        t.refused_by_start(config, f"args {value!r}")


_bad_args("empty", [])
_bad_args("missing", None)


def _with_terminal(t: Trial, config: Config, size: tuple[int, int] | None = None) -> tuple[Terminal, str]:
    config["process"]["terminal"] = True
    if size:
        config["process"]["consoleSize"] = {"height": size[0], "width": size[1]}
    container = t.container(config)
    terminal = Terminal(t.path / "console")
    done = container.create("--console-socket", str(terminal.path))
    t.succeed(done, "create with --console-socket")
    terminal.accept(10 * t.scale)
    t.succeed(container.start(), "start")
    return terminal, terminal.read_until("END", 10 * t.scale)


@requirement(PROCESS, "terminal true: the three standard streams are one pseudoterminal, and it controls the process")
def terminal_streams(t: Trial) -> None:
    config = t.config("for n in 0 1 2; do test -t $n && echo tty$n; done; echo hello > /dev/tty && echo END")
    terminal, seen = _with_terminal(t, config)
    with terminal:
        t.equal(seen.split(), ["tty0", "tty1", "tty2", "hello", "END"], "output on the terminal")


@requirement(PROCESS, "consoleSize is the size of the terminal")
def console_size(t: Trial) -> None:
    terminal, seen = _with_terminal(t, t.config("stty size; echo END"), (33, 77))
    with terminal:
        t.equal(seen.split()[:2], ["33", "77"], "size seen in the container")


@requirement(PROCESS, "consoleSize is ignored without a terminal")
def console_size_ignored(t: Trial) -> None:
    config = t.config("test -t 0 || echo none")
    config["process"]["consoleSize"] = {"height": 10, "width": 20}
    t.equal(t.output(config), "none", "output")


@requirement(PROCESS, "terminal defaults to false: the streams are those of create")
def terminal_default(t: Trial) -> None:
    config = t.config("test -t 1 || echo to stdout; echo to stderr >&2")
    del config["process"]["terminal"]
    container = t.run(config)
    t.equal((container.stdout, container.stderr), ("to stdout\n", "to stderr\n"), "streams")


@requirement("config-linux.md#default-devices", "terminal true: /dev/console is the terminal")
def dev_console(t: Trial) -> None:
    terminal, seen = _with_terminal(t, t.config("echo hello > /dev/console; test -c /dev/console && echo END"))
    with terminal:
        t.equal(seen.split(), ["hello", "END"], "output on the terminal")


# -- rlimits -----------------------------------------------------------------------------------------------------------

_LIMITS = {
    "RLIMIT_AS": (2**34, 2**35),
    "RLIMIT_CORE": (1000, 2000),
    "RLIMIT_CPU": (1000, 2000),
    "RLIMIT_DATA": (2**34, 2**35),
    "RLIMIT_FSIZE": (2**30, 2**31),
    "RLIMIT_LOCKS": (10, 20),
    "RLIMIT_MEMLOCK": (4096, 8192),
    "RLIMIT_MSGQUEUE": (4096, 8192),
    "RLIMIT_NICE": (0, 0),
    "RLIMIT_NOFILE": (100, 200),
    "RLIMIT_NPROC": (1000, 2000),
    "RLIMIT_RSS": (2**30, 2**31),
    "RLIMIT_RTPRIO": (0, 0),
    "RLIMIT_RTTIME": (10**6, 2 * 10**6),
    "RLIMIT_SIGPENDING": (100, 200),
    "RLIMIT_STACK": (2**23, 2**24),
}
_NUMBERS = {name: getattr(resource, name) for name in _LIMITS if hasattr(resource, name)} | {
    "RLIMIT_LOCKS": 10,  # asm-generic/resource.h; Python lacks this constant
}


def _rlimit(kind: str, soft: int, hard: int) -> None:
    @requirement(POSIX, f"rlimits: soft and hard are those of getrlimit, for {kind}", name=kind.lower())
    def case(t: Trial) -> None:
        number = _NUMBERS[kind]
        _, ours = resource.getrlimit(number)
        raises = ours != resource.RLIM_INFINITY and hard > ours
        if raises and _CAP_SYS_RESOURCE not in granted_capabilities():
            t.skip(f"raising the hard {kind} above {ours} needs CAP_SYS_RESOURCE, which the host does not grant")
        config = t.sleeper()
        config["process"]["rlimits"] = [{"type": kind, "soft": soft, "hard": hard}]
        t.equal(resource.prlimit(t.start(config).pid, number), (soft, hard), f"{kind} (soft, hard)")


for _kind, (_soft, _hard) in _LIMITS.items():
    _rlimit(_kind, _soft, _hard)


@requirement(POSIX, "a limit of 2^64-1 is RLIM_INFINITY")
def rlimit_infinity(t: Trial) -> None:
    config = t.sleeper()
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    t.skip_unless(hard == resource.RLIM_INFINITY, f"the hard RLIMIT_CORE here is {hard}")
    config["process"]["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1}]
    t.equal(resource.prlimit(t.start(config).pid, resource.RLIMIT_CORE), (0, -1), "RLIMIT_CORE")


def _bad_rlimits(name: str, why: str, value: list[Config]) -> None:
    @requirement(POSIX, f"rlimits: {why} generates an error", name=f"rlimits_{name}")
    def case(t: Trial) -> None:
        config = t.sleeper()
        config["process"]["rlimits"] = value
        t.refused(config, why)


_SOME = {"soft": 10, "hard": 20}
_bad_rlimits("unknown", "an unknown type", [{"type": "RLIMIT_NONSENSE"} | _SOME])
_bad_rlimits("lower_case", "a type in lower case", [{"type": "rlimit_nofile"} | _SOME])
_bad_rlimits("duplicate", "the same type twice", [{"type": "RLIMIT_CORE"} | _SOME, {"type": "RLIMIT_CORE"} | _SOME])
_bad_rlimits("soft_above_hard", "a soft limit above the hard limit", [{"type": "RLIMIT_CORE", "soft": 20, "hard": 10}])


@requirement(POSIX, "a limit applies to the program and its children")
def rlimit_applies(t: Trial) -> None:
    config = t.config("ulimit -Sn; ulimit -Hn; sh -c 'ulimit -Hn'")
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]
    t.equal(t.output(config).split(), ["64", "128", "128"], "soft and hard limit, hard limit of a child")
