"""Node: absent values, present values, and paths."""

from __future__ import annotations

from pyruntime.runtime.config.node import Node
from pyruntime.system.json_path import member

ROOT = Node(
    {
        "mounts": [{"destination": "/proc", "options": []}, {"destination": "/dev"}],
        "linux": {"sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": None, "user": "x"}, "seccomp": None},
        "hostname": "",
        "annotations": {"9lives": "a", 'quo"te': "b", "\u00fc": "c"},
    }
)


def test_paths_lead_to_values() -> None:
    assert ROOT["linux.sysctl"].where == "linux.sysctl"
    assert ROOT["linux"]["sysctl"].where == "linux.sysctl"
    assert ROOT["linux.sysctl"].value is ROOT.value["linux"]["sysctl"]
    assert [mount["destination"].where for mount in ROOT["mounts"].each()] == [
        "mounts[0].destination",
        "mounts[1].destination",
    ]
    assert ROOT.get("hostname") == "" and ROOT.get("hostname", "x") == ""


def test_absent_and_null_are_the_same() -> None:
    for path in ("nothing", "linux.nothing", "linux.seccomp", "linux.seccomp.flags", "hostname.x", "mounts.x"):
        node = ROOT[path]
        assert not node and node.value is None and node.where == path
        assert list(node.each()) == [] and list(node.items()) == []
        assert node.or_("d") == "d" and ROOT.get(path, "d") == "d" and ROOT.get(path) is None


def test_zero_values_are_present() -> None:
    values: tuple[object, ...] = (0, "", [], {}, False)
    for value in values:
        assert Node(value)
        assert Node(value).or_("default") == value
    assert ROOT["hostname"]


def test_a_key_is_taken_literally() -> None:
    node = ROOT["linux.sysctl"].key("net.ipv4.ip_forward")
    assert (node.value, node.where) == ("1", 'linux.sysctl["net.ipv4.ip_forward"]')
    assert ROOT["linux.sysctl"].key("user").where == "linux.sysctl.user"
    assert not ROOT["linux.sysctl"].key("a.b") and not ROOT["mounts"].key("a.b")
    assert [where.where for _, where in ROOT["annotations"].items()] == [
        'annotations["9lives"]',
        'annotations["quo\\"te"]',
        'annotations["\\u00fc"]',
    ]


def test_null_entries_are_skipped() -> None:
    assert [name for name, _ in ROOT["linux.sysctl"].items()] == ["net.ipv4.ip_forward", "user"]


def test_member_of_the_root_has_no_dot() -> None:
    assert (member("", "a"), member("", "a.b"), member("a", "b")) == ("a", '["a.b"]', "a.b")
