"""What the AppArmor profile denies a container, on a kernel with AppArmor (tests/vm/run)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pyruntime.profiles import apparmor
from tests.pocker.integration.command import Pocker

pytestmark = pytest.mark.skipif(not apparmor.usable(), reason="this kernel has no AppArmor, or there is no"
                                " apparmor_parser: tests/vm/run has a guest with both")
NONE = ("--network", "none")
LABEL = "cat /proc/self/attr/current"
# No other restriction applies: all capabilities, no seccomp filter, no masked paths.
BARE = (*NONE, "--cap-add", "ALL", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined")


def unload() -> None:
    subprocess.run([apparmor.parser(), "-R"], input=apparmor.profile().encode(), check=False, capture_output=True)


def said(pocker: Pocker, *words: object) -> str:
    """The output of a container's shell, with its errors: flags, then "--", then the shell's command line."""
    place = words.index("--")
    return pocker.ok("run", "--rm", *words[:place], "busybox", "sh", "-c", f"({words[place + 1]}) 2>&1; true")


def test_a_container_is_confined_by_default(pocker: Pocker) -> None:
    unload()
    assert said(pocker, *NONE, "--", LABEL) == "pocker-default (enforce)"
    assert "pocker-default (enforce)" in Path(apparmor.LOADED).read_text()
    assert said(pocker, *NONE, "--privileged", "--", LABEL) == "unconfined"
    assert said(pocker, *NONE, "--security-opt", "apparmor=unconfined", "--", LABEL) == "unconfined"
    assert said(pocker, *NONE, "--privileged", "--security-opt", "apparmor=pocker-default", "--", LABEL) == (
        "pocker-default (enforce)")
    pocker.ok("run", "-d", "--name", "it", *NONE, "busybox", "sleep", "1000")
    assert pocker.ok("exec", "it", "cat", "/proc/self/attr/current") == "pocker-default (enforce)"
    assert pocker.ok("inspect", "-f", "{{.AppArmorProfile}}", "it") == "pocker-default"
    assert "name=apparmor,profile=pocker-default" in pocker.ok("info", "--format", "json")
    # Unconfined processes may kill the container's processes.
    pocker.ok("stop", "-t", "0", "it")


def test_denied_by_the_profile(pocker: Pocker) -> None:
    script = ("mount -t tmpfs x /tmp; mount --bind /etc /tmp; echo 60 >/proc/sys/vm/swappiness;"
              " echo h >/proc/sysrq-trigger; head -c1 /proc/kcore; ls /sys/kernel/security;"
              " echo 0 >/sys/kernel/profiling")
    lines = said(pocker, *BARE, "--", f"mount -o remount,rw /sys; {script}").splitlines()
    assert len(lines) == 8 and all("denied" in line or "Read-only" in line for line in lines), lines
    assert sum("denied" in line for line in lines) >= 6, lines
    # Without the profile, the same container may do this: it is the profile that denies it.
    free = said(pocker, *BARE, "--security-opt", "apparmor=unconfined", "--", "mount -t tmpfs x /tmp && echo mounted;"
                " cat /proc/sys/vm/swappiness >/proc/sys/vm/swappiness && echo set")
    assert free.split() == ["mounted", "set"]


def test_allowed_by_the_profile(pocker: Pocker) -> None:
    line = ("touch /file && mkdir /d && mv /file /d && chown 7:8 /d && rm -r /d; echo 5 >/proc/self/oom_score_adj;"
            " sleep 100 & kill $!; wait $! 2>/dev/null; echo $?; umount /dev/mqueue && echo unmounted;"
            " ls /sys/fs/cgroup /proc/1/fd >/dev/null; echo fine")
    assert said(pocker, *BARE, "--", line).split()[-3:] == ["143", "unmounted", "fine"]


def test_groups_of_its_own_may_be_written_to(pocker: Pocker) -> None:
    """--security-opt writable-cgroups=true: /sys is read-only, its cgroups are writable."""
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("cgroup v2 alone has one tree that a container can be given")
    assert said(pocker, *BARE, "--security-opt", "writable-cgroups=true", "--",
                "mkdir /sys/fs/cgroup/sub && echo made") == "made"


def test_a_profile_of_another_version_is_replaced(pocker: Pocker) -> None:
    text = f"profile {apparmor.NAME} {{ file, }}\n"
    subprocess.run([apparmor.parser(), "-rK"], input=text.encode(), check=True)
    assert "denied" in said(pocker, *BARE, "--", "mount -t tmpfs x /tmp")


def test_a_build_is_confined(pocker: Pocker, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text(f"FROM busybox\nRUN {LABEL} >/label\n")
    pocker.ok("build", "-q", "-t", "confined", "--network", "none", tmp_path / "context")
    assert pocker.ok("run", "--rm", *NONE, "confined", "cat", "/label") == "pocker-default (enforce)"
