"""Invalid config.json files: an error that names the place, no traceback, nothing left behind.

The catalogue of tests/data covers every leaf of the schema. All of it is tested through the library, a part through the
command, because starting Python thousands of times would take an hour.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import ConfigError, PyruntimeError
from pyruntime.runtime.config.lenient import forgive
from pyruntime.runtime.config.load import problems_of
from pyruntime.runtime.lifecycle.create import Request, create
from tests.containers import Bundle, Leftovers, Runtime
from tests.data.wrong_configs import cases


def taken(document: object) -> bool:
    """Whether the document is accepted with a warning, as by other runtimes
    (tests/runtime/unit/config/test_lenient)."""
    if isinstance(document, bytes):
        return False
    accepted, forgiven = forgive(document)
    return bool(forgiven) and not problems_of(accepted, "config.json", process_needed=False)


# The specification does not require a process for `create`, only for `start`.
CASES = [case for case in cases()
         if not (case[2] == "process" and isinstance(case[1], dict) and case[1].get("process") is None)
         and not taken(case[1])]


def text(document: Any) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def test_the_catalogue_is_large_enough() -> None:
    assert len(CASES) >= 300


def test_every_wrong_configuration_is_refused_by_create(tmp_path: Path) -> None:
    """Through create of the library, which the command calls."""
    root = tmp_path / "state"
    bundle = tmp_path / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    leftovers = Leftovers(root)
    accepted, unnamed = [], []
    for name, document, path in CASES:
        (bundle / "config.json").write_bytes(text(document))
        try:
            create(str(root), "wrong", str(bundle), Request())
        except ConfigError as error:
            if path not in [problem.where for problem in error.problems] and path not in str(error):
                unnamed.append((name, path, str(error)[:200]))
        except PyruntimeError as error:
            if path not in str(error):
                unnamed.append((name, path, str(error)[:200]))
        else:
            accepted.append(name)
    assert accepted == []
    assert unnamed == []
    leftovers.check()


@pytest.mark.parametrize("number", range(0, len(CASES), max(1, len(CASES) // 320)))
def test_the_command_names_the_place(runtime: Runtime, tmp_path: Path, number: int) -> None:
    name, document, path = CASES[number]
    bundle = tmp_path / "wrong"
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / "config.json").write_bytes(text(document))
    done = runtime("create", "wrong", bundle)
    assert done.returncode != 0, name
    assert path in done.stderr, (name, done.stderr)


# Fourteen mistakes in one key; other runtimes name the place in at most two of them.
ONE_KEY = {
    "mounts[0].destination": ("", "mounts", [{"destination": 5, "type": "tmpfs"}]),
    "process.user.uid": ("process.user", "uid", "0"),
    "process.args": ("process", "args", []),
    "process.cwd": ("process", "cwd", "rel"),
    "process.env[0]": ("process", "env", [7]),
    "process.capabilities.bounding": ("process.capabilities", "bounding", "CAP_KILL"),
    "process.rlimits[0].type": ("process", "rlimits", [{"type": "RLIMIT_BAD", "soft": 1, "hard": 1}]),
    "linux.namespaces[0].type": ("linux", "namespaces", [{"type": "bad"}]),
    "linux.resources.memory.limit": ("linux.resources", "memory", {"limit": "1g"}),
    "linux.seccomp.defaultAction": ("linux", "seccomp", {"defaultAction": "ALLOW"}),
    "linux.devices[0].type": ("linux", "devices", [{"path": "/dev/x", "type": "z", "major": 1, "minor": 1}]),
    "hooks.prestart[0].path": ("", "hooks", {"prestart": [{"path": "rel"}]}),
    "root.path": ("root", "path", 7),
    "linux.maskedPaths[0]": ("linux", "maskedPaths", [None]),
}


@pytest.mark.parametrize("where", ONE_KEY)
def test_one_key_mistakes(runtime: Runtime, bundle: Bundle, where: str) -> None:
    parent, key, value = ONE_KEY[where]
    place: Any = bundle.config
    for part in filter(None, parent.split(".")):
        place = place[part]
    place[key] = value
    bundle.save()
    done = runtime("create", "c1", bundle)
    assert done.returncode == 1 and f"config.json: {where}" in done.stderr, done.stderr
    assert "; " in done.stderr, "no remedy"   # on a terminal, on a separate line


def test_a_path_that_is_no_text(runtime: Runtime, bundle: Bundle) -> None:
    """No state document could contain it, so no later command could read its record."""
    odd = os.fsencode(bundle.path) + b"\xff"
    bundle.save(process__args=["true"])
    bundle.path.rename(os.fsdecode(odd))
    for words in ("create", "run"):
        done = runtime(words, "--bundle", os.fsdecode(odd), "c1", preexec_fn=lambda: os.chdir("/"))
        assert done.returncode == 1 and "is not UTF-8: b'" in done.stderr and r"bundle\xff'" in done.stderr
    done = runtime("create", "c1", preexec_fn=lambda: os.chdir(odd))
    assert done.returncode == 1 and "is not UTF-8" in done.stderr
    assert not (runtime.root / "c1").exists()


def test_missing_features_of_the_host_are_named(runtime: Runtime, bundle: Bundle) -> None:
    """Errors at run time have the place in config.json, the step and the kernel's message."""
    for change, phrases in (
        ({"mounts": [{"destination": "/tmp", "type": "nosuchfs", "source": "x"}]},
         ["mounts[0]", "nosuchfs", "No such device"]),
        ({"mounts": [{"destination": "/tmp/x", "type": "tmpfs", "source": "x", "options": ["size=bad"]}]},
         ["mounts[0]", "size", "Bad value"]),
        ({"mounts": [{"destination": "/tmp/x", "source": "/nonexistent", "options": ["bind"]}]},
         ["mounts[0]", "/nonexistent", "No such file"]),
        ({"linux__sysctl": {"net.ipv4.nosuch": "1"}}, ["linux.sysctl", "nosuch", "No such file"]),
        ({"process__apparmorProfile": "p"}, ["process.apparmorProfile", "apparmor"]),
        ({"process__selinuxLabel": "l"}, ["process.selinuxLabel", "selinux"]),
        ({"linux__intelRdt": {"closID": "x"}}, ["linux.intelRdt", "resctrl"]),
        ({"linux__namespaces": [{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/uts"}]},
         ["linux.namespaces[1].path", "another type"]),
        ({"root": {"path": "/nonexistent"}}, ["root.path", "/nonexistent"]),
        ({"process__cwd": "/bin/busybox"}, ["process.cwd", "not a directory"]),
        ({"linux__netDevices": {"nosuch0": {}}}, ["linux.netDevices.nosuch0", "no network device"]),
    ):
        fresh = Bundle(bundle.path, Path(bundle.config["root"]["path"]))
        if "linux__sysctl" in change or "linux__netDevices" in change:
            fresh.config["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", "network", "pid")]
            fresh.config.pop("hostname")
        if "linux__namespaces" in change:
            fresh.config.pop("hostname")
            fresh.config["linux"]["maskedPaths"] = fresh.config["linux"]["readonlyPaths"] = []
        # `run`: if AppArmor is enabled, only `start` detects a profile that is not loaded.
        done = runtime("run", "c1", fresh.save(**change))
        assert done.returncode == 1, change
        for phrase in phrases:
            assert phrase in done.stderr, (change, done.stderr)
