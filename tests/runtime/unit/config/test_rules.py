"""The rules beyond the schema: phrases that other tools match, accepted configurations, and warnings."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.runtime.config import load, rules
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.config.sections.mounts import GENERIC, for_filesystem
from pyruntime.runtime.config.sections.namespaces import sysctl_parts
from tests.data import good_configs, wrong_configs
from tests.data.wrong_configs import DROP

HAND = {name: document for name, document, _ in wrong_configs.by_hand()}


def rich(**changes: Any) -> Any:
    """The rich configuration with changes; in keywords, two underscores stand for a dot."""
    document = good_configs.rich()
    for name, value in changes.items():
        document = wrong_configs.changed(document, wrong_configs.read_path(name.replace("__", ".")), value)
    return document


def refused(document: Any) -> list[str]:
    found = load.check_value(document, "config.json") or rules.unsupported(Node(document))
    return [f"{problem.where}: {problem.what}" for problem in found]


def warned(document: Any) -> list[str]:
    assert refused(document) == []
    return [problem.where for problem in rules.warnings(Node(document))]


def test_the_rich_configuration_breaks_no_rule() -> None:
    assert warned(rich()) == ["hooks.prestart"]


@pytest.mark.parametrize("name", good_configs.ENGINES)
def test_configurations_of_engines_have_no_warnings(name: str) -> None:
    assert warned(good_configs.ENGINES[name]) == []


PHRASES = [
    ("no process", "process property must not be empty"),
    ("relative cwd", "Cwd must be an absolute path"),
    ("empty cwd", "Cwd property must not be empty"),
    ("no args", "args must not be empty"),
    ("no root", "root must be specified"),
    ("namespace twice", "duplicated ns"),
    ("no uid mappings", "user namespaces enabled, but no uid mappings found"),
    ("empty gid mappings", "user namespaces enabled, but no gid mappings found"),
    ("uid mappings without user", "user namespace mappings specified, but user namespace isn't enabled in the config"),
    ("hostname without uts", "unable to set hostname without a private UTS namespace"),
    ("domainname without uts", "unable to set domainname without a private UTS namespace"),
    ("sysctl of the host", 'sysctl "kernel.bad" is not in a separate kernel namespace'),
    ("sysctl of the hostname", 'is not allowed as it conflicts with the OCI "hostname" field'),
    ("unknown rlimit", "wrong rlimit value: RLIMIT_BAD"),
    ("offsets without time", "time namespace offsets specified, but time namespace isn't enabled in the config"),
    ("masked paths without mount", "unable to restrict sys entries without a private MNT namespace"),
    ("readonly paths without mount", "unable to restrict sys entries without a private MNT namespace"),
    ("device type z", 'invalid device type "z"'),
    ("propagation", "rootfsPropagation=bad is not supported"),
    ("network devices without network", "unable to move network devices without a private NET namespace"),
    ("notify by default", "SCMP_ACT_NOTIFY cannot be used as default action"),
    ("notify of write", "SCMP_ACT_NOTIFY cannot be used for the write syscall"),
    ("unified with a slash", 'unified resource "a/b.c" must be a file name (no slashes)'),
    ("unified without a dot", 'unified resource "memory" must be in the form CONTROLLER.PARAMETER'),
    ("closID dots", 'invalid intelRdt.ClosID ".."'),
    ("nice 20", "invalid scheduler.nice: 20 when specified should be between -20 to 19"),
    ("priority of another policy", "scheduler.priority can only be specified for SchedFIFO or SchedRR policy"),
    ("runtime of another policy", "scheduler runtime/deadline/period can only be specified for SchedDeadline policy"),
    ("swap without memory", "unable to set swap limit without memory limit"),
]


@pytest.mark.parametrize(("name", "phrase"), PHRASES)
def test_known_phrases(name: str, phrase: str) -> None:
    assert any(phrase in line for line in refused(HAND[name]))


@pytest.mark.parametrize(
    ("path", "value", "phrase"),
    [
        ("linux.namespaces[0].type", "bad", 'namespace {"bad" ""} does not exist'),
        ("linux.seccomp.defaultAction", "BAD", "string BAD is not a valid action for seccomp"),
        ("linux.seccomp.syscalls[0].action", "BAD", "string BAD is not a valid action for seccomp"),
        ("linux.seccomp.architectures[0]", "BAD", "string BAD is not a valid arch for seccomp"),
        ("linux.seccomp.syscalls[1].args[0].op", "BAD", "string BAD is not a valid operator for seccomp"),
    ],
)
def test_known_phrases_of_the_schema(path: str, value: str, phrase: str) -> None:
    assert refused(rich(**{path: value})) == [f"{path}: {phrase}"]


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("uts joined", {"linux__namespaces": wrong_configs._spaces(uts="/proc/1/ns/uts")}),
    ("user joined, with mappings", {"linux__namespaces": wrong_configs._spaces(user="/proc/1/ns/user")}),
    (
        "user joined, without",
        {"linux__namespaces": wrong_configs._spaces(user="/x"), "linux__uidMappings": DROP, "linux__gidMappings": []},
    ),
    ("console without terminal is ignored", {"process__terminal": False, "process__consoleSize__height": 70000}),
    ("FIFO without numbers", {"linux__devices": [{"type": "p", "path": "/run/fifo"}]}),
    ("the same device twice", {"linux__devices": [{"type": "p", "path": "/f"}] * 2}),
    ("quota without limit", {"linux__resources__cpu__quota": -1}),
    ("burst without quota", {"linux__resources__cpu__quota": DROP}),
    ("swap without limit", {"linux__resources__memory__swap": -1}),
    ("reservation above limit", {"linux__resources__memory__reservation": 9223372036854775807}),
    ("empty lists of cpus", {"linux__resources__cpu__cpus": "", "process__execCPUAffinity__final": ""}),
    ("root of resctrl", {"linux__intelRdt__closID": "/"}),
    ("preferred without nodes", {"linux__memoryPolicy": {"mode": "MPOL_PREFERRED"}}),
    ("default policy", {"linux__memoryPolicy": {"mode": "MPOL_DEFAULT"}}),
    ("fifo", {"process__scheduler": {"policy": "SCHED_FIFO", "priority": 99}}),
    ("deadline without period", {"process__scheduler": wrong_configs._deadline(2000, 3000, 0)}),
    ("no user", {"process__user": DROP}),
    ("no process user groups", {"process__user": {"uid": 0, "gid": 65535}}),
    ("template for two devices", {"linux__netDevices": {"eth0": {"name": "c%d"}, "eth1": {"name": "c%d"}}}),
    ("sysctl with slashes", {"linux__sysctl": {"net/ipv4/conf/eth0.1/forwarding": "1"}}),
    ("sysctl with a slash for a dot", {"linux__sysctl": {"net.ipv4.conf.eth0/1.forwarding": "1"}}),
    ("sysctl of the user", {"linux__sysctl": {"user.max_net_namespaces": "1"}}),
    ("relative cgroups path", {"linux__cgroupsPath": "a..b/...c"}),
    ("empty cgroups path", {"linux__cgroupsPath": ""}),
    ("adjacent mappings", {"linux__uidMappings": wrong_configs._ids((1, 0, 1), (0, 1, 1), (2, 2, 4294967293 - 2))}),
    ("64 bytes of hostname", {"hostname": "x" * 64}),
    ("weights", {"linux__resources__blockIO__weight": 0, "linux__resources__blockIO__leafWeight": 1000}),
]


@pytest.mark.parametrize("changes", [case[1] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_valid_configurations_are_accepted(changes: dict[str, Any]) -> None:
    assert warned(rich(**changes)) == ["hooks.prestart"]


WARNED: list[tuple[str, dict[str, Any], str]] = [
    ("newer version", {"ociVersion": "1.4.0"}, "ociVersion"),
    ("unknown capability", {"process__capabilities__bounding": ["CAP_FLY"]}, "process.capabilities.bounding[0]"),
    ("effective", {"process__capabilities__effective": ["CAP_CHOWN"]}, "process.capabilities.effective"),
    ("ambient", {"process__capabilities__inheritable": DROP}, "process.capabilities.ambient"),
    ("relative destination", {"mounts[0]__destination": "proc"}, "mounts[0].destination"),
    ("mappings without option", {"mounts[2]__options": ["rbind"]}, "mounts[2].options"),
    ("octal look", {"linux__devices[0]__fileMode": 666}, "linux.devices[0].fileMode"),
    (
        "one device in two places",
        {"linux__devices": wrong_configs._device() + wrong_configs._device(path="/dev/y", type="u")},
        "linux.devices[1]",
    ),
    ("L3", {"linux__intelRdt__l3CacheSchema": "0=7f0"}, "linux.intelRdt.l3CacheSchema"),
    ("kernel memory", {"linux__resources__memory__kernel": 5}, "linux.resources.memory.kernel"),
    ("TCP memory", {"linux__resources__memory__kernelTCP": 5}, "linux.resources.memory.kernelTCP"),
    (
        "useless filter",
        {"linux__seccomp": {"defaultAction": "SCMP_ACT_KILL", "syscalls": []}},
        "linux.seccomp.defaultAction",
    ),
    ("bits", {"linux__seccomp__syscalls[1]__args[0]__value": 8}, "linux.seccomp.syscalls[1].args[0].valueTwo"),
    (
        "idle operand",
        {"linux__seccomp__syscalls[1]__args[0]__op": "SCMP_CMP_EQ"},
        "linux.seccomp.syscalls[1].args[0].valueTwo",
    ),
    (
        "idle listener",
        {"linux__seccomp__syscalls": [wrong_configs._rule()], "linux__seccomp__flags": []},
        "linux.seccomp.listenerPath",
    ),
]


@pytest.mark.parametrize(("changes", "where"), [case[1:] for case in WARNED], ids=[case[0] for case in WARNED])
def test_warnings(changes: dict[str, Any], where: str) -> None:
    found = warned(rich(**changes))
    found.remove("hooks.prestart")
    assert found == [where]


def test_mounts_without_a_mount_namespace_are_a_warning() -> None:
    document = {**good_configs.MINIMAL, "mounts": good_configs.rich()["mounts"][:2]}
    assert warned(document) == ["mounts"]


def test_a_mistake_of_structure_does_not_hide_the_others() -> None:
    document = rich(process__cwd=7, hostname="x" * 65, linux__cgroupsPath="/a/..", linux__namespaces=[{"type": "bad"}])
    assert [line.partition(": ")[0] for line in refused(document)] == [
        "process.cwd",
        "linux.namespaces[0].type",
        "hostname",
        "linux.cgroupsPath",
    ]


@pytest.mark.parametrize("section", ["windows", "freebsd", "solaris", "zos"])
def test_a_broken_section_of_another_platform_is_not_checked_as_linux(section: str) -> None:
    document = {"ociVersion": "1.0.0", "process": {"cwd": "C:\\", "args": ["x"]}, section: []}
    assert [line.partition(": ")[0] for line in refused(document)] == [section]


def test_process_and_resources_can_be_validated_alone() -> None:
    [problem] = rules.process_problems(Node({"cwd": "/", "args": []}))
    assert problem.where == "args"
    assert rules.resources_problems(Node({"memory": {"swap": 5}})) == []
    [problem] = rules.resources_problems(Node({"memory": {"swap": 5, "limit": 6}}))
    assert problem.where == "memory.swap"


def test_only_start_needs_a_process() -> None:
    document = Node({**good_configs.MINIMAL, "process": None})
    assert [problem.where for problem in rules.unsupported(document)] == ["process"]
    assert rules.unsupported(document, process_needed=False) == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("net.ipv4.ip_forward", ["net", "ipv4", "ip_forward"]),
        ("net/ipv4/conf/eth0.1/x", ["net", "ipv4", "conf", "eth0.1", "x"]),
        ("net.ipv4.conf.eth0/1.x", ["net", "ipv4", "conf", "eth0.1", "x"]),
        ("kernel", []),
        ("", []),
        ("a..b", []),
        ("/net/x", []),
        ("net.//.x", []),
        ("net./.x", []),
        ("net/../x", []),
    ],
)
def test_the_path_of_a_sysctl(name: str, parts: list[str]) -> None:
    assert sysctl_parts(name) == parts


@pytest.mark.parametrize("option", ["size=1", "mode=755", "newinstance", "gid=5", "lowerdir=/a", "acl", "user_xattr"])
def test_options_for_the_file_system(option: str) -> None:
    assert for_filesystem(option)
    assert not any(for_filesystem(known) for known in (*GENERIC, "x-systemd.automount", "nofail", "comment=a", ""))


def test_options_of_a_filesystem_are_ignored_on_a_bind_mount() -> None:
    """The official validation suite gives `size=1k` to bind mounts and expects them to work."""
    mounts = [{"destination": "/a", "source": "/b", "options": ["rbind", "size=1k"]}]
    node = Node({"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "mounts": mounts})
    assert rules.problems(node) == []
    assert [warning.where for warning in rules.warnings(node)] == ["mounts[0].options[1]", "mounts"]
