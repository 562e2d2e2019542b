"""Health checks: a program in the container that says by its exit status whether the container does what it is for.

The monitor calls for a check when one is due (pyruntime/native/monitor/monitor.c); what came of it is written to
health.json in the container's directory. The rules are Docker's: 0 is healthy; after ``retries`` failures in a row it
is unhealthy; failures within the start period do not count until it has been healthy once.
"""

from __future__ import annotations

import os
import select
import time

from pyruntime.errors import PyruntimeError, StateError
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.status import RUNNING, status_of
from pyruntime.runtime.api import Runtime
from pyruntime.system import files
from pyruntime.system.json import decode, encode
from pyruntime.system.processes import start_time
from pyruntime.system.times import parse, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container, Record, Run

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_KEPT = 5             # results
_OUTPUT = 4096        # bytes of output of each
_LONGEST = 2e6        # seconds, 23 days: poll(2) cannot wait for more than 2^31 milliseconds
_FILE = 1 << 20       # bytes of health.json, which we have written
_SHELL = ["/bin/sh", "-c"]


class Health:
    """How a run of a container is.

    ``status``   starting, healthy or unhealthy
    ``streak``   failures in a row
    ``log``      the last results: Start, End, ExitCode (-1: it took too long), Output
    ``probe``    pid and start time of the check that is under way
    """

    FIELDS = ("started", "status", "streak", "log", "probe")

    def __init__(self, **values: Any) -> None:
        self.started: str = ""
        self.status: str = STARTING
        self.streak: int = 0
        self.log: list[dict[str, Any]] = []
        self.probe: list[int] = [0, 0]
        for name, value in values.items():
            setattr(self, name, value)

    def document(self) -> dict[str, Any]:
        """As `inspect` shows it."""
        return {"Status": self.status, "FailingStreak": self.streak, "Log": self.log}


def health_of(container: Container, record: Record, run: Run) -> Health | None:
    """How it is, or was at the end of its last run; None for one that is not checked."""
    if not record.settings.health.get("test"):
        return None
    path = f"{container.directory}/health.json"
    try:
        value = decode(files.read(path, _FILE), path)
    except FileNotFoundError:
        value = {}
    found = Health(**value) if isinstance(value, dict) else Health()
    return found if found.started == run.started else Health(started=run.started)


def check(container: Container) -> bool:
    """Carry out a check and write down what came of it; whether it was passed. Nothing happens to a container that does
    not run, or is paused. Raises NoSuchContainer."""
    record, status = container.read(), status_of(container)
    found = health_of(container, record, status.run)
    if status.word != RUNNING or found is None:
        return False
    _kill(found.probe)   # of a check that was killed
    begun = timestamp()
    try:
        code, output = _probe(container, record, found)
    except StateError:
        return False   # it has ended, or was paused, this very moment
    except PyruntimeError as error:   # no such program, for example
        code, output = 127, str(error)
    if container.run().started != found.started or container.exit() is not None:
        return False   # it was killed with its container, which is no failure of the check
    was = found.status
    _note(record, found, code, (parse(begun) - parse(found.started)) / 10**9)
    found.log = [*found.log, {"Start": begun, "End": timestamp(), "ExitCode": code, "Output": output}][-_KEPT:]
    found.probe = [0, 0]
    container.put("health.json", encode({name: getattr(found, name) for name in Health.FIELDS}))
    if found.status != was:
        history.of_container(container.places, record, f"health_status: {found.status}")
    return code == 0


def _note(record: Record, found: Health, code: int, age: float) -> None:
    """What a result means."""
    settings = record.settings.health
    if code == 0:
        found.status, found.streak = HEALTHY, 0
    elif found.status != STARTING or age >= settings["start_period"]:
        found.streak += 1
        if found.streak >= settings["retries"]:
            found.status = UNHEALTHY


def _command(record: Record, test: list[str]) -> list[str]:
    if test[0] == "CMD":
        return test[1:]
    return [*(record.image_config.get("Shell") or _SHELL), *test[1:]] if test[0] == "CMD-SHELL" else test


def _probe(container: Container, record: Record, found: Health) -> tuple[int, str]:
    """Run the program: its exit status, -1 where it took too long, and the beginning of its output."""
    settings = record.settings.health
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(writer, True)
    kept = [os.dup(fd) for fd in (1, 2)]
    try:
        for fd in (1, 2):
            os.dup2(writer, fd)
        try:
            pid = Runtime(container.places.runtime).exec(container.id, _command(record, settings["test"]), detach=True)
        finally:
            for fd, old in zip((1, 2), kept, strict=True):
                os.dup2(old, fd)
        found.probe = [pid, start_time(pid)]
        container.put("health.json", encode({name: getattr(found, name) for name in Health.FIELDS}))
        os.close(writer)
        writer = -1
        return _result(pid, reader, settings["timeout"])
    finally:
        for fd in (reader, writer, *kept):
            if fd >= 0:
                os.close(fd)


def _result(pid: int, reader: int, timeout: float) -> tuple[int, str]:
    """Wait for the program: what it leaves running may hold its output, and is not waited for."""
    output = bytearray()
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(reader, select.POLLIN)
        due = time.monotonic() + timeout
        while (left := due - time.monotonic()) > 0:
            ready = {fd for fd, _ in poll.poll(min(left, _LONGEST) * 1000)}
            if reader in ready and not _read(reader, output):
                poll.unregister(reader)
            if pidfd in ready:
                _read(reader, output)   # all that a pipe can hold
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                return status if status >= 0 else 128 - status, _text(output)
        _kill([pid, start_time(pid)])
        os.waitpid(pid, 0)
        return -1, f"Health check exceeded timeout ({timeout:g}s)" + (f": {_text(output)}" if output else "")
    finally:
        os.close(pidfd)


def _read(reader: int, output: bytearray) -> bool:
    """Read what is there; False at the end, and where there is nothing now."""
    try:
        data = os.read(reader, 1 << 16)
    except BlockingIOError:
        return False
    output += data[:max(0, _OUTPUT + 1 - len(output))]
    return bool(data)


def _text(output: bytearray) -> str:
    return output[:_OUTPUT].decode("utf-8", "replace") + ("..." if len(output) > _OUTPUT else "")


def _kill(probe: list[int]) -> None:
    """Kill a check with all that it has started: it has a session of its own."""
    pid, started = probe
    if started and start_time(pid) == started:
        try:
            os.killpg(pid, 9)
        except ProcessLookupError:
            return   # it has ended this very moment
