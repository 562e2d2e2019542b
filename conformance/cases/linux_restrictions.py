"""config-linux.md: masked and read-only paths, sysctl, personality, memory policy, Intel RDT, mount label."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from conformance.lib.bundle import Config, remove_namespace, use_user_namespace
from conformance.lib.container import Container
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

MASKED = "config-linux.md#masked-paths"
READONLY = "config-linux.md#readonly-paths"
SYSCTL = "config-linux.md#sysctl"
PERSONALITY = "config-linux.md#personality"
POLICY = "config-linux.md#memory-policy"
RDT = "config-linux.md#intelrdt"
LABEL = "config-linux.md#mount-label"


def _with_secrets(t: Trial, script: str, **linux: object) -> Container:
    """A container whose root has /secret/file and /secret/dir/file."""
    config = t.config(script)
    config["linux"] |= linux
    container = t.container(config)
    (container.rootfs / "secret/dir").mkdir(parents=True)
    for name in ("secret/file", "secret/dir/file"):
        (container.rootfs / name).write_text("content\n")
    t.succeed(container.create(), "create")
    t.succeed(container.start(), "start")
    container.wait()
    return container


@requirement(MASKED, "a masked file cannot be read")
def masked_file(t: Trial) -> None:
    container = _with_secrets(t, "cat /secret/file 2>/dev/null; cat /secret/dir/file", maskedPaths=["/secret/file"])
    t.equal(container.stdout, "content\n", "readable content (only the unmasked file)")


@requirement(MASKED, "a masked directory shows none of its files")
def masked_directory(t: Trial) -> None:
    container = _with_secrets(t, "ls /secret/dir; cat /secret/dir/file", maskedPaths=["/secret/dir"])
    t.equal(container.stdout, "", "readable content")


@requirement(MASKED, "a masked directory cannot be written")
def masked_directory_readonly(t: Trial) -> None:
    container = _with_secrets(t, "touch /secret/dir/x 2>/dev/null || echo refused", maskedPaths=["/secret/dir"])
    t.equal(container.stdout, "refused\n", "output")


@requirement(MASKED, "a file below /proc can be masked")
def masked_proc(t: Trial) -> None:
    config = t.config("wc -c < /proc/cpuinfo")
    config["linux"]["maskedPaths"] = ["/proc/cpuinfo"]
    t.equal(t.output(config), "0", "bytes that can be read")


@requirement(MASKED, "a path that does not exist is not an error")
def masked_missing(t: Trial) -> None:
    config = t.config("test -e /not/there || echo still not there")
    config["linux"]["maskedPaths"] = ["/not/there", "/proc/not-there"]
    t.equal(t.output(config), "still not there", "output")


@requirement(MASKED, "masking cannot be undone in the container: the mount cannot be unmounted without CAP_SYS_ADMIN")
def masked_stays(t: Trial) -> None:
    container = _with_secrets(
        t, "umount /secret/file 2>/dev/null; cat /secret/file 2>/dev/null", maskedPaths=["/secret/file"]
    )
    t.equal(container.stdout, "", "readable content")


@requirement(MASKED, "a relative path is refused, or accepted with a warning")
def masked_relative(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["maskedPaths"] = ["etc/passwd"]
    t.refused_or_named(config, "a relative masked path", "maskedPaths[0]")


@requirement(MASKED, "masking does not change the file on the host", level="MUST NOT")
def masked_not_on_host(t: Trial) -> None:
    container = _with_secrets(t, "true", maskedPaths=["/secret/file", "/secret/dir"])
    t.equal((container.rootfs / "secret/dir/file").read_text(), "content\n", "the file on the host")


@requirement(READONLY, "a read-only directory can be read but not written")
def readonly_directory(t: Trial) -> None:
    script = "touch /secret/dir/x 2>/dev/null || echo refused; cat /secret/dir/file"
    container = _with_secrets(t, script, readonlyPaths=["/secret/dir"])
    t.equal(container.stdout, "refused\ncontent\n", "output")


@requirement(READONLY, "a read-only file can be read but not written; other files in its directory can be written")
def readonly_file(t: Trial) -> None:
    script = "(echo x > /secret/file) 2>/dev/null || echo refused; cat /secret/file; touch /secret/x && echo neighbour"
    container = _with_secrets(t, script, readonlyPaths=["/secret/file"])
    t.equal(container.stdout, "refused\ncontent\nneighbour\n", "output")


@requirement(READONLY, "/proc/sys can be made read-only")
def readonly_proc_sys(t: Trial) -> None:
    config = t.config("(echo 1 > /proc/sys/net/ipv4/ip_forward) 2>/dev/null || echo refused")
    config["linux"]["readonlyPaths"] = ["/proc/sys"]
    t.equal(t.output(config), "refused", "output")


@requirement(READONLY, "a path that does not exist is not an error")
def readonly_missing(t: Trial) -> None:
    config = t.config("echo ran")
    config["linux"]["readonlyPaths"] = ["/not/there"]
    t.equal(t.output(config), "ran", "output")


@requirement(READONLY, "a relative path is refused, or accepted with a warning")
def readonly_relative(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["readonlyPaths"] = ["etc"]
    t.refused_or_named(config, "a relative read-only path", "readonlyPaths[0]")


@requirement(READONLY, "flags of the path's mount are kept: noexec stays noexec")
def readonly_keeps_flags(t: Trial) -> None:
    config = t.config("grep ' /mnt ' /proc/self/mountinfo | tail -n 1 | cut -d' ' -f6")
    config["mounts"].append(
        {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["noexec", "nosuid", "nodev"]}
    )
    config["linux"]["readonlyPaths"] = ["/mnt"]
    seen = set(t.output(config).split(","))
    t.check({"ro", "noexec", "nosuid", "nodev"} <= seen, f"flags are {sorted(seen)}")


# -- sysctl ------------------------------------------------------------------------------------------------------------


def _sysctl(name: str, key: str, value: str) -> None:
    @requirement(SYSCTL, f"{key} is set in the container", name=f"sysctl_{name}")
    def case(t: Trial) -> None:
        path = "/proc/sys/" + key.replace(".", "/")
        t.skip_unless(os.path.exists(path), f'the kernel has no "{path}"')
        before = Path(path).read_text()
        config = t.config(f"cat {path}")
        config["linux"]["sysctl"] = {key: value}
        t.equal(t.output(config).split(), value.split(), key)
        t.equal(Path(path).read_text(), before, f"{key} of the host")


_sysctl("network", "net.ipv4.ip_forward", "1")
_sysctl("somaxconn", "net.core.somaxconn", "256")
_sysctl("range", "net.ipv4.ip_local_port_range", "20000 30000")
_sysctl("ipc", "kernel.shmmax", "123456789")
_sysctl("mqueue", "fs.mqueue.msg_max", "11")
_sysctl("sem", "kernel.sem", "250 32000 100 200")


@requirement(SYSCTL, "a key that does not exist generates an error")
def sysctl_unknown(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["sysctl"] = {"net.ipv4.no_such_thing": "1"}
    t.refused(config, "an unknown sysctl")


@requirement(SYSCTL, "a value that the kernel refuses generates an error")
def sysctl_bad_value(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "perhaps"}
    t.refused(config, "a sysctl value that is not a number")


@requirement(SYSCTL, "a key of the whole host is refused: it would not be limited to the container", level="MUST")
def sysctl_of_the_machine(t: Trial) -> None:
    before = Path("/proc/sys/vm/overcommit_memory").read_text()
    config = t.sleeper()
    config["linux"]["sysctl"] = {"vm.overcommit_memory": before.strip()}
    t.refused(config, "a sysctl that has no namespace")


@requirement(SYSCTL, "a network key without a network namespace is refused: it would be the host's")
def sysctl_without_namespace(t: Trial) -> None:
    value = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    config = t.sleeper()
    remove_namespace(config, "network")
    config["mounts"] = [entry for entry in config["mounts"] if entry["destination"] != "/sys"]
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": value}
    t.refused(config, "a network sysctl without a network namespace")


# -- personality, memory policy, RDT, label ----------------------------------------------------------------------------


@requirement(PERSONALITY, "LINUX32: uname reports a 32-bit machine")
def personality_linux32(t: Trial) -> None:
    t.skip_unless(os.uname().machine == "x86_64", "the case supports only x86_64")
    config = t.config("uname -m")
    config["linux"]["personality"] = {"domain": "LINUX32"}
    t.equal(t.output(config), "i686", "machine")


@requirement(PERSONALITY, "LINUX: uname reports the actual machine")
def personality_linux(t: Trial) -> None:
    config = t.config("uname -m")
    config["linux"]["personality"] = {"domain": "LINUX"}
    t.equal(t.output(config), os.uname().machine, "machine")


@requirement(PERSONALITY, "an unknown domain generates an error")
def personality_unknown(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["personality"] = {"domain": "SOLARIS"}
    t.refused(config, "an unknown personality")


def _policy(mode: str, nodes: str, shown: str, flags: tuple[str, ...] = ()) -> None:
    @requirement(
        POLICY,
        f"memoryPolicy {mode} {nodes} {' '.join(flags)}".strip(),
        name="_".join([mode.lower(), *map(str.lower, flags)]),
    )
    def case(t: Trial) -> None:
        t.skip_unless(
            os.path.exists("/proc/self/numa_maps"), "the kernel has no NUMA support (no /proc/PID/numa_maps)"
        )
        config = t.sleeper() | {"ociVersion": "1.3.0"}
        config["linux"]["memoryPolicy"] = {"mode": mode} | ({"nodes": nodes} if nodes else {})
        if flags:
            config["linux"]["memoryPolicy"]["flags"] = list(flags)
        words = {line.split()[1] for line in t.start(config).proc("numa_maps").read_text().splitlines()}
        t.check(any(word.startswith(shown) for word in words), f"policies of the process's memory: {sorted(words)}")


_policy("MPOL_DEFAULT", "", "default")
_policy("MPOL_BIND", "0", "bind")
_policy("MPOL_INTERLEAVE", "0", "interleave")
_policy("MPOL_PREFERRED", "0", "prefer")
_policy("MPOL_LOCAL", "", "local")
_policy("MPOL_BIND", "0", "bind=static", ("MPOL_F_STATIC_NODES",))


def _bad_policy(name: str, why: str, value: Config) -> None:
    @requirement(POLICY, f"{why} generates an error", name=f"bad_policy_{name}")
    def case(t: Trial) -> None:
        config = t.sleeper() | {"ociVersion": "1.3.0"}
        config["linux"]["memoryPolicy"] = value
        t.refused_by_start(config, why)


_bad_policy("mode", "an unknown mode", {"mode": "MPOL_SOMEWHERE"})
_bad_policy("no_mode", "no mode", {"nodes": "0"})
_bad_policy("flag", "an unknown flag", {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONE"]})
_bad_policy("nodes", "an invalid list of nodes", {"mode": "MPOL_BIND", "nodes": "first"})
_bad_policy("bind_without_nodes", "MPOL_BIND without nodes", {"mode": "MPOL_BIND"})
_bad_policy("missing_node", "a node that does not exist", {"mode": "MPOL_BIND", "nodes": "900"})


def _resctrl() -> bool:
    return any(" - resctrl " in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


@requirement(RDT, "intelRdt without a mounted resctrl filesystem generates an error")
def rdt_without_resctrl(t: Trial) -> None:
    t.skip_unless(not _resctrl(), "a resctrl filesystem is mounted")
    config = t.sleeper() | {"ociVersion": "1.2.0"}
    config["linux"]["intelRdt"] = {"closID": "conformance", "l3CacheSchema": "L3:0=f"}
    t.refused(config, "intelRdt without resctrl")


@requirement(RDT, "intelRdt: the process is in the tasks of its class of service")
def rdt_tasks(t: Trial) -> None:
    t.skip_unless(_resctrl(), "no resctrl filesystem is mounted")
    config = t.sleeper() | {"ociVersion": "1.2.0"}
    config["linux"]["intelRdt"] = {}
    container = t.start(config)
    tasks = Path("/sys/fs/resctrl", container.id, "tasks").read_text().split()
    t.check(str(container.pid) in tasks, "the process is not in the tasks of the container's directory")


def _rdt(name: str, rule: str, rdt: Config, prepare: bool, check: Callable[[Trial, Container, Path], None]) -> None:
    """``prepare``: create the directory of the class of service first; ``check`` gets the container and resctrl."""

    @requirement(RDT, rule, name=f"rdt_{name}")
    def case(t: Trial) -> None:
        t.skip_unless(_resctrl(), "no resctrl filesystem is mounted")
        top = Path("/sys/fs/resctrl")
        config = t.sleeper() | {"ociVersion": "1.3.0"}
        config["linux"]["intelRdt"] = rdt
        if prepare:
            (top / rdt["closID"]).mkdir()
        try:
            check(t, t.start(config), top)
        finally:
            if "closID" in rdt and (top / rdt["closID"]).exists() and rdt["closID"] != "/":
                (top / rdt["closID"]).rmdir()


def _in_class(t: Trial, container: Container, folder: Path) -> None:
    t.check(str(container.pid) in (folder / "tasks").read_text().split(), f"the process is not in {folder}/tasks")


def _deleted(t: Trial, container: Container) -> None:
    t.succeed(container.kill(), "kill")
    container.wait()
    t.succeed(container.delete(), "delete")


def _rdt_removed(t: Trial, container: Container, top: Path) -> None:
    _deleted(t, container)
    t.check(not (top / container.id).exists(), "the container's directory still exists")


def _rdt_kept(t: Trial, container: Container, top: Path) -> None:
    _deleted(t, container)
    t.check((top / "conf-class").exists(), "the class of service was removed")


_rdt("own_class", "without closID the class is named after the container", {}, False,
     lambda t, c, top: _in_class(t, c, top / c.id))  # fmt: skip
_rdt("own_class_removed", "a class named after the container is removed by delete", {}, False, _rdt_removed)
_rdt("given_class", "with closID the process is in that class", {"closID": "conf-class"}, True,
     lambda t, c, top: _in_class(t, c, top / "conf-class"))  # fmt: skip
_rdt("given_class_kept", "an existing class is not removed by delete", {"closID": "conf-class"}, True, _rdt_kept)
_rdt("root_class", "closID / is the default class", {"closID": "/"}, False, _in_class)
_rdt(
    "monitoring",
    "enableMonitoring creates a monitoring group named after the container",
    {"enableMonitoring": True},
    False,
    lambda t, c, top: t.check((top / c.id / "mon_groups" / c.id).is_dir(), "there is no monitoring group"),
)


@requirement(RDT, "a closID without schemata, whose class does not exist, generates an error")
def rdt_missing_class(t: Trial) -> None:
    t.skip_unless(_resctrl(), "no resctrl filesystem is mounted")
    config = t.sleeper() | {"ociVersion": "1.3.0"}
    config["linux"]["intelRdt"] = {"closID": "conf-nowhere"}
    t.refused(config, "a closID whose class does not exist")


def _bad_rdt(name: str, why: str, value: Config) -> None:
    @requirement(RDT, f"{why} generates an error", name=f"bad_rdt_{name}")
    def case(t: Trial) -> None:
        config = t.sleeper() | {"ociVersion": "1.3.0"}
        config["linux"]["intelRdt"] = value
        t.refused(config, why)


_bad_rdt("memory_schema", "a memBwSchema that does not start with MB:", {"memBwSchema": "L3:0=f"})
_bad_rdt("memory_newline", "a memBwSchema with a newline", {"memBwSchema": "MB:0=20\nL3:0=f"})
_bad_rdt("schemata_newline", "an element of schemata with a newline", {"schemata": ["L3:0=f\nMB:0=20"]})


@requirement(LABEL, "mountLabel is the SELinux context of the container's mounts")
def mount_label(t: Trial) -> None:
    t.skip_unless(os.path.isdir("/sys/fs/selinux"), "SELinux is not enabled in the kernel")
    config = t.config("grep ' /dev/shm ' /proc/self/mountinfo")
    config["linux"]["mountLabel"] = "system_u:object_r:container_file_t:s0:c1,c2"
    t.check("container_file_t:s0:c1,c2" in t.output(config), "the context is not among the mount's options")


@requirement(MASKED, "a path that is masked twice is not an error")
def masked_twice(t: Trial) -> None:
    container = _with_secrets(t, "ls /secret/dir; echo end", maskedPaths=["/secret/dir", "/secret/dir"])
    t.equal(container.stdout, "end\n", "output")


@requirement(MASKED, "many masked directories are all masked")
def masked_many(t: Trial) -> None:
    config = t.config("ls /many/*/file 2>/dev/null | wc -l")
    config["linux"]["maskedPaths"] = [f"/many/{number}" for number in range(40)]
    container = t.container(config)
    for number in range(40):
        (container.rootfs / f"many/{number}").mkdir(parents=True)
        (container.rootfs / f"many/{number}/file").touch()
    t.succeed(container.create(), "create")
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(container.stdout.strip(), "0", "files that can be seen")


@requirement(MASKED, "a path can be both masked and read-only")
def masked_and_readonly(t: Trial) -> None:
    container = _with_secrets(t, "ls /secret/dir; echo end", maskedPaths=["/secret/dir"], readonlyPaths=["/secret/dir"])
    t.equal(container.stdout, "end\n", "output")


@requirement(READONLY, "a read-only path below a read-only path is not an error")
def readonly_nested(t: Trial) -> None:
    script = "touch /secret/dir/x 2>/dev/null || echo refused"
    container = _with_secrets(t, script, readonlyPaths=["/secret", "/secret/dir"])
    t.equal(container.stdout, "refused\n", "output")


@requirement(MASKED, "masking works in a user namespace, as a user without privileges")
def masked_in_user_namespace(t: Trial) -> None:
    config = t.config("ls /secret/dir; cat /secret/file; echo end")
    use_user_namespace(config)
    config["linux"]["maskedPaths"] = ["/secret/dir", "/secret/file"]
    config["process"]["user"] = {"uid": 1000, "gid": 1000}
    container = t.container(config)
    (container.rootfs / "secret/dir").mkdir(parents=True)
    (container.rootfs / "secret/dir/file").write_text("content")
    (container.rootfs / "secret/file").write_text("content")
    t.succeed(container.create(), "create")
    t.succeed(container.start(), "start")
    container.wait()
    t.check("content" not in container.stdout and "file" not in container.stdout, f"seen: {container.stdout!r}")
