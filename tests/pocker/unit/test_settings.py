"""A container's settings: typed values, and their form in the container's record."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.pocker.settings import (
    ContainerSettings,
    DeviceRequest,
    HealthCheck,
    IdMaps,
    LogSettings,
    MountPoint,
    NetworkAttachment,
    PublishedPort,
    Resources,
    RestartPolicy,
    SecurityOption,
    Ulimit,
    VolumesFrom,
)

# As versions before the typed settings wrote it.
OLD: dict[str, Any] = {
    "args": ["sleep", "9"], "entrypoint": None, "env": ["A=1"], "user": "", "workdir": "", "hostname": "",
    "domainname": "",
    "terminal": False, "stdin": True, "stop_signal": "", "stop_timeout": 10, "init": False, "labels": {"a": "b"},
    "annotations": {}, "cap_add": ["CAP_NET_ADMIN"], "cap_drop": [], "privileged": False,
    "security": ["no-new-privileges", "mask=/a:/b", "label:disable"], "seccomp": None, "read_only": False,
    "userns": "auto",
    "ids": {"uids": ["0 100000 65536"], "gids": ["0 100000 65536"]}, "ipc": "", "pid": "", "uts": "", "cgroupns": "",
    "group_add": [], "mounts": [
        {"kind": "bind", "source": "/a", "target": "/b", "create": True, "read_only": True, "options": ["rslave"]},
        {"kind": "volume", "source": "c0ffee", "target": "/data", "anonymous": True},
        {"kind": "tmpfs", "target": "/t", "options": ["noexec", "size=1m"]}],
    "volumes_from": ["other:ro"], "devices": ["/dev/null:/dev/x:r", "/dev/zero", "vendor.com/gpu=all", "/dev/tty:rw"],
    "device_rules": ["c 1:3 rwm"], "shm_size": 67108864,
    "limits": {"memory": {"limit": 536870912, "swap": -1}, "cpu": {"period": 100000, "quota": 50000},
               "pids": {"limit": 9},
               "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1024}]}},
    "ulimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}], "oom_score": None, "cgroup_parent": "", "sysctls": {},
    "networks": [{"name": "front", "ip": "10.0.0.9", "ip6": "", "mac": "", "aliases": ["web"]}, {"name": "bridge"},
                 {"name": "none", "left": True}],
    "ports": [{"host": "", "port": 8000, "last": 8010, "to": 80, "protocol": "tcp"},
              {"host": "::1", "port": 53, "last": 53, "to": 53, "protocol": "udp"},
              {"host": "", "port": 0, "last": 0, "to": 81, "protocol": "tcp"}],
    "publish_all": False, "expose": ["80/tcp"], "dns": [], "dns_search": [], "dns_options": [],
    "hosts": ["a:10.0.0.1"], "links": {"db": "1" * 64}, "restart": "on-failure", "restart_limit": 3, "remove": False,
    "log_driver": "file", "log_size": 1024, "log_files": 2, "log_details": {"env": ["A"]},
    "health": {"test": ["CMD", "x"], "interval": 30.0, "timeout": 30.0, "start_period": 0.0, "start_interval": 5.0,
               "retries": 3}, "platform": ""}


def test_a_record_of_an_older_version() -> None:
    found = ContainerSettings.of(OLD)
    assert found.args == ("sleep", "9") and found.stdin and found.labels == {"a": "b"}
    assert found.security == (SecurityOption(name="no-new-privileges"), SecurityOption(name="mask", value="/a:/b"),
                              SecurityOption(name="label", value="disable"))
    assert found.ids == IdMaps(uids=["0 100000 65536"], gids=["0 100000 65536"])
    assert found.mounts == (
        MountPoint(kind="bind", source="/a", target="/b", create=True, read_only=True, options=["rslave"]),
        MountPoint(kind="volume", source="c0ffee", target="/data", anonymous=True),
        MountPoint(kind="tmpfs", target="/t", options=["noexec", "size=1m"]))
    assert found.volumes_from == (VolumesFrom(container="other", read_only=True),)
    assert found.devices == (DeviceRequest(path="/dev/null", target="/dev/x", access="r"),
                             DeviceRequest(path="/dev/zero"),
                             DeviceRequest(cdi="vendor.com/gpu=all"), DeviceRequest(path="/dev/tty", access="rw"))
    assert (found.resources.memory, found.resources.memory_swap, found.resources.pids_limit) == (512 << 20, -1, 9)
    assert found.ulimits == (Ulimit(type="RLIMIT_NOFILE", soft=1, hard=2),)
    assert found.networks == (NetworkAttachment(name="front", ip="10.0.0.9", aliases=["web"]),
                              NetworkAttachment(name="bridge"), NetworkAttachment(name="none", left=True))
    assert found.publish == (
        PublishedPort(container_port=80, host_port=8000, last_host_port=8010),
        PublishedPort(container_port=53, host_port=53, address="::1", protocol="udp"), PublishedPort(container_port=81))
    assert found.restart == RestartPolicy(name="on-failure", limit=3)
    assert found.logging == LogSettings(max_size=1024, max_files=2, details={"env": ["A"]})
    assert found.health == HealthCheck(test=["CMD", "x"], interval=30.0, timeout=30.0, start_interval=5.0, retries=3)


def test_the_form_of_the_record_is_the_same() -> None:
    """An older version reads what this one writes, and the other way round."""
    found = ContainerSettings.of(OLD).document()
    assert set(found) == set(OLD)
    assert {name for name in OLD if found[name] != OLD[name]} == {"security", "networks"}
    assert found["security"] == ["no-new-privileges", "mask=/a:/b", "label=disable"]   # Docker's newer form
    assert ContainerSettings.of(found) == ContainerSettings.of(OLD)


def test_settings_are_frozen_and_typed() -> None:
    settings = ContainerSettings(env=["A=1"])
    with pytest.raises(AttributeError, match="frozen"):
        settings.env = ["A=2"]   # type: ignore[misc]
    with pytest.raises(TypeError, match='no field "environ"'):
        ContainerSettings(environ=[])   # type: ignore[call-arg]
    with pytest.raises(TypeError, match='needs the field "target"'):
        MountPoint(kind="tmpfs")   # type: ignore[call-arg]
    changed = settings.replace(user="1000")
    assert (changed.env, changed.user, settings.user) == (("A=1",), "1000", "")
    assert settings == ContainerSettings(env=("A=1",)) and settings != changed
    assert repr(changed) == "ContainerSettings(env=('A=1',), user='1000')"


def test_limits_are_merged_by_an_update() -> None:
    limits = Resources(memory=64 << 20, cpu_period=100_000, cpu_quota=50_000)
    assert limits.merged(Resources(cpus=1.5)) == Resources(memory=64 << 20, cpus=1.5)
    assert limits.merged(Resources(cpus=1.5)).document()["cpu"] == {"period": 100_000, "quota": 150_000}
    assert limits.merged(Resources(cpus=1.5)).merged(Resources(cpu_quota=1000)).document()["cpu"] == {"quota": 1000}
    assert limits.merged(Resources(pids_limit=-1)).pids_limit == -1


def test_a_text_is_no_list() -> None:
    """Its letters would be the program and its arguments."""
    with pytest.raises(TypeError, match='ContainerSettings: args "ls -l": give a list of texts'):
        ContainerSettings(args="ls -l")
    assert ContainerSettings(args=["ls", "-l"], user="root").args == ("ls", "-l")
