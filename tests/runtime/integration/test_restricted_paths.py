"""linux.maskedPaths and linux.readonlyPaths: concurrent changes of the root filesystem cannot bypass them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.containers import Bundle, Runtime

PROBE = "cat /*/self/mountinfo | sort -u"


def mounts_of(text: str) -> list[tuple[str, str, str, str]]:
    """ID, parent ID, mount point and filesystem type of each mount, from a mountinfo."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        number, parent, _, _, place = before.split()[:5]
        found.append((number, parent, place, after.split()[0]))
    return found


def test_renames_cannot_leave_a_procfs_unmasked(runtime: Runtime, own_bundle: Bundle) -> None:
    rootfs = own_bundle.path / "rootfs"
    stop = threading.Event()

    def rename() -> None:
        while not stop.is_set():
            for old, new in (("proc", "elsewhere"), ("elsewhere", "proc")):
                try:
                    (rootfs / old).rename(rootfs / new)
                except OSError:
                    continue   # `create` has created another one
    own_bundle.config["linux"]["maskedPaths"] = ["/proc/version", "/proc/uptime"]
    own_bundle.shell(PROBE)
    other = threading.Thread(target=rename)
    other.start()
    seen = 0
    try:
        for _ in range(60):
            done = runtime("run", "c1", own_bundle)
            mounts = mounts_of(done.stdout)
            for number in [mount[0] for mount in mounts if mount[3] == "proc" and mount[2].count("/") == 1]:
                seen += 1
                # By parent IDs: the paths change while they are read.
                beneath = {os.path.basename(mount[2]) for mount in mounts if mount[1] == number}
                assert {"version", "uptime", "sys"} <= beneath
    finally:
        stop.set()
        other.join()
    assert seen


@pytest.mark.parametrize("place", ["maskedPaths", "readonlyPaths"])
def test_a_duplicate_path_is_covered_once(runtime: Runtime, own_bundle: Bundle, place: str) -> None:
    (own_bundle.path / "rootfs/secret").mkdir()
    own_bundle.config["linux"][place] = ["/proc/version", "/secret", "/proc/version", "/secret/", "/proc//version"]
    own_bundle.shell("cat /proc/self/mountinfo")
    places = [mount[2] for mount in mounts_of(runtime.ok("run", "c1", own_bundle))]
    assert places.count("/secret") == 1 and places.count("/proc/version") == 1


def test_proc_sys_is_required_unless_the_procfs_has_only_processes(runtime: Runtime, own_bundle: Bundle) -> None:
    proc = next(mount for mount in own_bundle.config["mounts"] if mount["destination"] == "/proc")
    proc["options"] = ["subset=pid"]
    own_bundle.shell("ls -d /proc/sys 2>/dev/null || echo none")
    assert runtime.ok("run", "c1", own_bundle) == "none\n"


@pytest.mark.parametrize("options", [[], ["ro"]])
def test_a_tmpfs_in_place_of_sysfs(runtime: Runtime, own_bundle: Bundle, options: list[str]) -> None:
    own_bundle.config["mounts"] = [m for m in own_bundle.config["mounts"] if not m["destination"].startswith("/sys")]
    own_bundle.add_mount("/sys", "tmpfs", "tmpfs", *options)
    own_bundle.config["linux"].update(maskedPaths=["/sys/firmware"], readonlyPaths=["/sys/fs", "/proc/sys"])
    own_bundle.shell("ls -A /sys; touch /sys/x 2>/dev/null && echo written || echo read-only")
    assert runtime.ok("run", "c1", own_bundle) == ("read-only\n" if options else "written\n")


def test_the_last_mount_at_a_path_is_restricted(runtime: Runtime, own_bundle: Bundle,
                                                                 tmp_path: Path) -> None:
    (tmp_path / "over" / "version").mkdir(parents=True)
    (tmp_path / "over" / "version" / "file").touch()
    own_bundle.add_mount("/proc", "none", str(tmp_path / "over"), "bind")
    own_bundle.config["mounts"] = [m for m in own_bundle.config["mounts"] if m["destination"] != "/sys/fs/cgroup"]
    own_bundle.config["linux"].update(maskedPaths=["/proc/version", "/proc/uptime"], readonlyPaths=[])
    own_bundle.shell("ls /proc /proc/version")
    done = runtime("run", "c1", own_bundle)
    assert "file" not in done.stdout and (done.returncode or done.stdout), done
    assert os.listdir(tmp_path / "over") == ["version"]
