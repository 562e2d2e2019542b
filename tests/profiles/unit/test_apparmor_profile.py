"""The AppArmor profile: the paths that its rules match, and the processes that it confines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyruntime.profiles import apparmor
from pyruntime.profiles.apparmor import NAME, profile

# apparmor.d(5), "Globbing": the subset that the profile uses.
GLOBS = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", ",": "|", "}": ")"}


def meaning(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\[\^?[^]]*\]|\*\*|.", pattern)
    return re.compile("".join(part if part[0] == "[" and len(part) > 1 else GLOBS.get(part) or re.escape(part)
                              for part in parts))


def denied(path: str, access: str) -> bool:
    rules = re.findall(r"^  deny (/\S+) (\w+),$", profile(), re.MULTILINE)
    assert len(rules) > 10
    return any(access in letters and meaning(pattern).fullmatch(path) for pattern, letters in rules)


@pytest.mark.parametrize("path", [
    "/proc/sys/vm/swappiness", "/proc/sysrq-trigger", "/proc/irq/0/smp_affinity", "/proc/bus/pci/00", "/sys/kernel/mm",
    "/sys/firmware/efi", "/sys/f", "/sys/fsx/a", "/sys/fs/bpf/x", "/sys/fs/c", "/sys/fs/cg/x", "/sys/fs/cgroups/x",
    "/sys/module/x/parameters/y", "/sys/power/state", "/sys/block/sda/queue/x", "/proc/kcore"])
def test_paths_that_cannot_be_written(path: str) -> None:
    assert denied(path, "w")


@pytest.mark.parametrize("path", [
    "/proc/1/oom_score_adj", "/proc/17/task/18/comm", "/sys/fs/cgroup/x/cgroup.procs", "/sys/fs/cgroup/cgroup.procs",
    "/etc/passwd", "/home/proc/sys/x", "/dev/null", "/tmp/sys/kernel/x"])
def test_paths_that_can_be_written(path: str) -> None:
    assert not denied(path, "w")


def test_paths_that_cannot_be_read() -> None:
    for path in ("/proc/kcore", "/proc/sysrq-trigger", "/sys/firmware/acpi/x", "/sys/kernel/security/apparmor/profiles",
                 "/sys/kernel/security/"):
        assert denied(path, "r"), path
    for path in ("/proc/meminfo", "/proc/sys/vm/swappiness", "/sys/class/net/eth0/address", "/sys/kernel/mm/x"):
        assert not denied(path, "r"), path


def test_processes_that_stop_containers_can_signal_them() -> None:
    assert "signal (receive) peer=unconfined,\n" in profile()
    assert "signal (receive) peer=/usr/bin/x,\n" in profile("/usr/bin/x") and f"profile {NAME} " in profile()


@pytest.mark.parametrize("usable", [True, False])
def test_a_process_is_confined_if_the_host_has_apparmor(usable: bool, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(apparmor, "usable", lambda: usable)
    monkeypatch.setattr(apparmor, "_ourselves", lambda: "")
    monkeypatch.setattr(apparmor, "_loaded", lambda: bool(loaded))
    monkeypatch.setattr(apparmor, "_load", loaded.append)
    for _ in range(2):   # the second time the profile is loaded and its recorded text is unchanged
        process: dict[str, object] = {}
        apparmor.confine(process, str(tmp_path))
        assert process == ({"apparmorProfile": apparmor.NAME} if usable else {})
    assert len(loaded) == int(usable)
