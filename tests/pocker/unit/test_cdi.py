"""The Container Device Interface: the edits of CDI specification files appear in config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import HostError, UsageError
from pyruntime.pocker.containers.cdi import inject
from pyruntime.pocker.options.devices import is_cdi


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    usual, first = tmp_path / "etc", tmp_path / "run"
    usual.mkdir()
    first.mkdir()
    monkeypatch.setenv("POCKER_CDI", f"{usual}:{first}")
    return usual, first


def empty() -> dict[str, Any]:
    return {"process": {"env": ["A=1", "B=1"], "user": {"uid": 0, "gid": 0}}, "mounts": [],
            "linux": {"resources": {}}}


def write(path: Path, kind: str, edits: dict[str, Any], name: str = "one", **more: Any) -> None:
    path.write_text(json.dumps({"cdiVersion": "0.6.0", "kind": kind, "devices": [
        {"name": name, "containerEdits": edits}], **more}))


def test_all_edits(places: tuple[Path, Path]) -> None:
    write(places[0] / "a.json", "vendor.com/thing", {
        "env": ["B=2", "C=3"],
        "deviceNodes": [{"path": "/dev/thing", "hostPath": "/dev/null", "permissions": "rw", "gid": 44},
                        {"path": "/dev/made", "type": "c", "major": 10, "minor": 3, "fileMode": 384}],
        "mounts": [{"hostPath": "/lib/thing", "containerPath": "/lib/thing"},
                   {"hostPath": "tmpfs", "containerPath": "/t", "type": "tmpfs", "options": ["size=1m"]}],
        "hooks": [{"hookName": "createContainer", "path": "/bin/hook", "args": ["hook", "x"], "timeout": 3}],
        "additionalGids": [0, 44]}, containerEdits={"env": ["ALL=1"]})
    document = empty()
    inject("vendor.com/thing=one", document)
    assert document["process"]["env"] == ["A=1", "ALL=1", "B=2", "C=3"]
    assert document["process"]["user"]["additionalGids"] == [44]
    null, made = document["linux"]["devices"]
    assert (null["path"], null["type"], null["major"], null["minor"], null["gid"]) == ("/dev/thing", "c", 1, 3, 44)
    assert made == {"path": "/dev/made", "type": "c", "major": 10, "minor": 3, "fileMode": 384}
    assert document["linux"]["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": True, "type": "c", "major": 10, "minor": 3, "access": "rwm"}]
    assert document["mounts"] == [
        {"destination": "/lib/thing", "type": "bind", "source": "/lib/thing",
         "options": ["rbind", "nosuid", "nodev", "ro"]},
        {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]}]
    assert document["hooks"] == {"createContainer": [{"path": "/bin/hook", "args": ["hook", "x"], "timeout": 3}]}


def test_the_later_directory_counts_more(places: tuple[Path, Path]) -> None:
    for place, value in zip(places, ("etc", "run"), strict=True):
        write(place / "a.json", "vendor.com/thing", {"env": [f"FROM={value}"]})
    document = empty()
    inject("vendor.com/thing=one", document)
    assert "FROM=run" in document["process"]["env"]


def test_two_files_of_one_directory_disagree(places: tuple[Path, Path]) -> None:
    for name in ("a", "b"):
        write(places[0] / f"{name}.json", "vendor.com/thing", {"env": ["X=1"]})
    with pytest.raises(UsageError, match=r"both .*a\.json.* and .*b\.json"):
        inject("vendor.com/thing=one", empty())


@pytest.mark.parametrize("name", ["vendor.yaml", "vendor.yml"])
def test_yaml(places: tuple[Path, Path], name: str) -> None:
    """As `nvidia-ctk cdi generate` writes it."""
    (places[0] / name).write_text("""---
cdiVersion: 0.5.0
kind: vendor.com/thing
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/thing
      hostPath: /dev/null
      fileMode: 0640
    hooks:
    - {hookName: createContainer, path: /bin/hook, args: [hook, "--folder", /lib]}
containerEdits:
  env:
  - THING=void
""")
    document = empty()
    inject("vendor.com/thing=0", document)
    assert document["process"]["env"][-1] == "THING=void"
    assert document["linux"]["devices"] == [
        {"path": "/dev/thing", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 0, "gid": 0}]
    assert document["hooks"]["createContainer"] == [{"path": "/bin/hook", "args": ["hook", "--folder", "/lib"]}]
    for wrong in ("kind: [", "kind: !!python/object/apply:os.system [true]"):
        (places[1] / name).write_text(wrong)
        with pytest.raises(HostError, match=f'{name}": .*line [12],'):
            inject("vendor.com/thing=0", empty())


def test_errors_of_missing_devices(places: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=r'"vendor.com/thing=two": no file'):
        inject("vendor.com/thing=two", empty())
    write(places[0] / "a.json", "vendor.com/thing", {"deviceNodes": [{"path": "/dev/nowhere-at-all"}]})
    with pytest.raises(HostError, match="nowhere-at-all"):
        inject("vendor.com/thing=one", empty())
    (places[0] / "a.json").write_text(json.dumps({"kind": "vendor.com/thing", "devices": [
        {"name": "one", "containerEdits": {"mounts": [{"hostPath": "/x"}]}}]}))
    with pytest.raises(HostError, match="containerPath"):
        inject("vendor.com/thing=one", empty())


def test_names() -> None:
    assert is_cdi("vendor.com/thing=one") and not is_cdi("/dev/x=y") and not is_cdi("/dev/null:/dev/n")
