"""A small bundle: a root filesystem with a static busybox, and a basic configuration.

The configuration is minimal (five namespaces, the usual mounts, few capabilities, all devices denied), so that a case
contains only its subject.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from conformance.lib.host import busybox

Config = dict[str, Any]

VERSION = "1.0.2"  # accepted by runtimes of any age; a case for a newer property uses a newer version
CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_SETGID",
    "CAP_SETUID",
]
PATH = "PATH=/bin:/sbin:/usr/bin:/usr/sbin"
_FOLDERS = ("bin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "var", "home")


def sets(*names: str) -> dict[str, list[str]]:
    """``process.capabilities`` with the same names in every set except the ambient one."""
    return {kind: list(names) for kind in ("bounding", "effective", "permitted", "inheritable")} | {"ambient": []}


def mount(destination: str, kind: str, source: str, *options: str) -> Config:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def bind(source: str | Path, destination: str, *options: str) -> Config:
    return {"destination": destination, "type": "none", "source": str(source), "options": ["bind", *options]}


def base_config(*args: str) -> Config:
    return {
        "ociVersion": VERSION,
        "root": {"path": "rootfs", "readonly": False},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "env": [PATH],
            "args": list(args),
            "capabilities": sets(*CAPABILITIES),
            "noNewPrivileges": False,
        },
        "hostname": "conformance",
        "mounts": [
            mount("/proc", "proc", "proc"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
            mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
            mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        },
    }


def add_namespace(config: Config, kind: str, path: str = "") -> None:
    """Add a namespace, replacing an entry of the same type."""
    remove_namespace(config, kind)
    config["linux"]["namespaces"].append({"type": kind, "path": path} if path else {"type": kind})


def remove_namespace(config: Config, kind: str) -> None:
    entries = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [entry for entry in entries if entry["type"] != kind]


def use_user_namespace(config: Config, host_id: int = 100000, size: int = 65536) -> None:
    """Add a user namespace whose IDs start at ``host_id``."""
    add_namespace(config, "user")
    for key in ("uidMappings", "gidMappings"):
        config["linux"][key] = [{"containerID": 0, "hostID": host_id, "size": size}]


def make_rootfs(target: Path) -> None:
    """Create a root filesystem; raises FileNotFoundError without a static busybox."""
    program = busybox()
    if program is None:
        raise FileNotFoundError("no static busybox on the host: install busybox-static")
    for folder in _FOLDERS:
        (target / folder).mkdir(parents=True)
    (target / "tmp").chmod(0o1777)
    shutil.copy(program, target / "bin/busybox")
    for applet in subprocess.check_output([str(program), "--list"], text=True).split():
        if applet != "busybox":
            os.symlink("busybox", target / "bin" / applet)
    (target / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (target / "etc/group").write_text("root:x:0:\n")


def write_config(bundle: Path, config: Config) -> None:
    (bundle / "config.json").write_text(json.dumps(config, indent=1))
