"""config-linux.md#namespaces, #user-namespace-mappings, #offset-for-time-namespace."""

from __future__ import annotations

import os
import subprocess

from conformance.lib.bundle import Config, add_namespace, remove_namespace, use_user_namespace
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

NAMESPACES = "config-linux.md#namespaces"
MAPPINGS = "config-linux.md#user-namespace-mappings"
TIME = "config-linux.md#offset-for-time-namespace"
# The specification's name, and the kernel's in /proc/PID/ns.
KINDS = {
    "pid": "pid",
    "network": "net",
    "mount": "mnt",
    "ipc": "ipc",
    "uts": "uts",
    "user": "user",
    "cgroup": "cgroup",
    "time": "time",
}


def _ours(kernel_name: str) -> str:
    return os.readlink(f"/proc/self/ns/{kernel_name}")


def _ask(config: Config, kind: str, path: str = "") -> None:
    if kind == "user" and not path:
        use_user_namespace(config)
    else:
        add_namespace(config, kind, path)
    if kind == "time":
        config["ociVersion"] = "1.1.0"
    if kind == "uts":
        config.pop("hostname", None)


def _new(kind: str, name: str) -> None:
    @requirement(NAMESPACES, f"without a path a new {kind} namespace is created", name=f"new_{kind}")
    def case(t: Trial) -> None:
        t.need_namespace(name)
        config = t.sleeper()
        _ask(config, kind)
        t.check(t.start(config).namespace(name) != _ours(name), f"the process is in the runtime's {kind} namespace")


def _inherited(kind: str, name: str) -> None:
    @requirement(NAMESPACES, f"a {kind} namespace that is not listed is the runtime's", name=f"inherited_{kind}")
    def case(t: Trial) -> None:
        t.need_namespace(name)
        config = t.sleeper()
        remove_namespace(config, kind)
        if kind == "uts":
            del config["hostname"]
        if kind == "network":
            config["mounts"] = [entry for entry in config["mounts"] if entry["destination"] != "/sys"]
        t.equal(t.start(config).namespace(name), _ours(name), f"{kind} namespace of the process")


def _joined(kind: str, name: str) -> None:
    @requirement(NAMESPACES, f"with a path the process is put into that {kind} namespace", name=f"joined_{kind}")
    def case(t: Trial) -> None:
        t.need_namespace(name)
        pid = _holder(t) if kind == "mount" else _owner(t, kind)
        config = t.sleeper()
        _ask(config, kind, f"/proc/{pid}/ns/{name}")
        expected = os.readlink(f"/proc/{pid}/ns/{name}")
        t.equal(t.start(config).namespace(name), expected, f"{kind} namespace of the process")


def _owner(t: Trial, kind: str) -> int:
    """A container with a new namespace of this kind."""
    config = t.sleeper()
    _ask(config, kind)
    return t.start(config).pid


def _holder(t: Trial) -> int:
    """A process with a mount namespace in which the bundle is still visible, unlike that of a container."""
    unshare = t.need_tool("unshare")
    holder = subprocess.Popen([unshare, "--mount", "sleep", "1000"])
    t.eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/mnt") != _ours("mnt"), "unshare to unshare")
    return holder.pid


def _wrong_type(kind: str, name: str) -> None:
    other = "uts" if kind != "uts" else "ipc"

    @requirement(NAMESPACES, f"a path of a type other than {kind} generates an error", name=f"wrong_type_{kind}")
    def case(t: Trial) -> None:
        t.need_namespace(name)
        owner = t.start(t.sleeper())
        config = t.sleeper()
        _ask(config, kind, f"/proc/{owner.pid}/ns/{other}")
        t.refused(config, f"a {kind} namespace whose path is of type {other}")


def _duplicate(kind: str, name: str) -> None:
    @requirement(NAMESPACES, f"the type {kind} listed twice generates an error", name=f"duplicate_{kind}")
    def case(t: Trial) -> None:
        t.need_namespace(name)
        config = t.sleeper()
        _ask(config, kind)
        config["linux"]["namespaces"].append({"type": kind})
        t.refused(config, f"two {kind} namespaces")


for _kind, _name in KINDS.items():
    _new(_kind, _name)
    _inherited(_kind, _name)
    _joined(_kind, _name)
    _wrong_type(_kind, _name)
    _duplicate(_kind, _name)


@requirement(NAMESPACES, "a path must be absolute")
def relative_path(t: Trial) -> None:
    config = t.sleeper()
    add_namespace(config, "network", "proc/self/ns/net")
    container = t.container(config)
    done = container.create(cwd=None)
    t.fail(done, "create with a relative namespace path")


@requirement(NAMESPACES, "a path that does not exist generates an error")
def missing_path(t: Trial) -> None:
    config = t.sleeper()
    add_namespace(config, "network", "/nonexistent/netns")
    t.refused(config, "a namespace path that does not exist")


@requirement(NAMESPACES, "a path that is not a namespace generates an error")
def not_a_namespace(t: Trial) -> None:
    plain = t.path / "plain"
    plain.write_text("")
    config = t.sleeper()
    add_namespace(config, "network", str(plain))
    t.refused(config, "a namespace path that is a plain file")


@requirement(NAMESPACES, "an unknown type generates an error")
def unknown_type(t: Trial) -> None:
    config = t.sleeper()
    add_namespace(config, "dreams")
    t.refused(config, "an unknown namespace type")


@requirement(NAMESPACES, "pid: the program is process 1 and sees no process outside")
def pid_view(t: Trial) -> None:
    t.equal(t.output("echo $$; ls -d /proc/[0-9]* | wc -l").split()[0], "1", "pid of the program")


@requirement(NAMESPACES, "joining a pid namespace: the processes see each other")
def pid_joined_view(t: Trial) -> None:
    owner = t.start(t.config("exec sleep 4711"))
    config = t.config("tr '\\0' ' ' < /proc/1/cmdline")
    add_namespace(config, "pid", f"/proc/{owner.pid}/ns/pid")
    t.equal(t.output(config), "sleep 4711", "command of process 1")


@requirement(NAMESPACES, "network: a new namespace has only its own loopback device")
def network_view(t: Trial) -> None:
    # A tunnel driver that is loaded adds its fall-back device to every new namespace.
    names = t.output("tail -n +3 /proc/net/dev | cut -d: -f1").split()
    t.check("lo" in names, f"devices: {names}")
    t.check(not {name for name in names if name.startswith(("eth", "en", "veth"))}, f"devices of the host: {names}")


@requirement(NAMESPACES, "ipc: shared memory of the host is not visible")
def ipc_view(t: Trial) -> None:
    t.equal(t.output("tail -n +2 /proc/sysvipc/shm | wc -l"), "0", "shared memory segments seen in the container")


@requirement(NAMESPACES, "cgroup: the container sees its own cgroup as the root of the hierarchy")
def cgroup_view(t: Trial) -> None:
    t.need_namespace("cgroup")
    config = t.config("cut -d: -f3 /proc/self/cgroup | sort -u")
    add_namespace(config, "cgroup")
    t.equal(t.output(config), "/", "cgroup paths seen in the container")


# -- mappings ----------------------------------------------------------------------------------------------------------


def _mapping(key: str, file: str) -> None:
    @requirement(MAPPINGS, f"{file} has the mappings of {key}", name=file)
    def case(t: Trial) -> None:
        config = t.sleeper()
        use_user_namespace(config)
        config["linux"][key] = [
            {"containerID": 0, "hostID": 200000, "size": 10},
            {"containerID": 10, "hostID": 300000, "size": 1000},
            {"containerID": 5000, "hostID": 1000, "size": 1},
        ]
        lines = t.start(config).proc(file).read_text().splitlines()
        expected = {(0, 200000, 10), (10, 300000, 1000), (5000, 1000, 1)}
        t.equal({tuple(map(int, line.split())) for line in lines}, expected, file)


_mapping("uidMappings", "uid_map")
_mapping("gidMappings", "gid_map")


@requirement(MAPPINGS, "the process's files belong to the mapped ids on the host")
def mapped_files(t: Trial) -> None:
    config = t.config("touch /tmp/new")
    use_user_namespace(config)
    container = t.run(config)
    owner = (container.rootfs / "tmp/new").stat()
    t.equal((owner.st_uid, owner.st_gid), (100000, 100000), "owner on the host")


@requirement(MAPPINGS, "the ownership of the root filesystem is not changed", level="SHOULD NOT")
def ownership_unchanged(t: Trial) -> None:
    config = t.config("true")
    use_user_namespace(config)
    container = t.run(config)
    for name in ("bin/busybox", "etc", "etc/passwd"):
        t.equal((container.rootfs / name).stat().st_uid, 0, f"owner of {name}")


@requirement(MAPPINGS, "a new user namespace without mappings generates an error")
def user_without_mappings(t: Trial) -> None:
    config = t.sleeper()
    add_namespace(config, "user")
    t.refused(config, "a user namespace without mappings")


@requirement(MAPPINGS, "root of a user namespace has no access to the host's files", level="MUST NOT")
def user_has_no_power(t: Trial) -> None:
    secret = t.path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    config = t.config("cat /secret 2>/dev/null || echo refused")
    config["mounts"].append({"destination": "/secret", "type": "none", "source": str(secret), "options": ["bind"]})
    use_user_namespace(config)
    container = t.container(config)
    (container.rootfs / "secret").touch()
    t.succeed(container.create(), "create")
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(container.stdout.strip(), "refused", "reading a file of the host's root")


# -- time --------------------------------------------------------------------------------------------------------------


def _offset(clock: str, secs: int, nanosecs: int) -> None:
    name = f"{clock}_{'minus_' if secs < 0 else ''}{abs(secs)}"

    @requirement(TIME, f"timeOffsets: {clock} is shifted by {secs} s and {nanosecs} ns", name=name)
    def case(t: Trial) -> None:
        t.need_namespace("time")
        config = t.sleeper() | {"ociVersion": "1.1.0"}
        add_namespace(config, "time")
        config["linux"]["timeOffsets"] = {clock: {"secs": secs, "nanosecs": nanosecs}}
        lines = t.start(config).proc("timens_offsets").read_text().splitlines()
        offsets = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in lines}
        t.equal(offsets.get(clock), [secs, nanosecs], f"offset of {clock}")


_offset("monotonic", 86400, 5)
_offset("boottime", 604800, 0)
_offset("boottime", -1, 0)


@requirement(TIME, "the program sees the shifted clock: uptime grows by the offset")
def uptime_is_shifted(t: Trial) -> None:
    t.need_namespace("time")
    config = t.config("cut -d. -f1 /proc/uptime") | {"ociVersion": "1.1.0"}
    add_namespace(config, "time")
    config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}}
    t.check(int(t.output(config)) >= 1000000, "uptime in the container is not shifted")


@requirement(TIME, "an unknown clock generates an error")
def unknown_clock(t: Trial) -> None:
    t.need_namespace("time")
    config = t.sleeper() | {"ociVersion": "1.1.0"}
    add_namespace(config, "time")
    config["linux"]["timeOffsets"] = {"wallclock": {"secs": 1}}
    t.refused(config, "an offset of an unknown clock")


@requirement(TIME, "timeOffsets without a time namespace generates an error: it cannot be applied")
def offsets_without_namespace(t: Trial) -> None:
    t.need_namespace("time")
    config = t.sleeper() | {"ociVersion": "1.1.0"}
    config["linux"]["timeOffsets"] = {"boottime": {"secs": 1}}
    t.refused(config, "timeOffsets without a time namespace")


@requirement(NAMESPACES, "joining a user namespace by path needs no mappings, and has those of its owner")
def joined_user_mappings(t: Trial) -> None:
    owner_config = t.sleeper()
    use_user_namespace(owner_config, host_id=500000)
    owner = t.start(owner_config)
    config = t.sleeper()
    add_namespace(config, "user", f"/proc/{owner.pid}/ns/user")
    t.equal(t.start(config).status_field("Uid").split()[0], "500000", "user id seen from the host")


@requirement(NAMESPACES, "several namespaces of another container are joined at once")
def joined_many(t: Trial) -> None:
    owner = t.start(t.sleeper())
    config = t.sleeper()
    del config["hostname"]
    kinds = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
    for kind, name in kinds.items():
        add_namespace(config, kind, f"/proc/{owner.pid}/ns/{name}")
    container = t.start(config)
    for name in kinds.values():
        t.equal(container.namespace(name), owner.namespace(name), f"{name} namespace")


@requirement(NAMESPACES, "the order of the entries does not matter")
def any_order(t: Trial) -> None:
    config = t.sleeper()
    use_user_namespace(config)
    add_namespace(config, "cgroup")
    config["linux"]["namespaces"].reverse()
    container = t.start(config)
    for name in ("pid", "net", "ipc", "uts", "mnt", "user", "cgroup"):
        t.check(container.namespace(name) != _ours(name), f"the process is in the runtime's {name} namespace")
