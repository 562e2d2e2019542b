"""Health checks: a command in the container whose exit status says whether the container is healthy.

The monitor starts a check when it is due (pyruntime/native/monitor/monitor.c); the result is written to health.json in
the container's directory. The rules are Docker's: exit status 0 is healthy; after ``retries`` consecutive failures the
container is unhealthy; failures in the start period do not count until the first success.
"""

from __future__ import annotations

import os
import select
import time

from pyruntime.errors import PyruntimeError, RecordError, StateError
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.status import RUNNING, status_of
from pyruntime.pocker.settings import HealthCheck
from pyruntime.runtime.api import Runtime
from pyruntime.system import files
from pyruntime.system.processes import start_time
from pyruntime.system.records import Record
from pyruntime.system.times import parse, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyruntime.pocker.containers.container import Container, ContainerRecord, ContainerRun

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_KEPT = 5             # results
_OUTPUT = 4096        # bytes of output of each result
_LONGEST = 2e6        # seconds, 23 days: poll(2) cannot wait for more than 2^31 milliseconds
_FILE = 1 << 20       # bytes of health.json
_SHELL = ["/bin/sh", "-c"]


_DEFAULTS = {"interval": 30.0, "timeout": 30.0, "start_period": 0.0, "start_interval": 5.0, "retries": 3}


def completed(asked: HealthCheck, image: Mapping[str, Any] | None) -> HealthCheck:
    """The health check as it is run: the settings' fields, else those of the image's ``Healthcheck``, else
    Docker's defaults; an empty one if there is no check. The image's times are nanoseconds, and 0 if not set."""
    image = image or {}
    test = asked.test or image.get("Test") or ()
    if not test or test[0] == "NONE":
        return HealthCheck()
    declared = {name: max(0, image.get(member) or 0) / 1e9 for name, member in (
        ("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"))}
    declared["retries"] = max(0, image.get("Retries") or 0)
    return HealthCheck(test=list(test), **{name: getattr(asked, name) or declared[name] or default   # type: ignore[arg-type]
                                           for name, default in _DEFAULTS.items()})


class Health(Record):
    """The health of a run.

    ``status``   starting, healthy or unhealthy
    ``streak``   consecutive failures
    ``log``      the last results: Start, End, ExitCode (-1: timeout), Output
    ``probe``    process ID and start time of the running check
    """

    FIELDS = ("started", "status", "streak", "log", "probe")

    def __init__(self, **values: Any) -> None:
        self.started: str = ""
        self.status: str = STARTING
        self.streak: int = 0
        self.log: list[dict[str, Any]] = []
        self.probe: list[int] = [0, 0]
        self._set(values)

    def shown(self) -> dict[str, Any]:
        """The form in `inspect`."""
        return {"Status": self.status, "FailingStreak": self.streak, "Log": self.log}


def health_of(container: Container, record: ContainerRecord, run: ContainerRun) -> Health | None:
    """The health of the current or last run; None without a health check."""
    if not record.settings.health.test:
        return None
    path = f"{container.directory}/health.json"
    try:
        found = Health.parse(files.read(path, _FILE), path, "remove this file")
    except FileNotFoundError:
        found = Health()
    except RecordError as error:
        if error.unknown:
            raise
        found = Health()   # cut off by a power failure: the next check writes it again
    return found if found.started == run.started else Health(started=run.started)


def check(container: Container) -> bool:
    """Run a check and write its result; whether it succeeded. Does nothing for a container that is not running, or is
    paused. Raises NoSuchContainer."""
    record, status = container.read(), status_of(container)
    found = health_of(container, record, status.run)
    if status.word != RUNNING or found is None:
        return False
    _kill(found.probe)   # of a check that was killed
    begun = timestamp()
    try:
        code, output = _probe(container, record, found)
    except StateError:
        return False   # it has just exited, or was paused
    except PyruntimeError as error:   # the command is not found, for example
        code, output = 127, str(error)
    if container.run().started != found.started or container.exit() is not None:
        return False   # killed with its container, which is not a failure of the check
    was = found.status
    _note(record, found, code, (parse(begun) - parse(found.started)) / 10**9)
    found.log = [*found.log, {"Start": begun, "End": timestamp(), "ExitCode": code, "Output": output}][-_KEPT:]
    found.probe = [0, 0]
    container.put("health.json", found.encoded())
    if found.status != was:
        history.of_container(container.places, record, f"health_status: {found.status}")
    return code == 0


def _note(record: ContainerRecord, found: Health, code: int, age: float) -> None:
    """Apply a result to the status."""
    settings = record.settings.health
    if code == 0:
        found.status, found.streak = HEALTHY, 0
    elif found.status != STARTING or age >= settings.start_period:
        found.streak += 1
        if found.streak >= settings.retries:
            found.status = UNHEALTHY


def _command(record: ContainerRecord, test: Sequence[str]) -> list[str]:
    if test[0] == "CMD":
        return list(test[1:])
    return [*(record.image_config.get("Shell") or _SHELL), *test[1:]] if test[0] == "CMD-SHELL" else list(test)


def _probe(container: Container, record: ContainerRecord, found: Health) -> tuple[int, str]:
    """Run the command: its exit status, -1 after a timeout, and the beginning of its output."""
    settings = record.settings.health
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(writer, True)
    kept = [os.dup(fd) for fd in (1, 2)]
    try:
        for fd in (1, 2):
            os.dup2(writer, fd)
        try:
            pid = Runtime(container.places.runtime).exec(container.id, _command(record, settings.test), detach=True)
        finally:
            for fd, old in zip((1, 2), kept, strict=True):
                os.dup2(old, fd)
        found.probe = [pid, start_time(pid)]
        container.put("health.json", found.encoded())
        os.close(writer)
        writer = -1
        return _result(pid, reader, settings.timeout)
    finally:
        for fd in (reader, writer, *kept):
            if fd >= 0:
                os.close(fd)


def _result(pid: int, reader: int, timeout: float) -> tuple[int, str]:
    """Wait for the command, but not for processes that it leaves behind, which may hold its output."""
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
                _read(reader, output)   # the rest of the pipe
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                return status if status >= 0 else 128 - status, _text(output)
        _kill([pid, start_time(pid)])
        os.waitpid(pid, 0)
        return -1, f"Health check exceeded timeout ({timeout:g}s)" + (f": {_text(output)}" if output else "")
    finally:
        os.close(pidfd)


def _read(reader: int, output: bytearray) -> bool:
    """Read the available data; False at the end, or without data."""
    try:
        data = os.read(reader, 1 << 16)
    except BlockingIOError:
        return False
    output += data[:max(0, _OUTPUT + 1 - len(output))]
    return bool(data)


def _text(output: bytearray) -> str:
    return output[:_OUTPUT].decode("utf-8", "replace") + ("..." if len(output) > _OUTPUT else "")


def _kill(probe: list[int]) -> None:
    """Kill a check and its processes, which are a session of their own."""
    pid, started = probe
    if started and start_time(pid) == started:
        try:
            os.killpg(pid, 9)
        except ProcessLookupError:
            return   # it has ended this very moment
