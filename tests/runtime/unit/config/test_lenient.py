"""Violations that runc and crun accept: accepted with one warning for each place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import ConfigError
from pyruntime.runtime.cli.main import PROGRAM
from pyruntime.runtime.config.load import load_bundle, problems_of

BASE: dict[str, Any] = {"ociVersion": "1.0.2", "root": {"path": "rootfs"},
                        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
                        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}}
CASES = [
    ("process.user", {"gid": 7}, "process.user.uid", {"uid": 0, "gid": 7}),
    ("process.user", {"uid": 7}, "process.user.gid", {"uid": 7, "gid": 0}),
    ("process.rlimits", [{"type": "RLIMIT_CORE", "hard": 4}], "process.rlimits[0].soft",
     [{"type": "RLIMIT_CORE", "hard": 4, "soft": 0}]),
    ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 0}], "process.rlimits[0].hard",
     [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}]),
    ("process.ioPriority", {"class": "IOPRIO_CLASS_BE"}, "process.ioPriority.priority",
     {"class": "IOPRIO_CLASS_BE", "priority": 0}),
    ("linux.devices", [{"path": "/dev/x", "type": "c", "minor": 3}], "linux.devices[0].major",
     [{"path": "/dev/x", "type": "c", "major": 0, "minor": 3}]),
    ("linux.devices", [{"path": "/dev/x", "type": "b", "major": 3}], "linux.devices[0].minor",
     [{"path": "/dev/x", "type": "b", "major": 3, "minor": 0}]),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]},
     "linux.seccomp.syscalls[0].names", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}),
    ("hooks", {"poststop": [{"path": "/bin/true", "timeout": 0}]}, "hooks.poststop[0].timeout",
     {"poststop": [{"path": "/bin/true"}]}),
    ("linux.rootfsPropagation", "", "linux.rootfsPropagation", None),
    ("linux.namespaces", [{"type": "mount", "path": ""}], "linux.namespaces[0].path", [{"type": "mount"}]),
    ("linux.resources", {"devices": [{"allow": False, "access": "rwx"}]}, "linux.resources.devices[0].access",
     {"devices": [{"allow": False, "access": "rw"}]}),
    ("ociVersion", "2.1.0", "ociVersion", "1.3.0"),
    ("annotations", {"": "x", "a": "b"}, 'annotations[""]', {"a": "b"}),
    ("linux.maskedPaths", ["proc/kcore"], "linux.maskedPaths[0]", ["/proc/kcore"]),
    ("linux.readonlyPaths", ["/proc/bus", "proc/fs"], "linux.readonlyPaths[1]", ["/proc/bus", "/proc/fs"]),
]
WRONG_ALL_THE_SAME = [
    ("process.user", {"uid": "0"}), ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 4}]),
    ("hooks", {"poststop": [{"path": "/bin/true", "timeout": -1}]}), ("linux.rootfsPropagation", "none"),
    ("linux.namespaces", [{"type": "mount", "path": "rel"}]), ("ociVersion", "2.x"), ("ociVersion", "0.9.0"),
    ("linux.resources", {"devices": [{"allow": True, "access": "x"}]}), ("linux.maskedPaths", [""]),
    ("linux.devices", [{"path": "/dev/x", "type": "c", "major": -1, "minor": 1}]), ("linux.seccomp", {"syscalls": []}),
]


def bundle(directory: Path, place: str, value: object) -> Path:
    document = json.loads(json.dumps(BASE))
    *parents, last = place.split(".")
    at = document
    for name in parents:
        at = at[name]
    at[last] = value
    (directory / "config.json").write_text(json.dumps(document))
    return directory


@pytest.mark.parametrize(("place", "value", "where", "taken"), CASES, ids=[case[2] for case in CASES])
def test_accepted_with_one_warning(tmp_path: Path, place: str, value: object, where: str, taken: object,
                                   capfd: pytest.CaptureFixture[str]) -> None:
    path = str(bundle(tmp_path, place, value))
    config = load_bundle(path)
    assert config.get(place) == taken
    assert [problem.where for problem in config.forgiven] == [where]
    assert all(problem.what and problem.remedy and problem.spec for problem in config.forgiven)
    assert not problems_of(config.value, "config.json")
    assert PROGRAM.main(["validate", path]) == 0
    said = capfd.readouterr().out
    assert said.count("warning: ") == 1 and f"config.json: warning: {where}: " in said
    assert PROGRAM.main(["validate", "--strict", path]) == 1
    assert where in capfd.readouterr().err


@pytest.mark.parametrize(("place", "value"), WRONG_ALL_THE_SAME)
def test_refused_with_every_mistake(tmp_path: Path, place: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        load_bundle(str(bundle(tmp_path, place, value)))
    assert any(problem.where.startswith(place) for problem in caught.value.problems)


def test_an_error_also_reports_mistakes_that_would_be_forgiven(tmp_path: Path) -> None:
    directory = bundle(tmp_path, "process", {"cwd": "/", "args": ["sh"], "user": {"uid": 0}, "env": ["novalue"]})
    document = json.loads((directory / "config.json").read_text())
    document["root"] = {}
    (directory / "config.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError) as caught:
        load_bundle(str(directory))
    assert {"process.user.gid", "root.path"} <= {problem.where for problem in caught.value.problems}
