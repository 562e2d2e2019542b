"""validate: the wording and the order of messages, and unknown members."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.errors import ConfigError, PyruntimeError
from pyruntime.runtime.config.load import check_value
from pyruntime.runtime.config.validate import KINDS, unknown_members, validate, without_nulls
from tests.data import good_configs
from tests.data.wrong_configs import DROP, changed, read_path

STATE = {"ociVersion": "1.3.0", "id": "a", "status": "running", "pid": 7, "bundle": "/b"}
FEATURES = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0"}


def said(path: str, value: Any) -> str:
    [problem] = validate(changed(good_configs.rich(), read_path(path), value))
    return str(problem)


MESSAGES = [
    (
        "process.user.uid",
        "0",
        'process.user.uid: expected a number, got the string "0"\n'
        "  write 0 without the quotes     [config.md#posix-platform-user]",
    ),
    (
        "process.user.gid",
        1.5,
        "process.user.gid: expected a whole number, got the number 1.5\n"
        "  write a number from 0 to 4294967294     [config.md#posix-platform-user]",
    ),
    (
        "process.terminal",
        "True",
        'process.terminal: expected true or false, got the string "True"\n'
        "  write true without the quotes     [config.md#process]",
    ),
    (
        "root.readonly",
        0,
        "root.readonly: expected true or false, got the number 0\n  write false     [config.md#root]",
    ),
    (
        "process.args",
        "sh",
        'process.args: expected an array, got the string "sh"\n  write ["sh"]     [config.md#process]',
    ),
    (
        "annotations",
        {"a.b": 1},
        'annotations["a.b"]: expected a string, got the number 1\n'
        '  write "1" in double quotes     [config.md#annotations]',
    ),
    (
        "linux.seccomp",
        [],
        "linux.seccomp: expected an object, got an array\n  write an object     [config-linux.md#seccomp]",
    ),
    (
        "process.cwd",
        DROP,
        "process.cwd: Cwd property must not be empty\n"
        '  write an absolute path, for example "/"     [config.md#process]',
    ),
    (
        "linux.seccomp.defaultAction",
        DROP,
        "linux.seccomp.defaultAction: is missing\n  add it, as a string     [config-linux.md#seccomp]",
    ),
    (
        "linux.namespaces[0].type",
        "pdi",
        'linux.namespaces[0].type: namespace {"pdi" ""} does not exist\n'
        '  write "pid", if that is what you mean     [config-linux.md#namespaces]',
    ),
    (
        "process.ioPriority.class",
        "idle",
        'process.ioPriority.class: "idle" is not one of the values allowed here\n'
        '  write "IOPRIO_CLASS_IDLE", if that is what you mean     [config.md#linux-process]',
    ),
    (
        "linux.personality.domain",
        "BSD",
        'linux.personality.domain: "BSD" is not one of the values allowed here\n'
        '  write one of "LINUX", "LINUX32"     [config-linux.md#personality]',
    ),
    (
        "process.rlimits[0].soft",
        -1,
        "process.rlimits[0].soft: -1 is below 0\n"
        "  write a number from 0 to 18446744073709551615     [config.md#posix-process]",
    ),
    (
        "linux.seccomp.syscalls[0].names",
        [],
        "linux.seccomp.syscalls[0].names: must not be empty\n"
        "  name at least one system call     [config-linux.md#seccomp]",
    ),
    (
        "mounts[0].source",
        "a\0b",
        'mounts[0].source: "a\\u0000b" contains a NUL character\n  remove the \\u0000     [config.md#mounts]',
    ),
    (
        "linux.maskedPaths",
        [None],
        "linux.maskedPaths[0]: expected a string, got null\n  write a string     [config-linux.md#masked-paths]",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), MESSAGES, ids=[message[0] for message in MESSAGES])
def test_messages(path: str, value: Any, message: str) -> None:
    assert said(path, value) == message


def test_every_violation_is_reported_in_the_documents_order() -> None:
    document = {
        "root": {"readonly": "no"},
        "process": {"env": [1, "A=b", 2], "args": "sh"},
        "linux": {"namespaces": [{"type": "x"}, {}]},
        "ociVersion": 1,
    }
    assert [problem.where for problem in validate(document)] == [
        "root.readonly",
        "root.path",
        "process.env[0]",
        "process.env[2]",
        "process.args",
        "process.cwd",
        "linux.namespaces[0].type",
        "linux.namespaces[1].type",
        "ociVersion",
    ]


def test_a_config_error_has_a_line_for_every_problem() -> None:
    document = {"root": {"path": 1}}
    text = str(ConfigError("config.json", check_value(document, "config.json")))
    assert text.count("config.json: ") == len(["root.path", "ociVersion"])


def test_check_value_reports_a_disagreement_of_its_two_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyruntime.runtime.config.load.conforms", lambda _: False)
    with pytest.raises(PyruntimeError, match=r"x\.json: the fast check and the schema disagree"):
        check_value(good_configs.MINIMAL, "x.json")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, 1, "text", [], True])
def test_a_document_that_is_not_an_object_is_a_problem(kind: str, value: object) -> None:
    [problem] = validate(value, kind)
    assert problem.where == "" and problem.what.startswith("expected an object, got ")


def test_unknown_members_are_found_with_a_guess() -> None:
    document = {
        **good_configs.MINIMAL,
        "hostName": "a",
        "linux": {"maskedpaths": [], "sysctl": {"kernel.any": "1"}, "namespaces": [{"type": "pid", "extra": 1}]},
        "annotations": {"any": "thing"},
        "solaris": None,
    }
    assert [(problem.where, problem.remedy) for problem in unknown_members(document)] == [
        ("hostName", 'write "hostname", if that is what you mean'),
        ("linux.maskedpaths", 'write "maskedPaths", if that is what you mean'),
        ("linux.namespaces[0].extra", "remove it if no program reads it"),
    ]
    assert unknown_members(good_configs.rich()) == []


def test_nulls_are_removed_from_objects_and_kept_in_arrays() -> None:
    assert without_nulls({"a": None, "b": [None, {"c": None}]}) == {"b": [None, {}]}


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({}, None),
        ({"status": "created"}, None),
        ({"status": "stopped", "pid": None}, None),
        ({"status": "creating", "pid": None, "annotations": {"a": ""}}, None),
        ({"status": "paused", "more": 1}, None),
        ({"pid": None}, "pid"),
        ({"status": "created", "pid": None}, "pid"),
        ({"pid": -1}, "pid"),
        ({"pid": "7"}, "pid"),
        ({"status": "dead"}, "status"),
        ({"status": None}, "status"),
        ({"id": ""}, "id"),
        ({"bundle": "b"}, "bundle"),
        ({"annotations": {"a": 1}}, "annotations.a"),
        ({"ociVersion": "1"}, "ociVersion"),
    ],
)
def test_states(changes: dict[str, Any], where: str | None) -> None:
    found = validate({**STATE, **changes}, "state")
    assert [problem.where for problem in found] == ([where] if where else [])


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"hooks": None, "linux": None, "annotations": None}, None),
        ({"hooks": [], "linux": {"cgroup": {"v1": None, "v2": True}, "seccomp": {"archs": []}}}, None),
        ({"linux": {"memoryPolicy": {"modes": ["MPOL_BIND"], "flags": None}, "intelRdt": {"monitoring": True}}}, None),
        ({"ociVersionMax": None}, "ociVersionMax"),
        ({"ociVersionMin": "1.3.1"}, "ociVersionMax"),
        ({"ociVersionMin": "x"}, "ociVersionMin"),
        ({"hooks": "prestart"}, "hooks"),
        ({"linux": {"namespaces": ["net"]}}, "linux.namespaces[0]"),
        ({"linux": {"capabilities": ["chown"]}}, "linux.capabilities[0]"),
        ({"linux": {"selinux": {"enabled": 1}}}, "linux.selinux.enabled"),
        ({"linux": {"seccomp": {"operators": ["EQ"]}}}, "linux.seccomp.operators[0]"),
        ({"linux": {"mountExtensions": {"idmap": True}}}, "linux.mountExtensions.idmap"),
    ],
)
def test_features(changes: dict[str, Any], where: str | None) -> None:
    found = validate({**FEATURES, **changes}, "features")
    assert [problem.where for problem in found] == ([where] if where else [])
