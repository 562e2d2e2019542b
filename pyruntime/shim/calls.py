"""Requests of the client, and the errors that it is told."""

from __future__ import annotations

import os
from errno import EACCES, ENOENT, ENOTDIR

from pyruntime.errors import ConfigError, ContainerExists, NoSuchContainer, PyruntimeError, StateError, UsageError
from pyruntime.shim.protobuf import Malformed
from pyruntime.shim.task import ADDED, Task, TaskProcess
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# google.rpc.Code, as containerd understands it
UNKNOWN, INVALID, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, UNIMPLEMENTED = 2, 3, 5, 6, 9, 12
_CODES = ((NoSuchContainer, NOT_FOUND), (ContainerExists, ALREADY_EXISTS), (StateError, FAILED_PRECONDITION),
          (UsageError, INVALID))
# Clients look for these words as Go writes them.
_SPELLED = [os.strerror(number) for number in (ENOENT, EACCES, ENOTDIR)]
_CREATED = 2.0      # seconds for a Create in progress; containerd waits as long for the answer to State


class CallError(Exception):
    """An error for the client: a code and a text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def call_error(error: Exception) -> CallError:
    """The error for the client."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, PyruntimeError):
        text = error.sentence
        for libc in _SPELLED:
            text = text.replace(libc, libc.lower())
        return CallError(next((code for kind, code in _CODES if isinstance(error, kind)), UNKNOWN), text)
    if isinstance(error, Malformed):
        return CallError(INVALID, f"malformed request: {error}")
    return CallError(UNKNOWN, f"{type(error).__name__}: {error}")


class Call:
    """A request. ``again``: another server may have begun with it."""

    def __init__(self, task: Task, values: dict[str, Any], *, again: bool) -> None:
        self.task = task
        self.values = values
        self.again = again
        self.started: TaskProcess | None = None   # by this call
        self.deleted: TaskProcess | None = None
        self.last = 0   # 1 if the monitor is to end when the answer is sent, 2: when the client has left after that

    def expect(self) -> None:
        """Called for a repeated Create or Start, before anything else: the process is announced by it. A request for
        another task is refused."""
        process = self.task.processes.get(self.values.get("exec_id", ""))
        if process and self.values["id"] == self.task.id:
            process.expected = True

    def process(self) -> TaskProcess:
        """The process that the request names. Raises CallError."""
        exec_id = self.values.get("exec_id", "")
        self.init()
        process = self.task.processes.get(exec_id)
        if process is None:
            raise CallError(NOT_FOUND, f"process does not exist {exec_id}")
        return process

    def await_create(self, seconds: float = _CREATED) -> bool:
        """Wait for a Create in progress; whether it has ended. A client can see that init has its input before it gets
        the answer to Create: nerdctl then asks for the state, and if there is none, it never closes the input."""
        with self.task.changed:
            return self.task.changed.wait_for(lambda: not self.task.creating, seconds)

    def init(self) -> TaskProcess:
        """The init process. Raises CallError."""
        init = self.task.init
        if init is None or init.phase == ADDED or self.values["id"] != self.task.id:
            raise CallError(NOT_FOUND, "container not created")
        return init


def failed(verb: str, error: BaseException) -> BaseException:
    """The error for the client, with the words in front that clients look for."""
    if isinstance(error, PyruntimeError):
        notes = "".join(f"; and while cleaning up: {note}" for note in getattr(error, "__notes__", ()))
        known = call_error(error)
        return CallError(known.code, f"OCI runtime {verb} failed: {known}{notes}")
    return error


def json_object(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object of a request. Raises CallError."""
    try:
        document = decode(text, name)
    except ConfigError as error:
        raise CallError(INVALID, error.sentence) from None
    if not isinstance(document, dict):
        raise CallError(INVALID, f"{name}: not a JSON object")
    return document
