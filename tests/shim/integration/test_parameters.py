"""What `start` reads from standard input, and the options of Create."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from pyruntime.shim import messages
from pyruntime.shim.protobuf import SIGNED, TEXT, Many, Table
from tests.clients.room import hierarchies
from tests.shim.client import Container, Machine, ShimError, ran, until

pytestmark = pytest.mark.timeout(120)
_PARAMETERS = Table(instance_id=(1, TEXT), namespace=(2, TEXT), log_level=(3, SIGNED), version=(4, TEXT),
                    extensions=(8, Many(Table(any=(1, messages.ANY)))), socket_dir=(9, TEXT))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    path = tmp_path_factory.mktemp("parameters")
    busybox_rootfs(path / "image")
    made = Machine(path)
    yield made
    made.close()


def runc_options(**fields: Any) -> dict[str, Any]:
    return {"type_url": f"type.googleapis.com/{messages.OPTIONS_TYPE}", "value": messages.OPTIONS.encode(fields)}


def toml(text: str) -> dict[str, Any]:
    return {"type_url": messages.TOML_TYPE, "value": messages.TOML_OPTIONS.encode({"config_body": text.encode()})}


def lived(container: Container, options: dict[str, Any] | None = None) -> None:
    container.create(options=options)
    container.call("Start")
    assert container.call("Wait")["exit_status"] == 3
    container.remove()


def cgroups_of(machine: Machine, pid: int) -> list[str]:
    return [line.split(":", 2)[2] for line in machine.room.ok("cat", f"/proc/{pid}/cgroup").splitlines()]


@pytest.mark.parametrize("form", ["any", "toml", "bootstrap"])
def test_shim_cgroup(machine: Machine, form: str) -> None:
    """The monitor is in the cgroup, in every hierarchy that has it; the server that it starts is not."""
    machine.kill_server()
    name = f"{machine.namespace}/shim-{form}"
    made = [top / name for top in hierarchies() if os.access(top, os.W_OK) and "cpuset" not in str(top)]
    for directory in made:
        directory.mkdir(parents=True)
    options = toml(f'ShimCgroup = "/{name}"\n') if form == "toml" else runc_options(shim_cgroup=f"/{name}")
    request = messages.ANY.encode(options) if form != "bootstrap" else _PARAMETERS.encode({
        "instance_id": form, "namespace": machine.namespace, "log_level": -4, "version": "2.4.2",
        "extensions": [{"any": options}]})
    container = Container(machine, form, "sh", "-c", "exit 3", request=request)
    monitor = container.call("Connect")["shim_pid"]
    assert cgroups_of(machine, monitor).count(f"/{name}") == len(made)
    assert f"/{name}" not in cgroups_of(machine, machine.servers()[0])
    lived(container, options)
    until(lambda: all(not (directory / "cgroup.procs").read_text() for directory in made))
    for directory in made:
        directory.rmdir()


def test_a_shim_cgroup_that_does_not_exist(machine: Machine) -> None:
    (machine.path / "lost").mkdir()
    done = ran(machine.room.words(*machine.words("lost", machine.path / "lost"), "start"),
               input=messages.ANY.encode(runc_options(shim_cgroup="/no/such/cgroup")), env=machine.environment)
    assert done.returncode == 1 and b"/no/such/cgroup: No such file" in done.stderr
    assert not os.listdir(machine.path / "lost")


def test_the_directory_of_sockets(machine: Machine) -> None:
    request = _PARAMETERS.encode({"instance_id": "elsewhere", "namespace": machine.namespace,
                                  "socket_dir": "/run/elsewhere"})
    container = Container(machine, "elsewhere", "sh", "-c", "exit 3", request=request)
    assert container.path.startswith(machine.room.seen("/run/elsewhere/"))
    lived(container)


@pytest.mark.parametrize(("option", "choice", "servers"), [
    ("Server", "namespace", 1), ("Server", "pod", 2), ("server", "container", 3)])
def test_whose_server(machine: Machine, option: str, choice: str, servers: int) -> None:
    """One for the namespace, for each pod, or for each container; it ends soon after the last one."""
    machine.kill_server()
    sockets = Path(machine.room.seen("/run/containerd/s"))
    machine.room.ok("mkdir", "-p", "/run/containerd/s")
    before = set(sockets.iterdir())
    options = toml(f'{option} = "{choice}"\n')
    containers = []
    for name, pod in (("a", "one"), ("b", "one"), ("c", "two")):
        containers.append(Container(
            machine, f"{choice}-{name}", "sh", "-c", "exit 3", request=messages.ANY.encode(options),
            edit=functools.partial(dict.update, annotations={"io.kubernetes.cri.sandbox-id": pod})))
    for container in containers:
        container.call("Connect")
    assert len(machine.servers()) == servers
    for container in containers:
        lived(container, options)
    if choice != "namespace":
        until(lambda: machine.servers() == [])
        assert set(sockets.iterdir()) == before   # no lock either


def test_an_unknown_server(machine: Machine) -> None:
    (machine.path / "unknown").mkdir()
    done = ran(machine.room.words(*machine.words("unknown", machine.path / "unknown"), "start"),
               input=messages.ANY.encode(toml('Server = "galaxy"')), env=machine.environment)
    assert done.returncode == 1 and b"Server is not namespace, pod or container" in done.stderr


def test_bytes_that_are_no_message(machine: Machine) -> None:
    """`start` takes what it can read, and never more."""
    chance = random.Random(3)
    whole = _PARAMETERS.encode({
        "instance_id": "fuzz", "namespace": machine.namespace, "log_level": -4,
        "extensions": [{"any": toml('ShimCgroup = "\nServer = "pod\n')},
                       {"any": runc_options(root="/x", io_uid=1 << 31)}]})
    (machine.path / "fuzz").mkdir()
    for turn in range(40):
        data = bytearray(whole)
        for _ in range(chance.randrange(4)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 10, 127, 128, 255, chance.randrange(256)])
        done = ran(machine.room.words(*machine.words("fuzz", machine.path / "fuzz"), "start"),
                   input=bytes(data[:len(data) if turn % 2 else chance.randrange(len(data))]), env=machine.environment)
        assert done.returncode in (0, 1) and bool(done.stdout) == (done.returncode == 0), done
        if done.returncode == 0:
            client = machine.client(machine.room.seen(done.stdout.decode().removeprefix("unix://")))
            client.call("Shutdown", id="fuzz")
            until(lambda: "fuzz" not in machine.monitors())


@pytest.mark.parametrize(("options", "text"), [
    (toml("NoPivot = true"), "unknown option NoPivot; known are BinaryName, CriuImagePath,"),
    (toml("SystemdCgroup = 7"), "write a bool"),
    (toml("a b"), "not TOML"), (runc_options(binary_name="no-runtime"), 'exec: "no-runtime": executable file not found'
                                ' in $PATH'),
    (runc_options(binary_name="/no/runtime"), "no such file or directory"),
    (runc_options(binary_name="sh"), "this shim runs no other runtime")])
def test_options_that_are_wrong(machine: Machine, options: dict[str, Any], text: str) -> None:
    container = Container(machine, f"wrong-{abs(hash(text))}", "true")
    with pytest.raises(ShimError) as refused:
        container.create(options=options)
    assert text in str(refused.value)
    container.call("Shutdown")


def test_root_pivot_and_keyring(machine: Machine, tmp_path: Path) -> None:
    for number, options in enumerate([
            runc_options(root=f"{tmp_path}/root", no_pivot_root=True, no_new_keyring=True, binary_name="pyruntime"),
            toml(f'Root = "{tmp_path}/root"\nNoPivotRoot = true\nNoNewKeyring = true\n'), {
                "type_url": "something.else", "value": b"\xff"}]):
        container = Container(machine, f"rooted-{number}", "sh", "-c", "exit 3")
        container.create(options=options)
        assert (tmp_path / "root" / machine.namespace / container.name).exists() == (number < 2)
        container.call("Start")
        assert container.call("Wait")["exit_status"] == 3
        container.remove()


def test_io_owner(machine: Machine) -> None:
    """The FIFOs belong to the root of the container's user namespace."""
    container = Container(machine, "owner", "sh", "-c", "exit 3")
    container.create(options=runc_options(io_uid=1234, io_gid=4321))
    found = os.stat(container.out.path)
    assert (found.st_uid, found.st_gid) == (1234, 4321)
    container.call("Start")
    container.call("Wait")
    container.remove()


def test_the_oom_score_is_one_more_than_the_parents(machine: Machine) -> None:
    container = Container(machine, "score", "sh", "-c", "exit 3")
    own = int(machine.room.ok("cat", "/proc/self/oom_score_adj"))
    monitor = container.call("Connect")["shim_pid"]
    assert int(machine.room.ok("cat", f"/proc/{monitor}/oom_score_adj")) == min(own + 1, 1000)
    lived(container)
