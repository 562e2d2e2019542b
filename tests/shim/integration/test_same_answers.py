"""The same requests to our shim and to containerd's own with runc: the same answers, errors and events.

Of an error, the code and the words that clients look for are compared; the rest of the text is the runtime's.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from pyruntime.shim import messages
from pyruntime.shim.protobuf import TEXT, UNSIGNED, Table
from tests.clients import builds
from tests.clients.conftest import VERSIONS
from tests.shim.client import Container, Machine, Reader, ShimError, until

pytestmark = pytest.mark.timeout(120)
_WORDS = ("container not created", "process does not exist", "process already finished", "no such file or directory",
          "executable file not found in $PATH", "permission denied", "cannot start a running process",
          "cannot start a stopped process", "cannot delete a running process", "cannot delete a paused process",
          "cannot exec in a stopped state", "cannot exec in a paused state",
          "cannot pause", "cannot resume", "cannot update", "cannot checkpoint", "STDIO scheme")
_CODES = {5: "not found"}   # other codes tell clients nothing: containerd's shim answers "unknown"
_PARAMETERS = Table(instance_id=(1, TEXT), namespace=(2, TEXT), ttrpc=(5, TEXT), grpc=(6, TEXT), binary=(7, TEXT))
_RESULT = Table(version=(1, UNSIGNED), address=(2, TEXT))
_PROCESS = "types.containerd.io/opencontainers/runtime-spec/1/Process"
_RESOURCES = {"type_url": "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources", "value": b"{}"}


class Current(Machine):
    """containerd's own shim of 2.3 and later."""

    def words(self, task: str, bundle: Path) -> list[str]:
        return [self.shim, "-namespace", self.namespace, "-address", "/run/none", "-id", task]

    def start(self, task: str, bundle: Path, request: bytes = b"") -> str:
        assert not request
        return super().start(task, bundle, _PARAMETERS.encode({
            "instance_id": task, "namespace": self.namespace, "ttrpc": str(self.sink.path), "grpc": "/run/none",
            "binary": "/bin/true"}))

    def address(self, answer: bytes) -> str:
        address: str = _RESULT.decode(answer)["address"]
        return address


class Debian(Machine):
    """containerd's own shim of 1.6."""

    def words(self, task: str, bundle: Path) -> list[str]:
        return [self.shim, "-namespace", self.namespace, "-address", "/run/none", "-publish-binary", "/bin/true",
                "-id", task]


class Recorded:
    """A container, and what its shim has answered."""

    def __init__(self, machine: Machine, name: str, *args: str, **options: Any) -> None:
        (machine.path / name).mkdir()
        os.mkfifo(machine.path / name / "log")
        self._log = os.open(machine.path / name / "log", os.O_RDWR)   # as containerd does
        self.container = Container(machine, name, *args, **options)
        self.machine = machine
        if isinstance(machine, Current):
            self.container.client.service = "containerd.task.v3.Task"
        self.facts: list[Any] = []

    def call(self, method: str, *, shown: Callable[[dict[str, Any]], Any] = lambda fields: None, **fields: Any) -> None:
        what: Any
        try:
            what = shown(self.container.client.call(method, **{"id": self.container.name, **fields}))
        except ShimError as error:
            what = _CODES.get(error.code, "refused"), *(word for word in _WORDS if word in str(error))
        self.facts.append((method, fields.get("exec_id", ""), what))

    def state(self, exec_id: str = "") -> None:
        self.call("State", exec_id=exec_id, shown=lambda fields: (
            fields["id"], fields["status"], fields["exit_status"] if fields["pid"] else 0, bool(fields["pid"])))

    def create(self, **fields: Any) -> None:
        bundle = self.container.bundle
        self.err = Reader(bundle / "err")
        mount = {"type": "bind", "source": str(self.machine.path / "image"), "options": ["rbind", "rw"]}
        self.call("Create", bundle=str(bundle), **{
            "rootfs": [mount], "stdout": self.container.out.path, "stderr": self.err.path, **fields})

    def exec(self, exec_id: str, *args: str, **changes: Any) -> None:
        process = {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, **changes}
        number = len(self.facts)
        out, err = (Reader(self.container.bundle / f"{name}-{exec_id}-{number}") for name in ("out", "err"))
        self.call("Exec", exec_id=exec_id, stdout=out.path, stderr=err.path, spec={
            "type_url": _PROCESS, "value": json.dumps(process).encode()})

    def end(self) -> list[Any]:
        name, sink = self.container.name, self.machine.sink
        self.call("Kill", signal=9)
        self.call("Wait", shown=lambda fields: fields["exit_status"])
        self.call("Delete", shown=lambda fields: fields["exit_status"])
        if "create" in sink.of(name):
            until(lambda: {"exit", "delete"} <= set(sink.of(name)))
        self.facts.append(sorted(sink.of(name)))   # containerd's shim may send `exit` after `delete`
        with contextlib.suppress(ConnectionResetError):   # containerd's may end before it answers
            self.container.client.call("Shutdown", id=name)
        self.facts.append(self.machine.mounts(self.container.bundle))
        os.close(self._log)
        return self.facts


@pytest.fixture(scope="module", params=VERSIONS)
def machines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
             ) -> Iterator[tuple[Machine, Machine]]:
    """Ours, and containerd's."""
    current = request.param == "current"
    if current and (reason := builds.why_not()):
        pytest.skip(reason)
    paths = [tmp_path_factory.mktemp(name) for name in ("ours", "theirs")]
    for path in paths:
        busybox_rootfs(path / "image")
    kind, directory = (Current, builds.containerd()) if current else (Debian, Path("/usr/bin"))
    ours = Machine(paths[0])
    theirs = kind(paths[1], str(directory / "containerd-shim-runc-v2"), "-theirs")
    yield ours, theirs
    for machine in (ours, theirs):
        machine.close()


def _requests(exec_id: str = "") -> list[tuple[str, dict[str, Any]]]:
    of_all: list[tuple[str, dict[str, Any]]] = [
        ("State", {}), ("Start", {}), ("Kill", {"signal": 9}), ("Delete", {}), ("Wait", {}), ("CloseIO", {})]
    if exec_id:
        return [(method, {**fields, "exec_id": exec_id}) for method, fields in of_all if method != "CloseIO"]
    return [*of_all, ("Pids", {}), ("Stats", {}), ("Pause", {}), ("Resume", {}), ("Update", {"resources": _RESOURCES}),
            ("ResizePty", {}), ("Checkpoint", {}), ("Connect", {}), ("Exec", {
                "exec_id": "e", "spec": {"type_url": _PROCESS, "value": b"{}"}})]


def _nothing_yet(machine: Machine) -> list[Any]:
    it = Recorded(machine, "nothing", "true")
    for method, fields in _requests():
        it.call(method, **fields)
    return it.end()


def _created(machine: Machine) -> list[Any]:
    it = Recorded(machine, "created", "sleep", "100")
    it.create()
    it.state()
    it.call("Pids", shown=lambda fields: len(fields["processes"]))
    it.call("Connect", shown=lambda fields: (bool(fields["shim_pid"]), bool(fields["task_pid"])))
    for method, fields in _requests("no"):
        it.call(method, **fields)
    for method in ("Pause", "Resume", "ResizePty"):
        it.call(method)
    it.call("CloseIO", stdin=True)
    it.exec("one", "true")
    it.state("one")
    it.call("Start", exec_id="one")
    it.call("Wait", exec_id="one", shown=lambda fields: fields["exit_status"])
    it.call("Delete", exec_id="one", shown=lambda fields: fields["exit_status"])
    it.state()
    it.call("Start")
    it.call("Start")
    it.state()
    return it.end()


def _killed_before_start(machine: Machine) -> list[Any]:
    it = Recorded(machine, "early", "sleep", "100")
    it.create()
    it.call("Kill", signal=9)
    it.call("Wait", shown=lambda fields: fields["exit_status"])
    it.state()
    it.call("Start")
    return it.end()


def _ended(machine: Machine) -> list[Any]:
    it = Recorded(machine, "ended", "sh", "-c", "exit 7")
    it.create()
    it.call("Start")
    it.call("Wait", shown=lambda fields: (fields["exit_status"], bool(fields["exited_at"]["seconds"])))
    it.state()
    for method, fields in _requests():
        if method not in ("Delete", "Stats"):   # of a cgroup without processes: only containerd's shim has them
            it.call(method, **fields)
    it.call("Kill", signal=9, all=True)
    it.call("Pids", shown=lambda fields: fields["processes"])
    it.call("Delete", shown=lambda fields: fields["exit_status"])
    it.call("Wait")
    it.call("Delete")
    return it.end()


def _running(machine: Machine) -> list[Any]:
    it = Recorded(machine, "running", "sleep", "100")
    it.create()
    it.call("Start")
    signals: list[tuple[str, dict[str, Any]]] = [("Kill", {"signal": number}) for number in (0, 99, 28)]
    for method, fields in (("Start", {}), ("Delete", {}), *signals, ("Resume", {}), ("Pause", {}), ("Pause", {}),
                           ("Delete", {}), *signals):
        it.call(method, **fields)
    it.state()
    it.exec("paused", "true")
    others: list[tuple[str, dict[str, Any]]] = [
        ("Resume", {}), ("Update", {"resources": _RESOURCES}), ("State", {"id": "other"}),
        ("Kill", {"id": "other", "signal": 9})]
    for method, fields in others:
        it.call(method, **fields)
    it.state()
    return it.end()


def _execs(machine: Machine) -> list[Any]:
    it = Recorded(machine, "execs", "sleep", "100")
    it.create()
    it.call("Start")
    it.exec("a", "sh", "-c", "exit 3")
    it.state("a")
    it.call("Start", exec_id="a")
    it.call("Wait", exec_id="a", shown=lambda fields: fields["exit_status"])
    it.state("a")
    for method, fields in (("Kill", {"signal": 9}), ("Start", {}), ("CloseIO", {"stdin": True})):
        it.call(method, exec_id="a", **fields)
    it.call("Delete", exec_id="a", shown=lambda fields: (bool(fields["pid"]), fields["exit_status"]))
    for method, fields in _requests("a"):
        it.call(method, **fields)
    it.exec("b", "sleep", "50")
    it.call("Start", exec_id="b")
    it.call("Delete", exec_id="b")
    it.call("Pids", shown=lambda fields: sorted(
        (entry["info"] or {}).get("value", b"") for entry in fields["processes"]))
    it.call("Pause")
    it.state("b")
    it.call("Resume")
    it.call("Kill", exec_id="b", signal=15)
    it.call("Wait", exec_id="b", shown=lambda fields: fields["exit_status"])
    it.call("Delete", exec_id="b")
    it.exec("left", "sleep", "50")
    it.call("Start", exec_id="left")
    it.exec("late", "true")
    it.call("Kill", signal=9)
    it.call("Wait", shown=lambda fields: fields["exit_status"])
    it.state("left")
    it.call("Start", exec_id="late")
    it.exec("too-late", "true")
    return it.end()


def _execs_that_fail(machine: Machine) -> list[Any]:
    it = Recorded(machine, "failing", "sleep", "100")
    it.create()
    it.call("Start")
    for number, (args, changes) in enumerate([
            (["nosuch"], {}), (["/etc/passwd"], {}), (["/nosuch/x"], {}), (["true"], {"cwd": "/nosuch"}),
            ([], {}), (["true"], {"cwd": "relative"})]):
        it.exec(f"n{number}", *args, **changes)
        it.call("Start", exec_id=f"n{number}")
        it.call("Wait", exec_id=f"n{number}")   # returns
        it.call("Delete", exec_id=f"n{number}")
    return it.end()


def _creates_that_fail(machine: Machine) -> list[Any]:
    facts: list[Any] = []
    cases: list[tuple[list[str], dict[str, Any]]] = [
        (["nosuch"], {}), (["/etc/passwd"], {}), (["/no/such"], {}), ([], {}),
        (["true"], {"rootfs": [{"type": "ext4", "source": "/nosuch"}]}), (["true"], {"stdout": "/nosuch/fifo"}),
        (["true"], {"stdout": "strange://x"})]
    for number, (args, fields) in enumerate(cases):
        it = Recorded(machine, f"not-{number}", *args)
        it.create(**fields)
        for method in ("State", "Start", "Delete"):
            it.call(method)
        facts += it.end()
    return facts


def _pty(machine: Machine) -> list[Any]:
    it = Recorded(machine, "pty", "sh", "-c", "stty size; read line; stty size; echo $line; exit 4", terminal=True)
    os.mkfifo(it.container.bundle / "in")
    it.create(terminal=True, stdin=str(it.container.bundle / "in"), stderr="")
    it.call("ResizePty", width=91, height=17)
    it.call("Start")
    until(lambda: b"17 91\r\n" in it.container.out.data)
    it.call("ResizePty", width=80, height=25)
    with (it.container.bundle / "in").open("wb", buffering=0) as file:
        file.write(b"typed\n")
        it.call("Wait", shown=lambda fields: fields["exit_status"])
    facts = it.end()
    return [*facts, it.container.out.all()]


@pytest.mark.parametrize("scenario", [
    _nothing_yet, _created, _killed_before_start, _ended, _running, _execs, _execs_that_fail, _creates_that_fail,
    _pty], ids=lambda function: function.__name__.lstrip("_"))
def test_the_same_answers(machines: tuple[Machine, Machine], scenario: Callable[[Machine], list[Any]]) -> None:
    ours, theirs = map(scenario, machines)
    assert [str(fact) for fact in ours] == [str(fact) for fact in theirs]


def test_the_tables_know_these_methods() -> None:
    assert {method for method, _ in _requests()} < set(messages.METHODS)
