"""The configurations that every runtime gets, and their bundles.

``minimal`` is what `pyruntime spec` writes, without a terminal and without rlimits. ``containerd-style`` has what
containerd's CRI plugin adds for a Kubernetes pod: twelve mounts, the default seccomp profile, limits of CPU, memory and
pids, device rules. ``id-mapped`` is the same in a user namespace.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from bench.peers import Peer
from bundles.build import busybox_rootfs
from pyruntime.profiles.seccomp import profile
from pyruntime.runtime.config.template import template

NAMES = ("minimal", "containerd-style", "id-mapped")
SLEEP = ("sleep", "1000000")
TRUE = ("/bin/true",)
STATIC_TRUE = "/bin/static-true"
FIRST_ID = 100000   # host ID of the container's root in a user namespace
CAPABILITIES = [f"CAP_{name}" for name in (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT")]
# (type, major, minor): null, zero, full, random, urandom, tty, console, ptmx, pts
DEVICES = [("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9), ("c", 5, 0), ("c", 5, 1), ("c", 5, 2),
           ("c", 136, None)]


def minimal() -> dict[str, Any]:
    """The configuration of `pyruntime spec`. ociVersion 1.0.0: old releases refuse newer versions."""
    config = template(rootless=False, uid=0, gid=0, unified=Path("/sys/fs/cgroup/cgroup.controllers").exists())
    config["ociVersion"] = "1.0.0"
    config["process"].update(terminal=False, rlimits=[])
    return config


def containerd_style(files: Path) -> dict[str, Any]:
    """The configuration of a container in a pod; ``files`` has the bind-mounted files."""
    config = minimal()
    binds = {"/etc/hosts": "hosts", "/etc/hostname": "hostname", "/etc/resolv.conf": "resolv.conf",
             "/dev/termination-log": "termination-log"}
    config["mounts"] += [
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        *({"destination": destination, "type": "bind", "source": str(files / name),
           "options": ["rbind", "rprivate", "rw"]} for destination, name in binds.items())]
    config["process"]["env"] += ["HOSTNAME=pod", "KUBERNETES_PORT=tcp://10.0.0.1:443", "KUBERNETES_SERVICE_PORT=443"]
    config["process"]["capabilities"] = {name: CAPABILITIES for name in ("bounding", "effective", "permitted")}
    config["process"]["oomScoreAdj"] = 1000
    config["hostname"] = "pod"
    config["linux"]["seccomp"] = profile(CAPABILITIES)
    config["linux"]["resources"] = {
        "devices": [{"allow": False, "access": "rwm"},
                    *({"allow": True, "type": kind, "major": major, "access": "rwm",
                       **({} if minor is None else {"minor": minor})} for kind, major, minor in DEVICES)],
        "memory": {"limit": 256 << 20}, "cpu": {"shares": 512, "quota": 100000, "period": 100000},
        "pids": {"limit": 1000}}
    return config


def id_mapped(files: Path) -> dict[str, Any]:
    """``containerd_style`` in a user namespace."""
    config = containerd_style(files)
    config["linux"]["namespaces"].append({"type": "user"})
    maps = [{"containerID": 0, "hostID": FIRST_ID, "size": 65536}]
    config["linux"].update(uidMappings=maps, gidMappings=maps)
    return config


class Bundles:
    """The bundles below a directory; all containers of a configuration share a root filesystem."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        files = directory / "files"
        files.mkdir()
        for name in ("hosts", "hostname", "resolv.conf", "termination-log"):
            (files / name).touch(0o666)
        made = (minimal(), containerd_style(files), id_mapped(files))
        self.configurations = dict(zip(NAMES, made, strict=True))
        rootfs = self._rootfs("rootfs", 0)
        mapped = self._rootfs("mapped", FIRST_ID)
        for name, config in self.configurations.items():
            config["root"]["path"] = str(mapped if name == "id-mapped" else rootfs)

    def _rootfs(self, name: str, owner: int) -> Path:
        """Busybox, a static program that does nothing, and the files that are mounted over."""
        rootfs = self.directory / name
        busybox_rootfs(rootfs)
        source = self.directory / "true.c"
        source.write_text("int main(void) { return 0; }\n")
        subprocess.run(["gcc", "-static", "-O2", "-o", f"{rootfs}{STATIC_TRUE}", source], check=True)
        for file in ("hosts", "hostname", "resolv.conf"):
            (rootfs / "etc" / file).touch()
        if owner:
            for path in [rootfs, *rootfs.rglob("*")]:
                os.chown(path, owner, owner, follow_symlinks=False)
        return rootfs

    def bundle(self, configuration: str, peer: Peer, container: str, *program: str, **resources: Any) -> Path:
        """Write the bundle of a container, below the runtime's cgroup; return its directory."""
        config = json.loads(json.dumps(self.configurations[configuration]))
        config["process"]["args"] = list(program)
        config["linux"]["cgroupsPath"] = f"{peer.group}/{container}"
        config["linux"]["resources"].update(resources)
        path = self.directory / f"{configuration}-{peer.name}-{container}"
        path.mkdir(exist_ok=True)
        (path / "config.json").write_text(json.dumps(config))
        return path
