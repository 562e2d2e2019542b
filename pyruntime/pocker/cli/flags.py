"""The flags of `create` and `run`, and the settings that they stand for.

A flag that is taken as it is has a field of the settings; the others belong to a subject, whose module reads them. That
is loaded when one of them is given: `pocker run IMAGE` is to be fast.
"""

from __future__ import annotations

from pyruntime.commandline.parse import Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.pocker.options.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _texts(*rows: tuple[str, str, str]) -> tuple[Flag, ...]:
    """Flags with a text: name, value, help."""
    return tuple(Flag(name, "str", about, value=value) for name, value, about in rows)


def _lists(*rows: tuple[str, str, str]) -> tuple[Flag, ...]:
    """Flags that may be repeated."""
    return tuple(Flag(name, "list", about, value=value) for name, value, about in rows)


def _numbers(*rows: tuple[str, str]) -> tuple[Flag, ...]:
    return tuple(Flag(name, "int", about) for name, about in rows)


def _switches(*rows: tuple[str, str]) -> tuple[Flag, ...]:
    return tuple(Flag(name, "bool", about) for name, about in rows)


OLD_NAMES = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}   # Docker's, and still in use
# Subject -> its flags; the subject is the module of pyruntime.pocker.options that reads them.
SUBJECTS: dict[str, tuple[Flag, ...]] = {
    "environment": (
        Flag("env", "list", "set a variable of the environment; NAME alone: as it is here", short="e",
             value="NAME[=VALUE]"),
        Flag("label", "list", "give it a label", short="l", value="NAME[=VALUE]"),
        *_lists(("env-file", "FILE", "read variables from the lines of FILE"),
                ("label-file", "FILE", "read labels from the lines of FILE"),
                ("annotation", "NAME=VALUE", "give it an annotation of the runtime"))),
    "resources": (
        Flag("memory", "str", "how much memory it may use, as 512m", short="m", value="BYTES"),
        *_texts(("mem", "BYTES", "the same as --memory"),
                ("memory-swap", "BYTES", "memory and swap together; -1: no limit; default: twice --memory"),
                ("memory-reservation", "BYTES", "how much it is brought back to when memory is scarce"),
                ("cpus", "NUMBER", "how many CPUs' time it may use, as 1.5"),
                ("cpuset-cpus", "LIST", "the CPUs that it may run on, as 0-2,4"),
                ("cpuset-mems", "LIST", "the memory nodes that it may use"),
                ("cgroup-parent", "PATH", "the cgroup, or slice of systemd, that its own is made in"),
                ("oom-score-adj", "N", "-1000 to 1000: how likely it is killed when memory runs out")),
        *_numbers(("memory-swappiness", "0 to 100: how readily its memory is swapped out"),
                  ("cpu-period", "microseconds of a period of the scheduler"),
                  ("cpu-quota", "microseconds of each period that it may run"),
                  ("cpu-rt-period", "microseconds of a period of real-time scheduling"),
                  ("cpu-rt-runtime", "microseconds of each such period that it may run"),
                  ("pids-limit", "how many processes it may have; -1: no limit"),
                  ("pids", "the same as --pids-limit"),
                  ("blkio-weight", "10 to 1000: its share of the disks, beside others")),
        Flag("cpu-shares", "int", "its share of the CPUs, beside others; the usual is 1024", short="c"),
        *_switches(("oom-kill-disable", "let it wait, instead of killing it, when it has used all of --memory")),
        *_lists(("blkio-weight-device", "DEVICE:N", "its share of one disk"),
                ("device-read-bps", "DEVICE:RATE", "how many bytes a second it may read, as /dev/sda:1mb"),
                ("device-write-bps", "DEVICE:RATE", "how many bytes a second it may write"),
                ("device-read-iops", "DEVICE:RATE", "how many reads a second"),
                ("device-write-iops", "DEVICE:RATE", "how many writes a second"),
                ("ulimit", "NAME=SOFT[:HARD]", "a limit of each process, as nofile=1024"),
                ("sysctl", "NAME=VALUE", "set a parameter of the kernel, for its namespaces"))),
    "mounts": (
        Flag("volume", "list", "mount a directory or file of this machine, or a volume", short="v",
             value="[SOURCE:]PATH[:OPTIONS]"),
        *_lists(("mount", "KEY=VALUE,...", "mount, spelled out: type=bind|volume|tmpfs,source=...,target=..."),
                ("tmpfs", "PATH[:OPTIONS]", "a directory in memory"),
                ("volumes-from", "CONTAINER[:ro]", "mount what that container has mounted"))),
    "devices": (
        *_lists(("device", "DEVICE[:PATH][:rwm]", "a device of this machine, a directory of them, or the name of a"
                 " device of CDI, VENDOR/CLASS=NAME"),
                ("device-cgroup-rule", "RULE", 'allow devices, as "c 188:* rwm"')),
        *_texts(("gpus", "all|N|device=...", "GPUs, by CDI"))),
    "security": (
        *_lists(("cap-add", "NAME", "give it a capability, or ALL"),
                ("cap-drop", "NAME", "take a capability from it, or ALL"),
                ("security-opt", "OPTION", "seccomp=FILE|unconfined, apparmor=PROFILE|unconfined, label=...,"
                 " no-new-privileges, systempaths=unconfined, mask=PATH, unmask=PATH")),
        *_switches(("privileged", "give it all capabilities and devices, and hide nothing from it"))),
    "namespaces": _texts(
        ("ipc", "MODE", "private, shareable, host, none or container:NAME"),
        ("pid", "MODE", "private, host or container:NAME"),
        ("uts", "MODE", "private, host or container:NAME"),
        ("cgroupns", "MODE", "private or host"),
        ("userns", "MODE", "host, auto, or a user whose ids in /etc/subuid it gets")),
    "compatibility": (
        *_texts(("volume-driver", "DRIVER", "driver of the volumes that are made: local"),
                ("kernel-memory", "BYTES", "accepted for compatibility; has no effect")),
        *_lists(("storage-opt", "NAME=VALUE", "options of the storage driver: there are none")),
        Flag("disable-content-trust", "bool", "signatures of images are not verified in any case", default=True)),
    "network": (
        Flag("network", "list", "network to join: a name, none, host, container:NAME", value="NETWORK"),
        Flag("publish", "list", "lead a port of this machine to one of the container", short="p",
             value="[ADDRESS:][PORT:]PORT[/PROTOCOL]"),
        Flag("publish-all", "bool", "publish all ports that the image or --expose names, at any that are free",
             short="P"),
        *_texts(("ip", "ADDRESS", "its address in the network"), ("ip6", "ADDRESS", "its IPv6 address in the network"),
                ("mac-address", "ADDRESS", "its hardware address in the network")),
        *(Flag(name, "list", f"the same as --{whole}", hidden=True) for name, whole in OLD_NAMES.items()),
        *_lists(("network-alias", "NAME", "another name in the network"),
                ("link", "CONTAINER[:NAME]", "find another container of its networks by that name"),
                ("expose", "PORT[/PROTOCOL]", "a port that it listens at"),
                ("dns", "ADDRESS", "server to ask for names"),
                ("dns-search", "DOMAIN", "domain to look in for names"),
                ("dns-option", "OPTION", "option of resolv.conf(5)"),
                ("add-host", "NAME:ADDRESS", "a line of /etc/hosts; host-gateway: the address of this machine"))),
    "restart_log_health": (
        *_texts(("restart", "POLICY", "when to start it again: no, on-failure[:N], always, unless-stopped"),
                ("log-driver", "DRIVER", "where its output is kept: json-file, local or none"),
                ("health-cmd", "COMMAND", "a line of shell that says whether it is well"),
                ("health-interval", "TIME", "time between checks, as 30s"),
                ("health-timeout", "TIME", "how long a check may take"),
                ("health-start-period", "TIME", "time in which failures do not count"),
                ("health-start-interval", "TIME", "time between checks in that time")),
        *_lists(("log-opt", "NAME=VALUE", "max-size=SIZE, max-file=N")),
        *_numbers(("health-retries", "failures in a row that make it unhealthy")),
        *_switches(("no-healthcheck", "do without the image's check"))),
}
# Flag -> field of the settings that it is.
FIELDS = {"user": "user", "workdir": "workdir", "hostname": "hostname", "domainname": "domainname", "tty": "terminal",
          "interactive": "stdin", "rm": "remove", "init": "init", "read-only": "read_only", "group-add": "group_add",
          "stop-signal": "stop_signal", "stop-timeout": "stop_timeout", "platform": "platform"}
# What a caller reads of the command line, not of the settings.
MAKING = (
    Flag("attach", "list", "attach to STDIN, STDOUT or STDERR alone", short="a", value="STREAM"),
    Flag("name", "str", "name of the container", value="NAME"),
    Flag("pull", "str", "get the image from its registry: always, missing or never", default="missing", value="WHEN"),
    Flag("platform", "str", "which image of an index", value="OS/ARCH[/VARIANT]"),
    Flag("cidfile", "str", "write the container's ID to FILE, which must not exist", value="FILE"),
    Flag("quiet", "bool", "no progress when an image is pulled", short="q"),
)
FLAGS = tuple(sorted((
    Flag("domainname", "str", "NIS domain name of the container", value="NAME"),
    Flag("entrypoint", "str", "program instead of the image's entrypoint", value="PROGRAM"),
    Flag("group-add", "list", "another group to run as", value="GROUP"),
    Flag("hostname", "str", "host name of the container", short="h", value="NAME"),
    Flag("init", "bool", "run a small init that collects orphans and passes on signals"),
    Flag("interactive", "bool", "keep the standard input open", short="i"),
    Flag("read-only", "bool", "make the root filesystem read-only"),
    Flag("rm", "bool", "remove the container, and its anonymous volumes, when it has ended"),
    Flag("runtime", "str", "Docker's word for another runtime; there is this one", default="pyruntime", value="NAME"),
    Flag("shm-size", "str", "size of /dev/shm", default="64m", value="BYTES"),
    Flag("stop-signal", "str", "signal that `stop` sends; default: the image's, or TERM", value="SIGNAL"),
    Flag("stop-timeout", "int", "seconds that `stop` waits before it kills", default=10),
    Flag("tty", "bool", "give it a terminal", short="t"),
    Flag("user", "str", "user, and group, to run as", short="u", value="USER[:GROUP]"),
    Flag("workdir", "str", "working directory", short="w", value="DIR"),
    *(flag for flags in SUBJECTS.values() for flag in flags), *MAKING), key=lambda flag: flag.name))
_RUNTIME = "pyruntime"   # so are those that containerd's shims would run


def settings_of(parsed: Parsed) -> Settings:
    """What the flags and the words after the image say. Raises UsageError."""
    settings = Settings()
    settings.args = parsed.arguments[1:]
    given: dict[str, Any] = {name: parsed[name] for name in parsed.given}
    if "entrypoint" in given:
        settings.entrypoint = [given["entrypoint"]] if given["entrypoint"] else []
    for name, value in given.items():
        if name in FIELDS:
            setattr(settings, FIELDS[name], value)
    for old, name in OLD_NAMES.items():
        if old in given:
            given[name] = [*given.get(name, []), *given.pop(old)]
    for subject, flags in SUBJECTS.items():
        if any(flag.name in given for flag in flags):
            __import__(f"pyruntime.pocker.options.{subject}", fromlist=["read"]).read(settings, given)
    runtime: str = given.get("runtime", _RUNTIME)
    if runtime != _RUNTIME and not runtime.startswith("io.containerd."):
        raise UsageError(f'--runtime "{runtime}": containers of pocker are run by {_RUNTIME} alone: leave it out')
    if settings.stop_signal:
        from pyruntime.system.signals import signal_number

        signal_number(settings.stop_signal)   # told now: `stop` would be the first to meet it
    if settings.hostname or settings.domainname:
        from pyruntime.pocker.options.network import single

        single("hostname", settings.hostname)
        single("domainname", settings.domainname)
    if "shm-size" in given:
        from pyruntime.commandline.units import size

        settings.shm_size = size("shm-size", given["shm-size"])
    return settings
