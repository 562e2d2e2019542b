"""Valid configurations, including one with every member of the schema.

``rich()`` uses every member for Linux and breaks no rule; no host needs to support all of it. Its only warning is for
the deprecated prestart hook.
``section(name)`` is a small configuration with the full member of another platform.
"""

from __future__ import annotations

import json
from typing import Any

Config = dict[str, Any]

NAMESPACES = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]

MINIMAL: Config = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["sh"]},
}

_HOOK = {"path": "/usr/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}
_MAPPINGS = [
    {"containerID": 0, "hostID": 100000, "size": 1000},
    {"containerID": 1000, "hostID": 200000, "size": 64536},
]
_DEVICE = {"major": 8, "minor": 0}

_PROCESS: Config = {
    "terminal": True,
    "consoleSize": {"height": 25, "width": 80},
    "user": {"uid": 1, "gid": 1, "umask": 18, "additionalGids": [5, 6], "username": "someone"},
    "args": ["sh", "-c", "true", ""],
    "commandLine": "sh",
    "env": ["PATH=/usr/bin:/bin", "EMPTY=", "EQUALS=a=b"],
    "cwd": "/",
    "capabilities": {
        "bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "ambient": ["CAP_KILL"],
    },
    "rlimits": [
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 18446744073709551615},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ],
    "noNewPrivileges": True,
    "apparmorProfile": "some-profile",
    "selinuxLabel": "system_u:system_r:container_t:s0:c1,c2",
    "oomScoreAdj": -500,
    "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    "scheduler": {
        "policy": "SCHED_DEADLINE",
        "nice": 0,
        "priority": 0,
        "flags": ["SCHED_FLAG_RECLAIM"],
        "runtime": 10000,
        "deadline": 20000,
        "period": 30000,
    },
    "execCPUAffinity": {"initial": "7", "final": "0-3, 7"},
}

_RESOURCES: Config = {
    "devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": -1, "access": "rw"},
    ],
    "memory": {
        "limit": 536870912,
        "reservation": 268435456,
        "swap": 1073741824,
        "kernel": -1,
        "kernelTCP": -1,
        "swappiness": 60,
        "disableOOMKiller": False,
        "useHierarchy": True,
        "checkBeforeUpdate": True,
    },
    "cpu": {
        "shares": 1024,
        "quota": 100000,
        "burst": 100000,
        "period": 500000,
        "realtimeRuntime": 950000,
        "realtimePeriod": 1000000,
        "cpus": "0-3,7",
        "mems": "0",
        "idle": 0,
    },
    "pids": {"limit": 0},
    "blockIO": {
        "weight": 10,
        "leafWeight": 0,
        "weightDevice": [{**_DEVICE, "weight": 500, "leafWeight": 300}, {**_DEVICE, "minor": 16, "weight": 1000}],
        "throttleReadBpsDevice": [{**_DEVICE, "rate": 600}],
        "throttleWriteBpsDevice": [{**_DEVICE, "rate": 600}],
        "throttleReadIOPSDevice": [{**_DEVICE, "rate": 600}],
        "throttleWriteIOPSDevice": [{**_DEVICE, "rate": 600}],
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 209715200}],
    "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "rxe3": {"hcaObjects": 5}},
    "unified": {"memory.high": "1048576", "io.max": "259:0 rbps=2097152\n253:0 wiops=120"},
}

_SECCOMP: Config = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    "listenerPath": "/run/agent.sock",
    "listenerMetadata": "some text",
    "syscalls": [
        {"names": ["getcwd", "write"], "action": "SCMP_ACT_ALLOW"},
        {
            "names": ["chmod"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1,
            "args": [{"index": 1, "value": 511, "valueTwo": 73, "op": "SCMP_CMP_MASKED_EQ"}],
        },
        {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
    ],
}

_LINUX: Config = {
    "namespaces": [{"type": kind} for kind in NAMESPACES if kind != "network"]
    + [{"type": "network", "path": "/run/netns/some"}],
    "uidMappings": _MAPPINGS,
    "gidMappings": _MAPPINGS,
    "timeOffsets": {"monotonic": {"secs": -5, "nanosecs": 7}, "boottime": {"secs": 604800, "nanosecs": 0}},
    "devices": [
        {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 8630, "uid": 0, "gid": 0},
        {"type": "b", "path": "/dev/sda", "major": 8, "minor": 0},
        {"type": "p", "path": "/run/fifo", "fileMode": 432},
    ],
    "netDevices": {"eth7": {"name": "ctr%d"}, "eth8": {}},
    "cgroupsPath": "/some/container",
    "resources": _RESOURCES,
    "rootfsPropagation": "slave",
    "maskedPaths": ["/proc/kcore"],
    "readonlyPaths": ["/proc/sys"],
    "mountLabel": "system_u:object_r:container_file_t:s0:c1,c2",
    "sysctl": {
        "net.ipv4.ip_forward": "1",
        "net/ipv4/conf/eth0.7/rp_filter": "1",
        "kernel.shmmax": "65536",
        "fs.mqueue.msg_max": "10",
        "kernel.domainname": "example.com",
    },
    "seccomp": _SECCOMP,
    "intelRdt": {
        "closID": "some_group",
        "schemata": ["L2:0=f;1=f"],
        "l3CacheSchema": "L3:0=7f0;1=1f",
        "memBwSchema": "MB:0=20;1=70",
        "enableMonitoring": True,
    },
    "memoryPolicy": {"mode": "MPOL_INTERLEAVE", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]},
    "personality": {"domain": "LINUX", "flags": []},
}

_RICH: Config = {
    "ociVersion": "1.3.0",
    "process": _PROCESS,
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "container-name",
    "domainname": "example.com",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "tmpcopyup", "size=65536k"]},
        {
            "destination": "/data",
            "type": "none",
            "source": "data",
            "options": ["rbind", "ro", "ridmap", "rprivate", "x-some.comment"],
            "uidMappings": _MAPPINGS,
            "gidMappings": _MAPPINGS,
        },
        {"destination": "/data", "options": ["remount", "ro"]},
        {"destination": "/", "options": ["rshared"]},
    ],
    "hooks": {
        "prestart": [_HOOK],
        "createRuntime": [_HOOK, {"path": "/bin/true"}],
        "createContainer": [_HOOK],
        "startContainer": [_HOOK],
        "poststart": [_HOOK],
        "poststop": [_HOOK],
    },
    "annotations": {"com.example.key": "value", "com.example.empty": ""},
    "linux": _LINUX,
}

SECTIONS: dict[str, Config] = {
    "solaris": {
        "milestone": "svc:/some/service:default",
        "limitpriv": "default",
        "maxShmMemory": "64m",
        "cappedCPU": {"ncpus": "1.5"},
        "cappedMemory": {"physical": "64m", "swap": "64m"},
        "anet": [
            {
                "linkname": "net0",
                "lowerLink": "net2",
                "allowedAddress": "192.0.2.7/24",
                "configureAllowedAddress": "true",
                "defrouter": "192.0.2.1",
                "macAddress": "02:00:00:00:00:01",
                "linkProtection": "mac-nospoof, ip-nospoof",
            }
        ],
    },
    "windows": {
        "layerFolders": ["C:\\layers\\1", "C:\\scratch"],
        "devices": [{"id": "11111111-2222-3333-4444-555555555555", "idType": "class"}],
        "resources": {
            "memory": {"limit": 2097152},
            "cpu": {"count": 2, "shares": 10, "maximum": 5000, "affinity": [{"mask": 1, "group": 0}]},
            "storage": {"iops": 50, "bps": 5000, "sandboxSize": 20971520},
        },
        "network": {
            "endpointList": ["66666666-7777-8888-9999-000000000000"],
            "allowUnqualifiedDNSQuery": True,
            "DNSSearchList": ["a.com"],
            "networkSharedContainerName": "name",
            "networkNamespace": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        },
        "credentialSpec": {"anything": [1, None]},
        "servicing": True,
        "ignoreFlushesDuringBoot": True,
        "hyperv": {"utilityVMPath": "C:\\utilityvm"},
    },
    "vm": {
        "hypervisor": {"path": "/path/to/vmm", "parameters": ["a=b"]},
        "kernel": {"path": "/path/to/vmlinuz", "parameters": ["a=b"], "initrd": "/path/to/initrd"},
        "image": {"path": "/path/to/image", "format": "raw"},
        "hwConfig": {
            "deviceTree": "/path/to/dtb",
            "vcpus": 1,
            "memory": 4194304,
            "dtdevs": ["path/to/node"],
            "iomems": [{"firstGFN": 1, "firstMFN": 12288, "nrMFNs": 1}],
            "irqs": [11],
        },
    },
    "zos": {"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "uts"}]},
    "freebsd": {
        "devices": [{"path": "pf", "mode": 448}],
        "jail": {
            "parent": "other",
            "host": "new",
            "ip4": "inherit",
            "ip4Addr": ["10.0.0.1"],
            "ip6": "disable",
            "ip6Addr": ["fd10::1"],
            "vnet": "new",
            "interface": "lo1",
            "vnetInterfaces": ["epair0b"],
            "sysvmsg": "new",
            "sysvsem": "new",
            "sysvshm": "inherit",
            "enforceStatfs": 1,
            "allow": {
                "setHostname": True,
                "rawSockets": True,
                "chflags": True,
                "mount": ["tmpfs"],
                "quotas": True,
                "socketAf": True,
                "mlock": True,
                "reservedPorts": True,
                "suser": True,
            },
        },
    },
}


_MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/etc/hosts", "type": "bind", "source": "/var/lib/some/hosts", "options": ["rbind", "rprivate"]},
]
_ALL_SETS = {kind: ["CAP_CHOWN", "CAP_KILL"] for kind in ("bounding", "effective", "permitted")}

ENGINES: dict[str, Config] = {
    "a daemon with a seccomp profile and a network hook": {
        "ociVersion": "1.2.1",
        "process": {
            "user": {"uid": 0, "gid": 0, "additionalGids": [0, 10]},
            "args": ["sh"],
            "env": ["PATH=/bin", "HOSTNAME=abc"],
            "cwd": "/",
            "capabilities": _ALL_SETS,
            "apparmorProfile": "",
            "oomScoreAdj": 0,
        },
        "root": {"path": "/var/lib/some/merged"},
        "hostname": "abc",
        "mounts": _MOUNTS,
        "hooks": {"createRuntime": [{"path": "/proc/17/exe", "args": ["setkey", "-root=/run"]}]},
        "linux": {
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"},
            "resources": {
                "devices": [
                    {"allow": False, "access": "rwm"},
                    {"allow": True, "type": "c", "major": 136, "minor": -1, "access": "rwm"},
                ],
                "memory": {},
                "cpu": {"shares": 0},
                "pids": {"limit": -1},
                "blockIO": {"weight": 0},
            },
            "cgroupsPath": "system.slice:engine:abc",
            "namespaces": [{"type": kind} for kind in ("mount", "network", "uts", "pid", "ipc", "cgroup")],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 1,
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                "syscalls": [
                    {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                    {
                        "names": ["clone"],
                        "action": "SCMP_ACT_ALLOW",
                        "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}],
                    },
                    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                ],
            },
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    },
    "a pod whose namespaces exist": {
        "ociVersion": "1.1.0",
        "process": {"user": {"uid": 65535, "gid": 65535}, "args": ["/pause"], "cwd": "/", "noNewPrivileges": True},
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pod",
        "mounts": _MOUNTS,
        "annotations": {"io.kubernetes.cri.container-type": "sandbox"},
        "linux": {
            "namespaces": [
                {"type": "pid"},
                {"type": "mount"},
                {"type": "uts", "path": "/proc/99/ns/uts"},
                {"type": "network", "path": "/var/run/netns/cni-1"},
                {"type": "user", "path": "/proc/99/ns/user"},
            ],
            "uidMappings": [{"containerID": 0, "hostID": 65536, "size": 65536}],
            "gidMappings": [{"containerID": 0, "hostID": 65536, "size": 65536}],
            "rootfsPropagation": "rslave",
            "cgroupsPath": "/kubepods/pod1/abc",
            "resources": {"cpu": {"shares": 2, "quota": -1, "period": 100000}, "unified": {"memory.oom.group": "1"}},
        },
    },
    "a user without privileges": {
        "ociVersion": "1.0.2-dev",
        "process": {"terminal": True, "user": {"uid": 1000, "gid": 0}, "args": ["sh"], "cwd": "/home", "env": ["A="]},
        "root": {"path": "/home/user/merged"},
        "mounts": [
            *_MOUNTS[:2],
            {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "rprivate", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("user", "mount", "pid", "ipc", "uts")],
            "uidMappings": [
                {"containerID": 0, "hostID": 1, "size": 1000},
                {"containerID": 1000, "hostID": 0, "size": 1},
                {"containerID": 1001, "hostID": 1001, "size": 64536},
            ],
            "gidMappings": [
                {"containerID": 0, "hostID": 1000, "size": 1},
                {"containerID": 1, "hostID": 1001, "size": 9},
            ],
        },
    },
    "a minimal configuration": MINIMAL,
    "nothing isolated": {
        **MINIMAL,
        "linux": {"resources": {"memory": {"limit": 0, "swap": -1}}},
        "annotations": {},
        "hostname": "",
        "domainname": "",
        "hooks": {},
        "mounts": [],
    },
}
"""Configurations in the style of container engines: none may be refused or cause a warning."""


def rich() -> Config:
    """A fresh copy of the configuration that uses every member for Linux."""
    return _fresh(_RICH)


def section(name: str) -> Config:
    """A fresh copy of a small configuration with the full member ``name``, one of SECTIONS."""
    return _fresh({**MINIMAL, name: SECTIONS[name]})


def _fresh(config: Config) -> Config:
    """A copy without shared parts, which copy.deepcopy would keep."""
    copied: Config = json.loads(json.dumps(config))
    return copied
