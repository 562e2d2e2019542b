"""The shim on restricted hosts: in a room whose mounts, or sysctls of the pid namespace, are those of such a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles.build import busybox_rootfs
from tests.conftest import TOP
from tests.shim.client import Container, Machine, ShimError, until

NOEXEC = "for place in /tmp /dev/shm /var/tmp; do mount -t tmpfs -o mode=1777,noexec tmpfs $place; done;" \
         " mount -o remount,noexec /run"
NO_CGROUPS = "no cgroup filesystem is mounted: mount one below /sys/fs/cgroup"
READ_ONLY = "for place in $(cut -d' ' -f5 /proc/self/mountinfo | grep ^/sys/fs/cgroup/); do" \
            " mount -o remount,bind,ro $place; done"


@pytest.mark.parametrize(("setup", "words"), [
    ("mount -o remount,hidepid=2 /proc", ""),
    ("mount -o remount,bind,ro /", ""),
    (NOEXEC, ""),
    (NOEXEC + "; echo 2 >/proc/sys/vm/memfd_noexec", ""),
    ("umount -l /sys/fs/cgroup", NO_CGROUPS),
    (READ_ONLY, "the cgroups are mounted read-only"),
], ids=["hidepid", "read-only", "noexec", "memfd_noexec", "no-cgroups", "read-only-cgroups"])
def test_a_life_on_a_restricted_host(tmp_path: Path, setup: str, words: str) -> None:
    busybox_rootfs(tmp_path / "image")
    machine = Machine(tmp_path, suffix=tmp_path.name)
    try:
        # The test's directory and this checkout stay as they are.
        machine.room.ok("sh", "-ec", f"""
            mkdir /run/kept /run/checkout
            mount --bind {tmp_path} /run/kept
            mount --bind {TOP} /run/checkout
            {setup}
            mkdir -p {tmp_path}
            mount --bind /run/kept {tmp_path}
            test -e {TOP}/Makefile || {{ mkdir -p {TOP}; mount --bind /run/checkout {TOP}; }}
            umount /run/checkout""")
        container = Container(machine, "one", "sh", "-c", "echo fine; sleep 1000")
        if words:
            with pytest.raises(ShimError, match=words):
                container.create()
            container.call("Shutdown")
            until(lambda: machine.monitors() == [])
            assert machine.mounts(container.bundle) == []
            return
        container.start()
        assert container.exec("e", "echo", "again") is not None
        container.call("Start", exec_id="e")
        container.call("Wait", exec_id="e")
        container.call("Delete", exec_id="e")
        container.call("Kill", signal=9)
        assert container.call("Wait")["exit_status"] == 137
        container.remove()
        assert container.out.all() == b"fine\n"
    finally:
        machine.close()
