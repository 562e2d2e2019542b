"""Invalid config.json files: the mistake in each, and the path that its error must name.

``cases()`` yields (name, document, path), where the document is an object, or bytes if it is not JSON. It has three
parts: every leaf, bound and enumeration of the schema violated in an otherwise valid configuration; rules violated
individually; and texts that are not JSON. The path is empty for problems of the document as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pyruntime.runtime.config.schemas import inlined
from tests.data.good_configs import NAMESPACES, SECTIONS, Config, rich, section

Case = tuple[str, "Config | bytes", str]
Path = list["str | int"]

DROP = object()
"""Stands for the removal of a member."""

_OTHER_TYPES: dict[str, list[Any]] = {
    "string": [7, ["text"], True],
    "integer": ["7", 1.5, True, [7]],
    "boolean": ["true", 1],
    "array": ["text", {}],
    "object": ["text", []],
}


def cases() -> Iterator[Case]:
    yield from by_schema()
    yield from by_hand()
    yield from by_syntax()


def by_schema() -> Iterator[Case]:
    """Every value of the schema with every other type, beyond every bound, out of every set, and missing."""
    bases = [rich(), *(section(name) for name in SECTIONS)]
    done: set[str] = set()
    for base in bases:
        for path, broken, what in _broken(inlined("config.json"), base, []):
            name = f"{what}: {written(path)}"
            if name not in done:  # the sections of other platforms have their own small configuration
                done.add(name)
                yield name, changed(base, path, broken), written(path)


def touched() -> set[str]:
    """The paths of all wrong values: a test compares them with the schema."""
    return {path for part in (by_schema, by_hand) for _, _, path in part()}


def _broken(node: dict[str, Any], value: Any, path: Path) -> Iterator[tuple[Path, Any, str]]:
    """Path, wrong value, and name of the change, for every constraint of ``node`` on ``value``."""
    for other in _OTHER_TYPES[node["type"]]:
        yield path, other, f"{type(other).__name__} {json.dumps(other)[:12]}"
    if "enum" in node:
        yield path, "bogus", "unknown word"
        yield path, node["enum"][0].swapcase(), "wrong case"
    if "pattern" in node:
        yield path, "bogus\0", "NUL"
    if "minimum" in node:
        yield path, node["minimum"] - 1, "too small"
        yield path, node["maximum"] + 1, "too big"
    if node.get("minItems"):
        yield path, [], "empty"
    for name in node.get("required", ()):
        yield [*path, name], DROP, "missing"
        yield [*path, name], None, "null"
    yield from _below(node, value, path)


def _below(node: dict[str, Any], value: Any, path: Path) -> Iterator[tuple[Path, Any, str]]:
    if "items" in node and value:
        yield [*path, 0], None, "null item"
        for index, item in enumerate(value):
            yield from _broken(node["items"], item, [*path, index])
    for name, below in node.get("properties", {}).items():
        if name in value:
            yield from _broken(below, value[name], [*path, name])
    if "additionalProperties" in node:
        for name, item in value.items():
            yield from _broken(node["additionalProperties"], item, [*path, name])


def changed(base: Config, path: Path, value: Any) -> Any:
    """A copy of ``base`` with ``value`` at ``path``; the whole document is replaced when the path is empty."""
    if not path:
        return value
    document = base.copy()
    holder: Any = document
    for part in path[:-1]:
        holder[part] = holder[part].copy()
        holder = holder[part]
    if value is DROP:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return document


def written(path: Path) -> str:
    """A path in the form of messages. The test data has its own implementation, so it does not repeat a mistake of the
    code."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "a").isalnum() and part.isascii() and not part[0].isdigit():
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text


def _spaces(*without: str, **paths: str) -> list[dict[str, str]]:
    """Namespaces of every type except some, with a path for some."""
    entries = [{"type": kind} for kind in NAMESPACES if kind not in without]
    return [{**entry, "path": paths[entry["type"]]} if entry["type"] in paths else entry for entry in entries]


def _mount(**members: Any) -> list[dict[str, Any]]:
    return [{"destination": "/mnt", "type": "tmpfs", **members}]


def _ids(*ranges: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in ranges]


def _device(**members: Any) -> list[dict[str, Any]]:
    return [{"type": "c", "path": "/dev/x", "major": 1, "minor": 3, **members}]


def _rule(**members: Any) -> dict[str, Any]:
    return {"names": ["mount"], "action": "SCMP_ACT_ERRNO", **members}


def _deadline(runtime: int, deadline: int, period: int) -> dict[str, Any]:
    return {"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline, "period": period}


_NO_USER = {"linux.uidMappings": DROP, "linux.gidMappings": DROP}
_SECCOMP = "linux.seccomp"
_LONG = "x" * 65

# One line per broken rule: name, changes to the rich configuration, path that the message names.
BY_HAND: list[tuple[str, dict[str, Any], str]] = [
    ("major version 0", {"ociVersion": "0.5.0-dev"}, "ociVersion"),
    ("major version 2", {"ociVersion": "2.0.0"}, "ociVersion"),
    ("version of two numbers", {"ociVersion": "1.0"}, "ociVersion"),
    ("version with a v", {"ociVersion": "v1.0.2"}, "ociVersion"),
    ("version with a zero in front", {"ociVersion": "1.02.0"}, "ociVersion"),
    ("no version", {"ociVersion": ""}, "ociVersion"),
    ("no root", {"root": DROP}, "root"),
    ("empty root path", {"root.path": ""}, "root.path"),
    ("no process", {"process": DROP}, "process"),
    ("no args", {"process.args": DROP}, "process.args"),
    ("empty args", {"process.args": []}, "process.args"),
    ("empty program", {"process.args": [""]}, "process.args[0]"),
    ("relative cwd", {"process.cwd": "tmp"}, "process.cwd"),
    ("empty cwd", {"process.cwd": ""}, "process.cwd"),
    ("env without equals sign", {"process.env": ["A=b", "PATH"]}, "process.env[1]"),
    ("env without a name", {"process.env": ["=b"]}, "process.env[0]"),
    ("empty env entry", {"process.env": [""]}, "process.env[0]"),
    ("user without uid", {"process.user.uid": DROP}, "process.user.uid"),
    ("user without gid", {"process.user.gid": DROP}, "process.user.gid"),
    ("uid that no user can have", {"process.user.uid": 4294967295}, "process.user.uid"),
    ("uid that is not mapped", {"process.user.uid": 70000}, "process.user.uid"),
    ("gid that is not mapped", {"process.user.gid": 70000}, "process.user.gid"),
    ("group that is not mapped", {"process.user.additionalGids": [5, 70000]}, "process.user.additionalGids[1]"),
    ("umask in octal digits", {"process.user.umask": 755}, "process.user.umask"),
    ("console too high", {"process.consoleSize.height": 65536}, "process.consoleSize.height"),
    ("console too wide", {"process.consoleSize.width": 65536}, "process.consoleSize.width"),
    ("unknown rlimit", {"process.rlimits[0].type": "RLIMIT_BAD"}, "process.rlimits[0].type"),
    ("rlimit without prefix", {"process.rlimits[0].type": "NOFILE"}, "process.rlimits[0].type"),
    ("rlimit twice", {"process.rlimits[1].type": "RLIMIT_NOFILE"}, "process.rlimits[1].type"),
    ("soft above hard", {"process.rlimits[1].soft": 1}, "process.rlimits[1].soft"),
    ("oom score", {"process.oomScoreAdj": 1001}, "process.oomScoreAdj"),
    ("io priority", {"process.ioPriority.priority": 8}, "process.ioPriority.priority"),
    ("nice 20", {"process.scheduler": {"policy": "SCHED_OTHER", "nice": 20}}, "process.scheduler.nice"),
    ("nice -21", {"process.scheduler": {"policy": "SCHED_BATCH", "nice": -21}}, "process.scheduler.nice"),
    (
        "priority of another policy",
        {"process.scheduler": {"policy": "SCHED_OTHER", "priority": 1}},
        "process.scheduler.priority",
    ),
    ("fifo without priority", {"process.scheduler": {"policy": "SCHED_FIFO"}}, "process.scheduler.priority"),
    ("priority 100", {"process.scheduler": {"policy": "SCHED_RR", "priority": 100}}, "process.scheduler.priority"),
    ("runtime of another policy", {"process.scheduler": {"policy": "SCHED_IDLE", "runtime": 1}},
     "process.scheduler.runtime"),
    ("period of another policy", {"process.scheduler": {"policy": "SCHED_IDLE", "period": 1}},
     "process.scheduler.period"),
    ("deadline without runtime", {"process.scheduler": _deadline(0, 5000, 5000)}, "process.scheduler.runtime"),
    ("deadline below runtime", {"process.scheduler": _deadline(5000, 4000, 9000)}, "process.scheduler.deadline"),
    ("period below deadline", {"process.scheduler": _deadline(5000, 6000, 5500)}, "process.scheduler.period"),
    (
        "deadline flag of another policy",
        {"process.scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RECLAIM"]}},
        "process.scheduler.flags[0]",
    ),
    ("policy without a kernel", {"process.scheduler": {"policy": "SCHED_ISO"}}, "process.scheduler.policy"),
    ("affinity is backwards", {"process.execCPUAffinity.initial": "3-1"}, "process.execCPUAffinity.initial"),
    ("affinity has a gap", {"process.execCPUAffinity.final": "1,,2"}, "process.execCPUAffinity.final"),
    ("hostname without uts", {"linux.namespaces": _spaces("uts")}, "hostname"),
    ("domainname without uts", {"linux.namespaces": _spaces("uts"), "hostname": DROP}, "domainname"),
    ("long hostname", {"hostname": _LONG}, "hostname"),
    ("long hostname in bytes", {"hostname": "\u00fc" * 33}, "hostname"),
    ("long domainname", {"domainname": _LONG}, "domainname"),
    ("empty destination", {"mounts": _mount(destination="")}, "mounts[0].destination"),
    ("no type", {"mounts": _mount(type=DROP)}, "mounts[0].type"),
    ("type none", {"mounts": _mount(type="none", options=["ro"])}, "mounts[0].type"),
    ("type bind", {"mounts": _mount(type="bind", source="/tmp")}, "mounts[0].type"),
    ("bind without source", {"mounts": _mount(options=["bind"])}, "mounts[0].source"),
    ("tmpcopyup on proc", {"mounts": _mount(type="proc", options=["tmpcopyup"])}, "mounts[0].options[0]"),
    (
        "idmap without mappings",
        {"mounts": _mount(source="/a", options=["rbind", "idmap"]), "linux.namespaces": _spaces("user"), **_NO_USER},
        "mounts[0].options[1]",
    ),
    ("uids only", {"mounts": _mount(options=["idmap"], uidMappings=_ids((0, 1, 1)))}, "mounts[0].gidMappings"),
    ("gids only", {"mounts": _mount(options=["idmap"], gidMappings=_ids((0, 1, 1)))}, "mounts[0].uidMappings"),
    (
        "overlap in a mount",
        {"mounts[2].uidMappings": _ids((0, 5, 2), (1, 9, 2))},
        "mounts[2].uidMappings[1].containerID",
    ),
    ("relative hook", {"hooks.poststop[0].path": "true"}, "hooks.poststop[0].path"),
    ("empty hook", {"hooks.createRuntime[1].path": ""}, "hooks.createRuntime[1].path"),
    ("hook env", {"hooks.startContainer[0].env": ["A"]}, "hooks.startContainer[0].env[0]"),
    ("hook timeout zero", {"hooks.prestart[0].timeout": 0}, "hooks.prestart[0].timeout"),
    ("nameless annotation", {"annotations": {"": "x"}}, 'annotations[""]'),
    ("namespace twice", {"linux.namespaces": [*_spaces(), {"type": "pid"}]}, "linux.namespaces[8].type"),
    ("relative namespace path", {"linux.namespaces": _spaces(pid="proc/1/ns/pid")}, "linux.namespaces[0].path"),
    ("empty namespace path", {"linux.namespaces": _spaces(network="")}, "linux.namespaces[1].path"),
    ("no uid mappings", {"linux.uidMappings": DROP}, "linux.uidMappings"),
    ("empty gid mappings", {"linux.gidMappings": []}, "linux.gidMappings"),
    ("uid mappings without user", {"linux.namespaces": _spaces("user")}, "linux.uidMappings"),
    (
        "gid mappings without user",
        {"linux.namespaces": _spaces("user"), "linux.uidMappings": DROP},
        "linux.gidMappings",
    ),
    ("inside overlap", {"linux.uidMappings": _ids((0, 100, 10), (9, 200, 10))}, "linux.uidMappings[1].containerID"),
    ("outside overlap", {"linux.uidMappings": _ids((0, 100, 10), (10, 100, 1))}, "linux.uidMappings[1].hostID"),
    ("overlap behind", {"linux.gidMappings": _ids((50, 100, 9), (0, 200, 51))}, "linux.gidMappings[1].containerID"),
    (
        "overlap within",
        {"linux.gidMappings": _ids((0, 0, 90), (5, 90, 1), (9, 99, 1))},
        "linux.gidMappings[2].containerID",
    ),
    ("ids past the end", {"linux.uidMappings": _ids((0, 4294967000, 296))}, "linux.uidMappings[0].size"),
    ("too many mappings", {"linux.uidMappings": _ids(*((n, n, 1) for n in range(341)))}, "linux.uidMappings"),
    ("size zero", {"linux.uidMappings": _ids((0, 100, 0))}, "linux.uidMappings[0].size"),
    ("offsets without time", {"linux.namespaces": _spaces("time")}, "linux.timeOffsets"),
    ("offsets of a joined time", {"linux.namespaces": _spaces(time="/proc/1/ns/time")}, "linux.timeOffsets"),
    ("offset of another clock", {"linux.timeOffsets": {"realtime": {"secs": 1}}}, "linux.timeOffsets.realtime"),
    ("masked paths without mount", {"linux.namespaces": _spaces("mount")}, "linux.maskedPaths"),
    (
        "readonly paths without mount",
        {"linux.namespaces": _spaces("mount"), "linux.maskedPaths": []},
        "linux.readonlyPaths",
    ),
    ("relative masked path", {"linux.maskedPaths": ["/proc/kcore", "proc"]}, "linux.maskedPaths[1]"),
    ("empty readonly path", {"linux.readonlyPaths": [""]}, "linux.readonlyPaths[0]"),
    ("sysctl of the host", {"linux.sysctl": {"kernel.bad": "1"}}, 'linux.sysctl["kernel.bad"]'),
    ("sysctl vm", {"linux.sysctl": {"vm.swappiness": "1"}}, 'linux.sysctl["vm.swappiness"]'),
    (
        "sysctl without network",
        {"linux.namespaces": _spaces("network"), "linux.netDevices": DROP, "linux.sysctl": {"net.core.somaxconn": "9"}},
        'linux.sysctl["net.core.somaxconn"]',
    ),
    (
        "sysctl without ipc",
        {"linux.namespaces": _spaces("ipc"), "linux.sysctl": {"kernel/shmmax": "9"}},
        'linux.sysctl["kernel/shmmax"]',
    ),
    (
        "mqueue without ipc",
        {"linux.namespaces": _spaces("ipc"), "linux.sysctl": {"fs.mqueue.msg_max": "9"}},
        'linux.sysctl["fs.mqueue.msg_max"]',
    ),
    ("sysctl of the hostname", {"linux.sysctl": {"kernel.hostname": "x"}}, 'linux.sysctl["kernel.hostname"]'),
    ("sysctl that climbs", {"linux.sysctl": {"net.//.x": "1"}}, 'linux.sysctl["net.//.x"]'),
    ("sysctl that climbs plainly", {"linux.sysctl": {"net/../kernel/x": "1"}}, 'linux.sysctl["net/../kernel/x"]'),
    ("sysctl without parts", {"linux.sysctl": {"net": "1"}}, "linux.sysctl.net"),
    ("sysctl with an empty part", {"linux.sysctl": {"net..x": "1"}}, 'linux.sysctl["net..x"]'),
    ("sysctl with NUL", {"linux.sysctl": {"net.a\0": "1"}}, 'linux.sysctl["net.a\\u0000"]'),
    ("interface with NUL", {"linux.netDevices": {"eth\0": {}}}, 'linux.netDevices["eth\\u0000"]'),
    ("rdma name with NUL", {"linux.resources.rdma": {"a\0": {"hcaHandles": 1}}}, 'linux.resources.rdma["a\\u0000"]'),
    ("unified with NUL", {"linux.resources.unified": {"a.b\0": "1"}}, 'linux.resources.unified["a.b\\u0000"]'),
    ("relative device", {"linux.devices": _device(path="fuse")}, "linux.devices[0].path"),
    ("device without major", {"linux.devices": _device(major=DROP)}, "linux.devices[0].major"),
    ("device without minor", {"linux.devices": _device(type="b", minor=DROP)}, "linux.devices[0].minor"),
    ("device major", {"linux.devices": _device(major=4096)}, "linux.devices[0].major"),
    ("device minor", {"linux.devices": _device(type="u", minor=-1)}, "linux.devices[0].minor"),
    ("device mode of a block device", {"linux.devices": _device(fileMode=24960)}, "linux.devices[0].fileMode"),
    ("device mode of no type", {"linux.devices": _device(fileMode=65536)}, "linux.devices[0].fileMode"),
    ("device type z", {"linux.devices": _device(type="z")}, "linux.devices[0].type"),
    ("two devices at one path", {"linux.devices": _device() + _device(minor=5)}, "linux.devices[1].path"),
    (
        "network devices without network",
        {"linux.namespaces": _spaces("network"), "linux.sysctl": DROP},
        "linux.netDevices",
    ),
    ("long interface", {"linux.netDevices": {"sixteen-letters0": {}}}, 'linux.netDevices["sixteen-letters0"]'),
    ("interface with a slash", {"linux.netDevices": {"eth/0": {}}}, 'linux.netDevices["eth/0"]'),
    ("nameless interface", {"linux.netDevices": {"": {}}}, 'linux.netDevices[""]'),
    ("interface with a space", {"linux.netDevices": {"eth0": {"name": "eth 0"}}}, "linux.netDevices.eth0.name"),
    ("interface dots", {"linux.netDevices": {"eth0": {"name": ".."}}}, "linux.netDevices.eth0.name"),
    ("interface template", {"linux.netDevices": {"eth0": {"name": "a%d%d"}}}, "linux.netDevices.eth0.name"),
    (
        "interface twice",
        {"linux.netDevices": {"eth0": {"name": "x"}, "eth1": {"name": "x"}}},
        "linux.netDevices.eth1.name",
    ),
    ("cgroups path climbs", {"linux.cgroupsPath": "/a/../../b"}, "linux.cgroupsPath"),
    ("cgroups path with a line break", {"linux.cgroupsPath": "/a\nb"}, "linux.cgroupsPath"),
    ("closID with a slash", {"linux.intelRdt.closID": "a/b"}, "linux.intelRdt.closID"),
    ("closID dots", {"linux.intelRdt.closID": ".."}, "linux.intelRdt.closID"),
    ("closID of the kernel", {"linux.intelRdt.closID": "info"}, "linux.intelRdt.closID"),
    ("bandwidth without MB", {"linux.intelRdt.memBwSchema": "0=20"}, "linux.intelRdt.memBwSchema"),
    ("bandwidth of two lines", {"linux.intelRdt.memBwSchema": "MB:0=20\nMB:1=20"}, "linux.intelRdt.memBwSchema"),
    ("schemata of two lines", {"linux.intelRdt.schemata": ["L3:0=f\nL2:0=f"]}, "linux.intelRdt.schemata[0]"),
    ("no nodes to bind to", {"linux.memoryPolicy": {"mode": "MPOL_BIND"}}, "linux.memoryPolicy.nodes"),
    ("nodes for local", {"linux.memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "0"}}, "linux.memoryPolicy.nodes"),
    ("nodes are words", {"linux.memoryPolicy": {"mode": "MPOL_BIND", "nodes": "all"}}, "linux.memoryPolicy.nodes"),
    (
        "two meanings of nodes",
        {"linux.memoryPolicy.flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},
        "linux.memoryPolicy.flags[0]",
    ),
    ("balancing of interleave", {"linux.memoryPolicy.flags": ["MPOL_F_NUMA_BALANCING"]}, "linux.memoryPolicy.flags[0]"),
    (
        "flags of default",
        {"linux.memoryPolicy": {"mode": "MPOL_DEFAULT", "flags": ["MPOL_F_STATIC_NODES"]}},
        "linux.memoryPolicy.flags[0]",
    ),
    ("personality flag", {"linux.personality.flags": ["ADDR_NO_RANDOMIZE"]}, "linux.personality.flags[0]"),
    ("propagation", {"linux.rootfsPropagation": "bad"}, "linux.rootfsPropagation"),
    ("swap below memory", {"linux.resources.memory.swap": 536870911}, "linux.resources.memory.swap"),
    ("swap without memory", {"linux.resources.memory": {"swap": 5}}, "linux.resources.memory.swap"),
    ("memory below -1", {"linux.resources.memory.limit": -2}, "linux.resources.memory.limit"),
    ("swappiness", {"linux.resources.memory.swappiness": 101}, "linux.resources.memory.swappiness"),
    ("burst above quota", {"linux.resources.cpu.burst": 100001}, "linux.resources.cpu.burst"),
    ("tiny quota", {"linux.resources.cpu": {"quota": 999}}, "linux.resources.cpu.quota"),
    ("tiny period", {"linux.resources.cpu.period": 999}, "linux.resources.cpu.period"),
    ("long period", {"linux.resources.cpu.period": 1000001}, "linux.resources.cpu.period"),
    ("realtime", {"linux.resources.cpu.realtimeRuntime": 1000001}, "linux.resources.cpu.realtimeRuntime"),
    ("cpus are words", {"linux.resources.cpu.cpus": "all"}, "linux.resources.cpu.cpus"),
    ("cpus backwards", {"linux.resources.cpu.cpus": "7-0"}, "linux.resources.cpu.cpus"),
    ("mems with a hole", {"linux.resources.cpu.mems": "0,"}, "linux.resources.cpu.mems"),
    ("cpu number", {"linux.resources.cpu.cpus": "65536"}, "linux.resources.cpu.cpus"),
    ("idle 2", {"linux.resources.cpu.idle": 2}, "linux.resources.cpu.idle"),
    ("pids", {"linux.resources.pids.limit": -2}, "linux.resources.pids.limit"),
    ("light weight", {"linux.resources.blockIO.weight": 9}, "linux.resources.blockIO.weight"),
    ("heavy leaf", {"linux.resources.blockIO.leafWeight": 1001}, "linux.resources.blockIO.leafWeight"),
    (
        "no weight",
        {"linux.resources.blockIO.weightDevice": [{"major": 8, "minor": 0}]},
        "linux.resources.blockIO.weightDevice[0]",
    ),
    (
        "throttled device",
        {"linux.resources.blockIO.throttleReadBpsDevice[0].minor": 1048576},
        "linux.resources.blockIO.throttleReadBpsDevice[0].minor",
    ),
    ("page size", {"linux.resources.hugepageLimits[0].pageSize": "64kB"}, "linux.resources.hugepageLimits[0].pageSize"),
    (
        "priority of an interface",
        {"linux.resources.network.priorities[0].name": "a/b"},
        "linux.resources.network.priorities[0].name",
    ),
    ("rdma without limits", {"linux.resources.rdma.rxe3": {}}, "linux.resources.rdma.rxe3"),
    ("rdma name", {"linux.resources.rdma": {"a b": {"hcaHandles": 1}}}, 'linux.resources.rdma["a b"]'),
    ("unified with a slash", {"linux.resources.unified": {"a/b.c": "1"}}, 'linux.resources.unified["a/b.c"]'),
    ("unified without a dot", {"linux.resources.unified": {"memory": "1"}}, "linux.resources.unified.memory"),
    ("unified without controller", {"linux.resources.unified": {".max": "1"}}, 'linux.resources.unified[".max"]'),
    ("device rule type", {"linux.resources.devices[1].type": "p"}, "linux.resources.devices[1].type"),
    ("device rule access", {"linux.resources.devices[1].access": "rx"}, "linux.resources.devices[1].access"),
    ("notify by default", {f"{_SECCOMP}.defaultAction": "SCMP_ACT_NOTIFY"}, f"{_SECCOMP}.defaultAction"),
    ("errno of allow", {f"{_SECCOMP}.defaultAction": "SCMP_ACT_ALLOW"}, f"{_SECCOMP}.defaultErrnoRet"),
    ("errno of a rule", {f"{_SECCOMP}.syscalls[0].errnoRet": 1}, f"{_SECCOMP}.syscalls[0].errnoRet"),
    ("big errno", {f"{_SECCOMP}.syscalls[1].errnoRet": 4096}, f"{_SECCOMP}.syscalls[1].errnoRet"),
    (
        "big trace",
        {f"{_SECCOMP}.syscalls": [_rule(action="SCMP_ACT_TRACE", errnoRet=65536)], f"{_SECCOMP}.flags": []},
        f"{_SECCOMP}.syscalls[0].errnoRet",
    ),
    ("notify of write", {f"{_SECCOMP}.syscalls[2].names": ["read", "write"]}, f"{_SECCOMP}.syscalls[2].names[1]"),
    ("nameless system call", {f"{_SECCOMP}.syscalls[0].names": ["read", ""]}, f"{_SECCOMP}.syscalls[0].names[1]"),
    (
        "notify without listener",
        {f"{_SECCOMP}.listenerPath": DROP, f"{_SECCOMP}.listenerMetadata": DROP},
        f"{_SECCOMP}.listenerPath",
    ),
    ("long listener", {f"{_SECCOMP}.listenerPath": "/" + "x" * 107}, f"{_SECCOMP}.listenerPath"),
    (
        "metadata without listener",
        {f"{_SECCOMP}.listenerPath": DROP, f"{_SECCOMP}.syscalls": [_rule()], f"{_SECCOMP}.flags": []},
        f"{_SECCOMP}.listenerMetadata",
    ),
    ("killable without notify", {f"{_SECCOMP}.syscalls": [_rule()]}, f"{_SECCOMP}.flags[1]"),
    ("argument 6", {f"{_SECCOMP}.syscalls[1].args[0].index": 6}, f"{_SECCOMP}.syscalls[1].args[0].index"),
    ("machine wanted", {"vm": {"kernel": {"path": "/vmlinuz"}}}, "vm"),
    ("relative kernel", {"vm": {"kernel": {"path": "vmlinuz"}}}, "vm.kernel.path"),
    ("only for windows", {"linux": DROP, "windows": {"layerFolders": ["C:\\a"]}}, "windows"),
    ("windows cwd", {"linux": DROP, "windows": {"layerFolders": ["C:\\a"]}, "process.cwd": "a"}, "process.cwd"),
    ("only for freebsd", {"linux": DROP, "freebsd": {}}, "freebsd"),
    ("relative on solaris", {"linux": DROP, "solaris": {}, "mounts": _mount(destination="a")}, "mounts[0].destination"),
    ("namespace twice on z/OS", {"zos": {"namespaces": [{"type": "pid"}] * 2}}, "zos.namespaces[1].type"),
]


def by_hand() -> Iterator[Case]:
    """Rules that no schema can express, and common mistakes, one at a time in the rich configuration."""
    for name, changes, path in BY_HAND:
        document = rich()
        for place, value in changes.items():
            document = changed(document, read_path(place), value)
        yield name, _without_drops(document), path


def read_path(text: str) -> Path:
    """``a[0].b`` as a list. Keys with a dot in them cannot be written this way."""
    path: Path = []
    for part in text.replace("[", ".[").split("."):
        path.append(int(part[1:-1]) if part.startswith("[") else part)
    return path


def _without_drops(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_drops(item) for name, item in value.items() if item is not DROP}
    return [_without_drops(item) for item in value] if isinstance(value, list) else value


def _text(change: Callable[[str], str]) -> bytes:
    return change(json.dumps(rich(), indent=2)).encode()


def by_syntax() -> Iterator[Case]:
    """Files that are not JSON, or not JSON that the runtime accepts."""
    yield "empty file", b"", ""
    yield "only spaces", b" \n\t ", ""
    yield "a brace and a bracket", b"{]", ""
    yield "cut in the middle", _text(lambda text: text[: text.index('"hostname"')]), ""
    yield "trailing data", _text(lambda text: text + "{}"), ""
    yield "byte order mark", b"\xef\xbb\xbf" + _text(str), ""
    yield "UTF-16", _text(str).decode().encode("utf-16"), ""
    yield "not UTF-8", _text(str).replace(b"container-name", b"container-\xff"), ""
    yield "comment", _text(lambda text: text.replace("{", "{ // a comment", 1)), ""
    yield "single quotes", _text(lambda text: text.replace('"', "'")), ""
    yield "comma before the brace", _text(lambda text: text[:-2] + ",\n}"), ""
    yield "key twice", _text(lambda text: text.replace('"hostname"', '"root"')), "root"
    yield "key twice deeper", _text(lambda text: text.replace('"gid": 1,', '"uid": 1,')), "process.user.uid"
    yield "NaN", _text(lambda text: text.replace("-500", "NaN")), "process.oomScoreAdj"
    yield "infinity", _text(lambda text: text.replace("-500", "-Infinity")), "process.oomScoreAdj"
    yield "out of range", _text(lambda text: text.replace("-500", "1e400")), "process.oomScoreAdj"
    yield "endless number", _text(lambda text: text.replace("-500", "9" * 5000)), "process.oomScoreAdj"
    yield "octal number", _text(lambda text: text.replace("-500", "0644")), "process.oomScoreAdj"
    yield "hexadecimal number", _text(lambda text: text.replace("-500", "0x10")), "process.oomScoreAdj"
    yield "Python's true", _text(lambda text: text.replace('"terminal": true', '"terminal": True')), "process.terminal"
    yield "half a surrogate pair", _text(lambda text: text.replace("container-", "\\ud800")), "hostname"
    yield "unknown escape", _text(lambda text: text.replace("container-", "\\x41")), "hostname"
    yield "line break in a text", _text(lambda text: text.replace("container-", "container-\n")), "hostname"
    deep = "[" * 200 + "]" * 200
    yield "too deep", _text(lambda text: text.replace('"container-name"', deep)), "hostname" + "[0]" * 127
    yield "deep without an end", b"[" * 100_000, "[0]" * 128
    for text in (b"[]", b"null", b"true", b"1", b'"text"'):
        yield f"document {text.decode()}", text, ""
