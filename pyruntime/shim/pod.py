"""A pod without a pause image: the container that holds its namespaces, and the files that its containers share.

    BUNDLE/config.json     of the holder: native/init, which waits for the monitor's end
    BUNDLE/pod.json        says that this is a pod: when it was created, and the parent of its cgroups
    BUNDLE/rootfs          a tmpfs, the holder's root:
        hostname, hosts, resolv.conf    bound to the same names below /etc in every container
        shm                             bound to /dev/shm in every container that has the pod's IPC namespace

containerd makes these files only for pods with a pause container; for others it leaves them to the shim.
"""

from __future__ import annotations

import fcntl
import os

from pyruntime.errors import HostError, NoSuchContainer, UsageError
from pyruntime.runtime.api import Runtime
from pyruntime.shim import sandbox_messages
from pyruntime.shim.sandbox_messages import OF_NODE, OF_POD
from pyruntime.shim.task import ROOT
from pyruntime.system.files import read, replace
from pyruntime.system.installed import native
from pyruntime.system.json import decode, encode
from pyruntime.system.records import members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# 64 MiB is what containerd gives /dev/shm. The holder's own devices are here, too: not with "nodev".
TMPFS = {"type": "tmpfs", "source": "pod", "target": "", "options": ["nosuid", "noexec", "mode=755", "size=65536k"]}
_INIT = "/init"
_FILES = ("hostname", "hosts", "resolv.conf")
_SANDBOX = "io.kubernetes.cri.sandbox-id"   # the annotation of a container in a pod
# As in every pod of containerd 2.x, unless the pod has other values: all ports and ICMP sockets without privileges.
_PING = "net.ipv4.ping_group_range"
_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", _PING: "0 2147483647"}
_LARGEST = 16 << 20   # bytes of a file that is read; the library reads no longer config.json, either
_NS_GET_USERNS = 0xB701   # ioctl_ns(2)
_CLOSED = ("nosuid", "nodev", "noexec")


class Pod:
    """A pod as CreateSandbox describes it. ``given``: its options, an Any with the CRI's PodSandboxConfig, or None;
    ``netns``: the path of its network namespace. Raises UsageError."""

    def __init__(self, given: dict[str, Any] | None, netns: str) -> None:
        kind = given["type_url"].rpartition("/")[2] if given else sandbox_messages.POD_TYPE
        if kind != sandbox_messages.POD_TYPE:
            raise UsageError(f'the options of a sandbox are a "{kind}": give a {sandbox_messages.POD_TYPE}')
        config = sandbox_messages.POD.decode(given["value"] if given else b"")
        linux = config["linux"] or sandbox_messages.LINUX.decode(b"")
        security = linux["security"] or sandbox_messages.SECURITY.decode(b"")
        namespaces = security["namespaces"] or sandbox_messages.NAMESPACES.decode(b"")
        self.mappings = _mappings(namespaces["users"])
        self.dns = config["dns"]
        self.host = {name for name in ("network", "pid", "ipc") if namespaces[name] == OF_NODE}
        self.hostname = "" if "network" in self.host else config["hostname"]
        self.parent: str = linux["cgroup_parent"]
        self.netns = netns
        self.sysctls = {} if "network" in self.host else dict(_SYSCTLS)
        if self.mappings:
            self.sysctls.pop(_PING, None)   # the groups are not mapped
        self.sysctls |= {pair["key"]: pair["value"] for pair in linux["sysctls"]}

    @property
    def systemd(self) -> bool:
        """Whether the cgroups are systemd's: the kubelet's parent is a slice then."""
        return self.parent.endswith(".slice")

    def open_users(self) -> int:
        """A descriptor of the user namespace to join, that of the network namespace, for containerd makes both; -1 if
        there is none. Raises OSError, UsageError."""
        if not self.mappings or not self.netns or "network" in self.host:
            return -1
        network = os.open(self.netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            users = fcntl.ioctl(network, _NS_GET_USERNS)
        finally:
            os.close(network)
        if os.path.samestat(os.fstat(users), os.stat("/proc/self/ns/user")):
            os.close(users)
            raise UsageError(f'the network namespace "{self.netns}" belongs to the host\'s user namespace: give one of'
                             " the pod's")
        return users

    def configuration(self, sandbox_id: str, users: str) -> dict[str, Any]:
        """config.json of the holder: no capabilities, a read-only root, and nothing to see. ``users``: the path of the
        user namespace that it joins, or nothing."""
        namespaces: list[dict[str, str]] = [{"type": "mount"}]
        if self.mappings:
            namespaces.append({"type": "user", **({"path": users} if users else {})})
        namespaces += [{"type": kind} for kind in ("pid", "ipc") if kind not in self.host]
        if "network" not in self.host:
            namespaces += [{"type": "network", **({"path": self.netns} if self.netns else {})}, {"type": "uts"}]
        linux: dict[str, Any] = {"namespaces": namespaces, "sysctl": self.sysctls, "resources": {
            "devices": [{"allow": False, "access": "rwm"}], "cpu": {"shares": 2}}, **self.mappings}
        if self.parent:
            linux["cgroupsPath"] = f"{os.path.basename(self.parent)}:cri-containerd:{sandbox_id}" if self.systemd \
                else f"{self.parent}/{sandbox_id}"
        return {
            "ociVersion": "1.2.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": [_INIT, "wait=1"], "cwd": "/", "capabilities": {},
                        "noNewPrivileges": True},
            "root": {"path": "rootfs", "readonly": True},
            **({"hostname": self.hostname} if self.hostname else {}),
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": list(_CLOSED)},
                       {"destination": _INIT, "type": "bind", "source": native("init"),
                        "options": ["bind", "ro", "nosuid", "nodev"]}],
            "linux": linux,
        }

    def write_files(self, directory: str) -> None:
        """Write the files that the containers share, below the holder's root; they belong to the pod's root. Raises
        OSError."""
        contents = {"hostname": f"{self.hostname or os.uname().nodename}\n".encode(), "hosts": _of_host("/etc/hosts"),
                    "resolv.conf": self._resolver()}
        for name in _FILES:
            replace(f"{directory}/{name}", contents[name])
            os.chmod(f"{directory}/{name}", 0o644)
        os.makedirs(f"{directory}/shm", exist_ok=True)
        os.chmod(f"{directory}/shm", 0o1777)
        owner = [next((entry["hostID"] for entry in mapping if entry["containerID"] == 0), 0)
                 for mapping in self.mappings.values()]
        for name in ("", *_FILES, "shm") if owner else ():
            os.chown(f"{directory}/{name}", *owner)

    def _resolver(self) -> bytes:
        if not self.dns:
            return _of_host("/etc/resolv.conf")
        lines = [f"search {' '.join(self.dns['searches'])}"] if self.dns["searches"] else []
        lines += [f"nameserver {server}" for server in self.dns["servers"]]
        lines += [f"options {' '.join(self.dns['options'])}"] if self.dns["options"] else []
        return "".join(f"{line}\n" for line in lines).encode()


def _mappings(users: dict[str, Any] | None) -> dict[str, list[dict[str, int]]]:
    """uidMappings and gidMappings of config.json; nothing if the user namespace is the host's. Raises UsageError."""
    if users is None:
        return {}
    if users["mode"] not in (OF_POD, OF_NODE):
        raise UsageError(f"unsupported user namespace mode: {users['mode']}")
    found = {f"{kind}Mappings": [{"containerID": entry["inside"], "hostID": entry["outside"], "size": entry["size"]}
                                 for entry in users[f"{kind}s"]] for kind in ("uid", "gid")}
    if users["mode"] == OF_NODE:
        if any(found.values()):
            raise UsageError("the user namespace of the host has ID mappings: give none, or another mode")
        return {}
    for name, mapping in found.items():
        if not mapping:
            raise UsageError(f"a user namespace of the pod needs {name}")
    return found


def _of_host(path: str) -> bytes:
    try:
        return read(path, _LARGEST)
    except FileNotFoundError:
        return b""


def join_pod(bundle: str, namespace: str) -> None:
    """Add the pod's files to the config.json of a container in a pod of this shim; other containers are left alone.
    Raises HostError, ConfigError."""
    path = f"{bundle}/config.json"
    try:
        _join_pod(path, f"{ROOT}/{namespace}")
    except OSError as error:
        raise HostError(f'cannot add the files of the pod to "{path}": {error.strerror}') from None


def _join_pod(path: str, root: str) -> None:
    text = read(path, _LARGEST)
    if _SANDBOX.encode() not in text:
        return
    config: Any = decode(text, path)
    try:
        pod = config["annotations"][_SANDBOX]
    except (KeyError, TypeError):   # elsewhere in the text; or an error, which the library reports
        return
    if not isinstance(pod, str):
        return   # the same
    try:
        home = Runtime(root).state(pod).bundle
    except (NoSuchContainer, UsageError):   # of another runtime, or not an ID
        return
    if not is_pod(home):
        return
    replace(path, encode({**config, "mounts": _with_files(config, f"{home}/rootfs")}).encode())


def _with_files(config: dict[str, Any], files: str) -> list[dict[str, Any]]:
    """The mounts, with those of the pod's files where the container has none of its own."""
    mounts: list[dict[str, Any]] = config.get("mounts") or []
    taken = {mount.get("destination") for mount in mounts}
    access = "ro" if (config.get("root") or {}).get("readonly") else "rw"
    shared = {"destination": "/dev/shm", "type": "bind", "source": f"{files}/shm", "options": ["rbind", "rw", *_CLOSED]}
    # The tmpfs is that of every specification; a bind mount is the host's, or one that the pod asks for.
    return [*(shared if mount.get("destination") == "/dev/shm" and mount.get("type") == "tmpfs" else mount
              for mount in mounts),
            *({"destination": f"/etc/{name}", "type": "bind", "source": f"{files}/{name}",
               "options": ["rbind", "rprivate", access]} for name in _FILES if f"/etc/{name}" not in taken)]


def is_pod(bundle: str) -> bool:
    """Whether the bundle is that of a pod."""
    return os.path.exists(f"{bundle}/pod.json")


def mark_pod(bundle: str, pod: Pod, created_at: int) -> None:
    """Make a bundle that of a pod; ``created_at``: ns since 1970. Raises OSError."""
    replace(f"{bundle}/pod.json", encode({"created_at": created_at, "cgroup_parent": pod.parent}).encode())


def read_mark(bundle: str) -> dict[str, Any]:
    """What `mark_pod` has written. Raises OSError."""
    path = f"{bundle}/pod.json"
    return members(read(path), path, "remove the pod")
