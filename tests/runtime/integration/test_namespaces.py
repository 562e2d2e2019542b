"""Namespaces: which may be changed, and the effect of a user namespace on devices, clocks and IDs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Bundle, Runtime


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Any]:
    """Gives names to namespaces of this process, as `ip netns` and Podman do."""
    made = []

    def bind(name: str) -> str:
        path = tmp_path / name
        path.touch()
        subprocess.run(["mount", "--bind", f"/proc/self/ns/{name}", path], check=True)
        made.append(path)
        return str(path)
    yield bind
    for path in made:
        subprocess.run(["umount", path], check=True)


def join(bundle: Bundle, kind: str, path: str) -> None:
    spaces = [space for space in bundle.config["linux"]["namespaces"] if space["type"] != kind]
    bundle.config["linux"]["namespaces"] = [*spaces, {"type": kind, "path": path}]


@pytest.mark.parametrize(("kind", "name", "changes", "words"), [
    ("network", "net", {"linux__sysctl": {"net.ipv4.conf.lo.tag": "5"}}, 'sysctl "net.ipv4.conf.lo.tag"'),
    ("network", "net", {"linux__sysctl": {"net/ipv4/conf/lo/tag": "5"}}, 'sysctl "net/ipv4/conf/lo/tag"'),
    ("ipc", "ipc", {"linux__sysctl": {"kernel.msgmax": "8193"}}, 'sysctl "kernel.msgmax"'),
    ("ipc", "ipc", {"linux__sysctl": {"fs.mqueue.msg_max": "11"}}, 'sysctl "fs.mqueue.msg_max"'),
    ("uts", "uts", {"hostname": None, "linux__sysctl": {"kernel.domainname": "x"}}, 'sysctl "kernel.domainname"'),
    ("uts", "uts", {"hostname": "changed-by-a-test"}, "hostname"),
    ("uts", "uts", {"hostname": None, "domainname": "changed-by-a-test"}, "domainname"),
    ("user", "user", {"linux__sysctl": {"user.max_net_namespaces": "100"}}, 'sysctl "user.max_net_namespaces"'),
])
def test_the_hosts_namespaces_cannot_be_changed_through_a_path(
        runtime: Runtime, bundle: Bundle, bound: Any, kind: str, name: str, changes: dict[str, Any],
        words: str) -> None:
    path = bound(name)
    if kind == "network":
        bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] != "sysfs"]
    join(bundle, kind, path)
    bundle.shell("true", **changes)
    done = runtime("run", "c1", bundle)
    assert done.returncode == 1
    assert f"{words} is not allowed: {path} is the host's own namespace" in done.stderr


def test_the_hosts_namespaces_can_be_joined_without_changes(runtime: Runtime, bundle: Bundle, bound: Any) -> None:
    for kind, name in (("network", "net"), ("ipc", "ipc"), ("uts", "uts")):
        join(bundle, kind, bound(name))
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] != "sysfs"]
    bundle.shell("hostname", hostname=os.uname().nodename)   # some clients set it explicitly
    assert runtime.ok("run", "c1", bundle) == os.uname().nodename + "\n"


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("path", ["/dev/ptmx", "/dev/./ptmx"])
def test_a_container_has_its_own_ptmx(runtime: Runtime, own_bundle: Bundle, user: bool, path: str) -> None:
    if user:
        own_bundle.in_user_namespace()
    host = os.stat("/dev/ptmx")
    own_bundle.shell("readlink /dev/ptmx; stat -c %d /dev/ptmx/ 2>/dev/null; [ \"$(stat -Lc %d /dev/ptmx)\" = "
                     "\"$(stat -c %d /dev/pts)\" ] && echo own; ls -l /dev/tty | cut -c1",
                     linux__devices=[{"path": path, "type": "c", "major": 5, "minor": 2, "fileMode": 0o600},
                                     {"path": "/dev/tty", "type": "c", "major": 5, "minor": 0}])
    assert runtime.ok("run", "c1", own_bundle) == "pts/ptmx\nown\nc\n"
    assert os.stat("/dev/ptmx").st_mode == host.st_mode


def test_time_offsets_work_with_a_user_namespace(runtime: Runtime, own_bundle: Bundle) -> None:
    if not Path("/proc/self/ns/time").exists():
        pytest.skip("the kernel has no time namespaces")
    own_bundle.in_user_namespace()
    own_bundle.config["linux"]["namespaces"].append({"type": "time"})
    own_bundle.shell("cut -d. -f1 /proc/uptime", linux__timeOffsets={"boottime": {"secs": 1000000}})
    assert int(runtime.ok("run", "c1", own_bundle)) > 1000000
