"""config.joining: the values of an exec process from the container and from the request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyruntime.errors import ConfigError, UsageError
from pyruntime.runtime.config.joining import asked_process, given_process, kept_of
from pyruntime.runtime.config.node import Node

PROCESS: dict[str, Any] = {
    "args": ["init"], "cwd": "/srv", "env": ["A=1"], "terminal": True, "noNewPrivileges": True,
    "user": {"uid": 1, "gid": 2, "additionalGids": [3], "umask": 7},
    "capabilities": {"bounding": ["CAP_KILL"], "effective": [], "permitted": [], "inheritable": []},
    "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}], "oomScoreAdj": 5, "apparmorProfile": "p"}


def kept(process: dict[str, Any] | None = PROCESS, **linux: Any) -> dict[str, Any]:
    return kept_of(Node({"ociVersion": "1.3.0", "process": process, "linux": linux, "mounts": []}), True)


def test_what_is_kept() -> None:
    values = kept(seccomp={"defaultAction": "SCMP_ACT_ALLOW"}, resources={}, personality=None)
    assert values["linux"] == {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}
    assert values["process"] == PROCESS and "mounts" not in values and values["newKeyring"] is True


def test_asked_changes_only_the_requested_values() -> None:
    process = asked_process(kept(), ["ls", "-l"])
    assert process == {**PROCESS, "args": ["ls", "-l"], "terminal": False}


def test_asked_changes() -> None:
    process = asked_process(kept(), ["ls"], cwd="/", env=["B=2"], terminal=True, user="8:9", gids=[4],
                            capabilities=["CAP_CHOWN"], no_new_privs=False, apparmor="q", label="l")
    assert process["cwd"] == "/" and process["env"] == ["A=1", "B=2"] and process["terminal"] is True
    assert process["user"] == {"uid": 8, "gid": 9, "additionalGids": [3, 4], "umask": 7}
    assert process["capabilities"] == {"bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_CHOWN"],
                                       "permitted": ["CAP_CHOWN"], "inheritable": []}
    assert (process["noNewPrivileges"], process["apparmorProfile"], process["selinuxLabel"]) == (False, "q", "l")
    assert PROCESS["env"] == ["A=1"] and PROCESS["capabilities"]["effective"] == []   # not changed in place


def test_ambient_needs_inheritable() -> None:
    sets = {"inheritable": ["CAP_KILL"]}
    process = asked_process(kept({**PROCESS, "capabilities": sets}), ["ls"], capabilities=["CAP_CHOWN"])
    assert process["capabilities"]["ambient"] == ["CAP_CHOWN"]


def test_a_container_without_a_process() -> None:
    assert asked_process(kept(None), ["ls"])["cwd"] == "/"


@pytest.mark.parametrize("user", ["x", "1:x", ":1", "-1", "1:", "4294967295", "²"])
def test_bad_users(user: str) -> None:
    with pytest.raises(UsageError, match=r"bad [ug]id"):
        asked_process(kept(), ["ls"], user=user)


def test_nothing_to_run() -> None:
    with pytest.raises(UsageError, match="exec args cannot be empty"):
        asked_process(kept(), [])


def test_given_gets_missing_values_from_the_container() -> None:
    process = given_process(kept(), json.dumps({"args": ["ls"], "cwd": "/"}).encode(), "p.json", pytest.fail)
    assert process["capabilities"] == PROCESS["capabilities"] and process["rlimits"] == PROCESS["rlimits"]
    assert process["oomScoreAdj"] == 5 and process["apparmorProfile"] == "p"
    assert process["user"] == {"uid": 0, "gid": 0, "umask": 7}
    # Missing members have their defaults here.
    assert "env" not in process and "noNewPrivileges" not in process and "terminal" not in process


def test_given_overrides() -> None:
    given = {"args": ["ls"], "cwd": "/", "rlimits": [], "oomScoreAdj": 0, "capabilities": {},
             "user": {"uid": 4, "gid": 4, "umask": 0}}
    process = given_process(kept(), json.dumps(given).encode(), "p.json", pytest.fail)
    assert {name: process[name] for name in given} == given


@pytest.mark.parametrize(("text", "where"), [
    ('{"args": ["ls"], "cwd": 7}', "process.cwd"), ('{"cwd": "/"}', "process.args"), ("[]", "process"),
    ('{"args": ["ls"], "cwd": "/", "user": {"uid": "0", "gid": 0}}', "process.user.uid")])
def test_given_wrong(text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        given_process(kept(), text.encode(), "p.json", pytest.fail)
    assert [problem.where for problem in caught.value.problems] == [where]
    assert str(caught.value).startswith("p.json: process")


def test_given_with_values_that_other_runtimes_accept() -> None:
    told: list[str] = []
    given = {"args": ["ls"], "cwd": "/", "user": {"uid": 4}, "ioPriority": {"class": "IOPRIO_CLASS_BE"}}
    process = given_process(kept(), json.dumps(given).encode(), "p.json", told.append)
    assert process["user"]["gid"] == 0 and process["ioPriority"]["priority"] == 0
    assert [line.split(": is missing")[0] for line in told] == [
        "p.json: process.user.gid", "p.json: process.ioPriority.priority"]
