"""The settings that the flags of `create` and `run` give, and the errors for invalid values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyruntime.commandline.parse import DOCKER, Command, parse
from pyruntime.errors import PyruntimeError
from pyruntime.pocker.options.flags import FLAGS, READERS, SUBJECTS, settings_of
from pyruntime.pocker.settings import (
    ContainerSettings,
    DeviceRequest,
    HealthCheck,
    LogSettings,
    MountPoint,
    NetworkAttachment,
    PublishedPort,
    Resources,
    RestartPolicy,
    Ulimit,
)
from tests.conftest import TOP

RUN = Command("run", "", "", *FLAGS, stop_at_argument=True)


def settings(*words: str) -> ContainerSettings:
    return settings_of(parse(RUN, [*words, "image"], DOCKER, "pocker"))


def wrong(*words: str) -> str:
    with pytest.raises(PyruntimeError) as caught:
        settings(*words)
    text = str(caught.value)
    assert text[0] in "-\"" or text[0].islower(), text
    assert not text.endswith("."), text
    return text


def port(address: str, low: int, high: int, inside: int, protocol: str = "tcp") -> PublishedPort:
    return PublishedPort(container_port=inside, host_port=low, last_host_port=high, address=address, protocol=protocol)


def test_every_flag_has_a_reader() -> None:
    """A flag that no code reads would be accepted and ignored."""
    from pyruntime.pocker.options.flags import FIELDS, MAKING

    read = {flag.name for flags in SUBJECTS.values() for flag in flags} | set(FIELDS) | {flag.name for flag in MAKING}
    assert {flag.name for flag in FLAGS} - read == {"entrypoint", "runtime", "shm-size"}   # read in settings_of itself


def test_flags_of_a_subject_are_read_by_its_module() -> None:
    assert set(READERS) == set(SUBJECTS)
    for subject, flags in SUBJECTS.items():
        source = (TOP / f"pyruntime/pocker/options/{subject}.py").read_text()
        missing = [flag.name for flag in flags if f'"{flag.name}"' not in source and not flag.hidden]
        assert not missing, (subject, missing)


@pytest.mark.parametrize(("words", "limits"), [
    (["-m", "512m"], {"memory": {"limit": 512 << 20, "swap": 1 << 30}}),
    (["-m512m", "--memory-swap", "-1"], {"memory": {"limit": 512 << 20, "swap": -1}}),
    (["--mem", "1g", "--memory-swap", "1g"], {"memory": {"limit": 1 << 30, "swap": 1 << 30}}),
    (["--memory-reservation", "64M"], {"memory": {"reservation": 64 << 20}}),
    (["-m", "64m", "--memory-swap=-1", "--memory-swappiness", "0", "--oom-kill-disable"],
     {"memory": {"limit": 64 << 20, "swap": -1, "swappiness": 0, "disableOOMKiller": True}}),
    (["--memory-swappiness", "-1"], {}),
    (["--cpus", "0.5"], {"cpu": {"period": 100000, "quota": 50000}}),
    (["--cpus", "0"], {}),
    (["-c", "512"], {"cpu": {"shares": 512}}),
    (["--cpu-period", "50000", "--cpu-quota", "25000"], {"cpu": {"period": 50000, "quota": 25000}}),
    (["--cpu-quota", "-1"], {"cpu": {"quota": -1}}),
    (["--cpuset-cpus", "0", "--cpuset-mems", "0"], {"cpu": {"cpus": "0", "mems": "0"}}),
    (["--pids-limit", "100"], {"pids": {"limit": 100}}),
    (["--pids", "7"], {"pids": {"limit": 7}}),
    (["--pids-limit", "-1"], {}),
    (["--blkio-weight", "300"], {"blockIO": {"weight": 300}}),
])
def test_limits(words: list[str], limits: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyruntime.pocker.options.resources.swap_is_counted", lambda: True)
    assert settings(*words).resources.document() == limits
    assert Resources.of(limits).document() == limits


def test_no_swap_limit_without_swap_accounting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyruntime.pocker.options.resources.swap_is_counted", lambda: False)
    assert settings("-m", "512m").resources == Resources(memory=512 << 20)


@pytest.mark.parametrize(("words", "says"), [
    (["-m", "5x"], '--memory "5x": write bytes'),
    (["-m", "1m"], '--memory "1m": a container needs at least 6m'),
    (["--mem", "1k"], '--mem "1k"'),
    (["--memory-swap", "1g"], "give --memory too"),
    (["-m", "1g", "--memory-swap", "512m"], '--memory-swap "512m"'),
    (["-m", "1g", "--memory-reservation", "2g"], '--memory-reservation "2g": write no more than'),
    (["--memory-swappiness", "101"], "write a number from 0 to 100"),
    (["--oom-kill-disable"], "--memory"),
    (["--cpus", "1000"], '--cpus "1000": write a number from 0.01 to'),
    (["--cpus", "x"], '--cpus "x"'),
    (["--cpus", "1", "--cpu-quota", "5000"], "--cpus and --cpu-quota"),
    (["--cpu-shares", "1"], "from 2 to 262144"),
    (["--cpu-period", "10"], "microseconds"),
    (["--cpuset-cpus", "0-"], "for example 0-2,4"),
    (["--cpuset-cpus", "3000"], "the host has 0"),
    (["--cpuset-mems", "200"], "the host has 0"),
    (["--pids-limit", "-5"], "-1 for no limit"),
    (["--pids-limit", "x"], "invalid argument"),
    (["--blkio-weight", "5"], "from 10 to 1000"),
    (["--device-read-bps", "sda:1m"], "/dev/sda:1"),
    (["--device-read-bps", "/dev/null:1m"], "not a block device"),
    (["--device-write-iops", "/dev/nowhere:1"], "No such file"),
    (["--ulimit", "files=1"], "unknown limit: choose one of as, core"),
    (["--ulimit", "nofile=9:8"], "more than the hard limit"),
    (["--ulimit", "nofile"], "NAME=SOFT"),
    (["--ulimit", "nofile=a"], "NAME=SOFT"),
    (["--oom-score-adj", "2000"], "from -1000 to 1000"),
    (["--cgroup-parent", "../x"], '".."'),
    (["--sysctl", "net.x"], "NAME=VALUE"),
    (["--shm-size", "big"], "--shm-size"),
    (["-e", "=x"], '--env "=x"'),
    (["--env-file", "/nowhere"], '--env-file "/nowhere": No such file'),
    (["--label", "=x"], "--label"),
    (["-v", "relative:/x:y:z"], "[SOURCE:]TARGET"),
    (["-v", "a/b:/x"], "starts with / or ./"),
    (["-v", "/a:b"], "not absolute"),
    (["-v", "/a:/"], "root"),
    (["-v", "/a:/proc"], "belongs to procfs"),
    (["-v", "data:/proc/../proc/self/attr"], "belongs to procfs"),
    (["--tmpfs", "/proc/sys"], "belongs to procfs"),
    (["--mount", "type=bind,src=/,dst=/proc"], "belongs to procfs"),
    (["-v", "/a:/b:rx"], '"rx" is not an option'),
    (["-v", "/a:/b:nocopy"], '"nocopy" is not an option'),
    (["-v", "/a:/x", "-v", "/b:/x"], 'two mounts at "/x"'),
    (["--mount", "type=bind,src=/nowhere/at/all,dst=/x"], "does not exist"),
    (["--mount", "type=bind,dst=/x"], "needs source"),
    (["--mount", "type=squash,dst=/x"], "bind, volume or tmpfs"),
    (["--mount", "type=tmpfs,src=/a,dst=/x"], "no source"),
    (["--mount", "type=tmpfs,dst=/x,volume-nocopy"], 'type tmpfs has no "volume-nocopy"'),
    (["--mount", "type=bind,src=/,dst=/x,wrong=1"], 'unknown key "wrong"'),
    (["--mount", "src=data,dst=/x,volume-subpath=../y"], '".."'),
    (["--mount", "type=bind,src=/,dst=/x,bind-propagation=up"], "bind-propagation"),
    (["--tmpfs", "/x:colour=red"], '"colour=red" is not an option'),
    (["--volumes-from", "a:rx"], "write CONTAINER[:ro]"),
    (["--device", "null"], "/dev/NAME"),
    (["--device", "/dev/nowhere"], "does not exist"),
    (["--device", "/dev/null:/dev/x:q"], "/dev/NAME"),
    (["--device-cgroup-rule", "c 1:3"], "MAJOR:MINOR"),
    (["--gpus", "some"], "all, a number"),
    (["--cap-add", "FLY"], '--cap-add "FLY": there is no such capability'),
    (["--security-opt", "magic"], "seccomp=FILE"),
    (["--security-opt", "seccomp=/nowhere"], "No such file"),
    (["--security-opt", "no-new-privileges=maybe"], "true or false"),
    (["--security-opt", "label=x:y"], "label=disable"),
    (["--ipc", "shared"], "private, shareable, host, none, container:NAME"),
    (["--pid", "container:"], "--pid"),
    (["--userns", "nobody-has-this"], "/etc/subuid"),
    (["--uts", "host", "--hostname", "x"], "--hostname and --uts host"),
    (["--network", "host", "--ip", "10.0.0.1"], '--network "host"'),
    (["--network", "none", "--network", "a"], "cannot be combined with other networks"),
    (["--network", "container:a", "-p", "80"], "do not go together"),
    (["--ip", "300.1.1.1"], "IPv4"),
    (["--ip6", "10.0.0.1"], "IPv6"),
    (["--mac-address", "03:00:00:00:00:01"], "even"),
    (["--mac-address", "3"], "six bytes"),
    (["-p", "x"], "a port or a range"),
    (["-p", "80:"], "a port or a range"),
    (["-p", "0:80"], "not a port"),
    (["-p", "70000:80"], "not a port"),
    (["-p", "80:80/icmp"], "tcp|udp|sctp"),
    (["-p", "80-82:80-81"], "differ in length"),
    (["-p", "host:80:80"], "address"),
    (["--expose", "x"], "PORT"),
    (["--dns", "server"], "--dns"),
    (["--add-host", "name"], "host-gateway"),
    (["--restart", "sometimes"], "no, always, unless-stopped or on-failure"),
    (["--restart", "always:3"], "only on-failure"),
    (["--restart", "always", "--rm"], "--rm and --restart"),
    (["--log-driver", "syslog"], "json-file"),
    (["--log-opt", "speed=1"], "max-size"),
    (["--log-opt", "max-file=0"], "max-file"),
    (["--health-interval", "soon"], "1m30s"),
    (["--no-healthcheck", "--health-cmd", "x"], "do not go together"),
    (["--wrong"], "-wrong"),
])
def test_errors_of_wrong_values(words: list[str], says: str) -> None:
    assert says in wrong(*words)


def test_ulimits() -> None:
    assert settings("--ulimit", "nofile=10:20", "--ulimit", "core=-1", "--ulimit", "nproc=5").ulimits == (
        Ulimit(type="RLIMIT_NOFILE", soft=10, hard=20),
        Ulimit(type="RLIMIT_CORE", soft=(1 << 64) - 1, hard=(1 << 64) - 1),
        Ulimit(type="RLIMIT_NPROC", soft=5, hard=5))


def test_environment_of_flags_files_and_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=file\nB=b with blanks = and\nHERE\nGONE\nC=c\n")
    monkeypatch.setenv("HERE", "mine")
    monkeypatch.delenv("GONE", raising=False)
    found = settings("--env-file", str(file), "-e", "A=flag", "-e", "HERE", "-e", "GONE", "-e", "C=").env
    assert dict(entry.split("=", 1) for entry in found) == {"A": "flag", "B": "b with blanks = and", "HERE": "mine",
                                                            "C": ""}
    file.write_text("A B=1\n")
    assert "must not contain a space" in wrong("--env-file", str(file))


def test_labels_and_annotations(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("a=1\nb\n")
    found = settings("--label-file", str(file), "-l", "a=2", "--label", "c=x=y", "--annotation", "n=v")
    assert found.labels == {"a": "2", "b": "", "c": "x=y"} and found.annotations == {"n": "v"}


@pytest.mark.parametrize(("text", "mount"), [
    ("/x", {"kind": "volume", "source": "", "target": "/x", "anonymous": True}),
    ("data:/x/", {"kind": "volume", "source": "data", "target": "/x"}),
    ("data:/x:ro,nocopy", {"kind": "volume", "source": "data", "target": "/x", "read_only": True, "nocopy": True}),
    ("/a:/b", {"kind": "bind", "source": "/a", "target": "/b", "create": True}),
    ("/a:/b:ro,rslave,Z", {"kind": "bind", "source": "/a", "target": "/b", "create": True, "read_only": True,
                           "options": ["rslave"]}),
    ("/a:/b:rw,cached,noexec", {"kind": "bind", "source": "/a", "target": "/b", "create": True,
                                "options": ["noexec"]}),
])
def test_volume_flag(text: str, mount: dict[str, Any]) -> None:
    assert settings("-v", text).mounts == (MountPoint(**mount),)


def test_volume_flag_with_relative_paths() -> None:
    assert [mount.source for mount in settings("-v", "./x:/a", "-v", "..:/b").mounts] == [
        os.path.abspath("x"), os.path.abspath("..")]


@pytest.mark.parametrize(("text", "mount"), [
    ("type=bind,source=/,target=/b,readonly,bind-propagation=rshared",
     {"kind": "bind", "source": "/", "target": "/b", "read_only": True, "options": ["rshared"]}),
    ("type=bind,src=/,dst=/b,ro=false", {"kind": "bind", "source": "/", "target": "/b"}),
    ("type=bind,src=/new,dst=/b,bind-create-src,bind-recursive=disabled",
     {"kind": "bind", "source": "/new", "target": "/b", "create": True, "options": ["bind"]}),
    ("src=data,dst=/x,volume-nocopy,volume-subpath=a/b",
     {"kind": "volume", "source": "data", "target": "/x", "nocopy": True, "subpath": "a/b"}),
    ("dst=/x", {"kind": "volume", "source": "", "target": "/x", "anonymous": True}),
    ("type=volume,src=data,dst=/x,volume-driver=local,volume-opt=type=tmpfs,\"volume-opt=o=size=1m,uid=5\","
     "volume-label=a=b", {"kind": "volume", "source": "data", "target": "/x", "driver": "local", "labels": {"a": "b"},
                          "driver_options": {"type": "tmpfs", "o": "size=1m,uid=5"}}),
    ("type=tmpfs,dst=/x,tmpfs-size=2m,tmpfs-mode=0700",
     {"kind": "tmpfs", "target": "/x", "options": ["noexec", "nosuid", "nodev", "size=2097152", "mode=0700"]}),
    ("type=tmpfs,dst=/x", {"kind": "tmpfs", "target": "/x",
                           "options": ["noexec", "nosuid", "nodev", "mode=1777"]}),
])
def test_mount_flag(text: str, mount: dict[str, Any]) -> None:
    (found,) = settings("--mount", text).mounts
    assert found == MountPoint(**mount)


@pytest.mark.parametrize(("text", "ports"), [
    ("80", [port("", 0, 0, 80)]),
    ("8080:80", [port("", 8080, 0, 80)]),
    ("127.0.0.1:8080:80/udp", [port("127.0.0.1", 8080, 0, 80, "udp")]),
    ("127.0.0.1::80", [port("127.0.0.1", 0, 0, 80)]),
    ("[::1]:8080:80", [port("::1", 8080, 0, 80)]),
    ("8000-8002:80-82/TCP", [port("", 8000, 0, 80), port("", 8001, 0, 81), port("", 8002, 0, 82)]),
    ("8000-8010:80", [port("", 8000, 8010, 80)]),
    ("80-81", [port("", 0, 0, 80), port("", 0, 0, 81)]),
    ("80:80/sctp", [port("", 80, 0, 80, "sctp")]),
])
def test_published_ports(text: str, ports: list[PublishedPort]) -> None:
    assert settings("-p", text).publish == tuple(ports)
    assert settings(f"-p{text}").publish == tuple(ports)


def test_networks() -> None:
    found = settings("--network", "front", "--network", "name=back,ip=10.1.2.3,alias=db,alias=sql", "--ip", "10.0.0.9",
                     "--network-alias", "web", "--mac-address", "02-42-AC-11-00-02", "--expose", "80-81",
                     "--expose", "53/udp", "--add-host", "a:10.0.0.1", "--add-host", "b=host-gateway", "--dns", "::1",
                     "--net", "third")
    assert found.networks == (
        NetworkAttachment(name="front", ip="10.0.0.9", mac="02:42:ac:11:00:02", aliases=["web"]),
        NetworkAttachment(name="back", ip="10.1.2.3", aliases=["db", "sql"]), NetworkAttachment(name="third"))
    assert found.expose == ("80/tcp", "81/tcp", "53/udp")
    assert found.hosts == ("a:10.0.0.1", "b:host-gateway") and found.dns == ("::1",)
    assert settings("--ip", "10.0.0.9").networks[0].name == "bridge"


def test_life() -> None:
    found = settings("--restart", "on-failure:3", "--log-driver", "json-file", "--log-opt", "max-size=10m", "--log-opt",
                     "max-file=3", "--health-cmd", "true", "--health-interval", "1m30s", "--health-timeout", "500ms",
                     "--health-retries", "2", "--stop-timeout", "3", "--stop-signal", "INT")
    assert found.restart == RestartPolicy(name="on-failure", limit=3)
    assert found.logging == LogSettings(max_size=10 << 20, max_files=3)
    assert found.health == HealthCheck(test=["CMD-SHELL", "true"], interval=90.0, timeout=0.5, retries=2)
    assert (found.stop_timeout, found.stop_signal) == (3, "INT")
    assert settings("--log-driver", "none").logging.driver == "none"


def test_a_health_check_of_image_and_flags() -> None:
    from pyruntime.pocker.containers.health import completed

    image = {"Test": ["CMD", "check"], "Interval": 5_000_000_000, "Retries": 7}
    nothing, never = HealthCheck(), HealthCheck(test=["NONE"])
    assert completed(nothing, image) == HealthCheck(test=["CMD", "check"], interval=5.0, timeout=30.0,
                                                    start_interval=5.0, retries=7)
    assert completed(HealthCheck(interval=1.0), image).interval == 1.0
    assert completed(never, image) == nothing and completed(HealthCheck(interval=1.0), None) == nothing
    assert completed(nothing, {"Test": ["NONE"]}) == nothing


def test_short_flags_with_their_values() -> None:
    found = settings("-itu1000:5", "-w/tmp", "-eA=b=c", "-hbox", "-m64m", "-c=512")
    assert found.terminal and found.stdin and found.user == "1000:5" and found.workdir == "/tmp"
    assert found.env == ("A=b=c",) and found.hostname == "box" and found.resources.cpu_shares == 512


def test_entrypoint_and_words_after_the_image() -> None:
    found = settings_of(parse(RUN, ["--entrypoint", "/x", "image", "-a", "--b"]))
    assert found.entrypoint == ("/x",) and found.args == ("-a", "--b")
    assert settings("--entrypoint", "").entrypoint == () and settings().entrypoint is None


def test_settings_are_the_same_after_writing_and_reading() -> None:
    from pyruntime.system.json import decode, encode

    found = settings(
        "-p", "80:80", "-p", "8000-8010:81/udp", "-v", "a1:/x:ro,nocopy", "--tmpfs", "/t", "-v", "/anonymous",
        "-m", "64m", "--health-cmd", "x", "--health-interval", "3s", "--cap-add", "net_admin",
        "--restart", "on-failure:3", "--log-opt", "max-size=1m", "--log-opt", "env=A,B",
        "--network", "name=a,ip=10.0.0.1,alias=b", "--ulimit", "nofile=1:2",
        "--security-opt", "no-new-privileges", "--security-opt", "mask=/a:/b", "--device", "/dev/null:/dev/x:r",
        "--device", "/dev/zero", "--gpus", "all", "--volumes-from", "other:ro", "--cpus", "0.5", "--sysctl", "a=b")
    stored = decode(encode(found.document()).encode(), "x")
    assert isinstance(stored, dict)
    again = ContainerSettings.of(stored)
    assert again == found and again.cap_add == ("CAP_NET_ADMIN",)


@pytest.mark.parametrize(("text", "names"), [
    ("all", ["nvidia.com/gpu=all"]), ("2", ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
    ('"device=0,GPU-7"', ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-7"])])
def test_gpus_are_cdi_names(text: str, names: list[str]) -> None:
    assert settings("--gpus", text).devices == tuple(DeviceRequest(cdi=name) for name in names)
