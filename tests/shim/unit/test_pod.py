"""What a pod's description becomes, and what its containers get."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.errors import UsageError
from pyruntime.shim import sandbox_messages
from pyruntime.shim.pod import Pod, _with_files


def pod(netns: str = "/run/netns/x", **fields: Any) -> Pod:
    return Pod({"type_url": "types.example/runtime.v1.PodSandboxConfig",
                "value": sandbox_messages.POD.encode(fields)}, netns)


def kinds(made: Pod) -> dict[str, str]:
    return {entry["type"]: entry.get("path", "") for entry in made.configuration("id", "")["linux"]["namespaces"]}


def test_namespaces() -> None:
    assert kinds(pod()) == {"mount": "", "pid": "", "ipc": "", "network": "/run/netns/x", "uts": ""}
    host = {"security": {"namespaces": {"network": 2, "pid": 2, "ipc": 2}}}
    assert kinds(pod(linux=host)) == {"mount": ""}
    # Of containers, one each: the holder has one of its own, too.
    assert "pid" in kinds(pod(linux={"security": {"namespaces": {"pid": 1}}}))


def test_a_pod_without_options() -> None:
    config = Pod(None, "").configuration("id", "")
    assert {"type": "network"} in config["linux"]["namespaces"]
    assert "hostname" not in config and "cgroupsPath" not in config["linux"]


def test_a_host_name_needs_a_namespace() -> None:
    assert pod(hostname="one").configuration("id", "")["hostname"] == "one"
    host = {"security": {"namespaces": {"network": 2}}}
    config = pod(hostname="one", linux=host).configuration("id", "")
    assert "hostname" not in config
    assert config["linux"]["sysctl"] == {}   # it would be the host's


def test_sysctls_override_the_defaults() -> None:
    given = [{"key": "net.ipv4.ip_unprivileged_port_start", "value": "80"}, {"key": "kernel.msgmax", "value": "1"}]
    assert pod(linux={"sysctls": given}).configuration("id", "")["linux"]["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "80", "kernel.msgmax": "1", "net.ipv4.ping_group_range": "0 2147483647"}


def test_cgroups() -> None:
    plain = pod(linux={"cgroup_parent": "/kubepods/pod1"})
    assert (plain.configuration("id", "")["linux"]["cgroupsPath"], plain.systemd) == ("/kubepods/pod1/id", False)
    slices = pod(linux={"cgroup_parent": "/kubepods.slice/kubepods-pod1.slice"})
    assert (slices.configuration("id", "")["linux"]["cgroupsPath"], slices.systemd) == (
        "kubepods-pod1.slice:cri-containerd:id", True)


IDS = [{"inside": 0, "outside": 5000, "size": 10}]


def of_users(**fields: Any) -> dict[str, Any]:
    return {"security": {"namespaces": {"users": fields}}}


@pytest.mark.parametrize("users", [
    {"mode": 0}, {"mode": 0, "uids": IDS}, {"mode": 0, "gids": IDS}, {"mode": 2, "uids": IDS}, {"mode": 2, "gids": IDS},
    {"mode": 1, "uids": IDS, "gids": IDS}, {"mode": 3}])
def test_user_namespaces_that_are_refused(users: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="user namespace"):
        pod(linux=of_users(**users))


def test_the_host_s_user_namespace() -> None:
    made = pod(linux=of_users(mode=2))
    assert made.mappings == {} and "user" not in kinds(made)
    assert made.open_users() == -1


def test_a_user_namespace() -> None:
    made = pod(linux=of_users(mode=0, uids=IDS, gids=IDS))
    linux = made.configuration("id", "/proc/1/fd/9")["linux"]
    assert linux["namespaces"][1] == {"type": "user", "path": "/proc/1/fd/9"}
    assert linux["uidMappings"] == linux["gidMappings"] == [{"containerID": 0, "hostID": 5000, "size": 10}]
    # Not "0 2147483647", which are not mapped.
    assert linux["sysctl"] == {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert made.configuration("id", "")["linux"]["namespaces"][1] == {"type": "user"}


def test_other_options_are_refused() -> None:
    with pytest.raises(UsageError, match=r"google\.protobuf\.Empty"):
        Pod({"type_url": "google.protobuf.Empty", "value": b""}, "")


def test_resolver() -> None:
    made = pod(dns={"servers": ["192.0.2.1", "192.0.2.2"], "searches": ["a.example", "b.example"], "options": ["x"]})
    assert made._resolver() == (b"search a.example b.example\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"
                                b"options x\n")
    assert pod(dns={})._resolver() == b""


def test_mounts_of_a_container() -> None:
    config = {"root": {"path": "rootfs", "readonly": True}, "mounts": [
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm"},
        {"destination": "/etc/hosts", "type": "bind", "source": "/var/own"}]}
    made = _with_files(config, "/pod/rootfs")
    assert [(mount["destination"], mount["source"]) for mount in made] == [
        ("/dev/shm", "/pod/rootfs/shm"), ("/etc/hosts", "/var/own"), ("/etc/hostname", "/pod/rootfs/hostname"),
        ("/etc/resolv.conf", "/pod/rootfs/resolv.conf")]
    assert all("ro" in mount["options"] for mount in made[2:]) and "rw" in made[0]["options"]
    assert _with_files({**config, "mounts": made}, "/pod/rootfs") == made   # a repeated Create


def test_the_host_s_shared_memory_stays() -> None:
    host = {"destination": "/dev/shm", "type": "bind", "source": "/dev/shm"}
    assert _with_files({"mounts": [host]}, "/pod/rootfs")[0] == host
