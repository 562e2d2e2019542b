"""A repeated `exec`, which the front (native/front) carries out without an interpreter.

Health checks and probes start the same process in the same container again and again. The plan of a launch depends on
the request, the container and the host. So Python keeps the plan the first time, as a life plan with one list (in the
state directory: exec.0 to exec.7), and the front carries the plan out for each later request that is the same: the same
words, and the same bytes in the file of --process. Neither --detach nor --pid-file changes the plan.
"""

from __future__ import annotations

import os
from binascii import crc32

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.compiler.setup import NAMESPACES, PROC_NAMES
from pyruntime.runtime.lifecycle.launch import STUB, stub_arguments
from pyruntime.runtime.plan.life import CREATED, LIFE, RUNNING, SLOTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.commandline.parse import Command
    from pyruntime.runtime.compiler.compile import Plan
    from pyruntime.runtime.lifecycle.life import Life
    from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord

# Options that are part of the request. Requests with a terminal, more descriptors or a sub-cgroup are not replayed.
KEPT = ("cwd", "env", "user", "additional-gids", "process-label", "apparmor", "no-new-privs", "cap")
_ASIDE = ("detach", "pid-file", "process")
_LARGEST = 1 << 16   # bytes of a request
_HOST_STEPS = {"cgroup_follow", "report_process"}


def key_of(command: Command, words: Sequence[str]) -> bytes:
    """The words that identify a request; the content of the process file follows them. b"" for a request that is not
    replayed."""
    kept: list[str] = []
    left = list(words)
    while left and left[0].startswith("-"):
        word = left.pop(0)
        name, equals, _ = word.removeprefix("-").removeprefix("-").partition("=")
        flag = command.flag(name)
        if flag is None or flag.name not in KEPT + _ASIDE or (flag.switch and equals):
            return b""
        whole = [word] if flag.switch or equals else [word, *left[:1]]
        del left[:len(whole) - 1]
        if flag.name in KEPT:
            kept += whole
    text = b"".join(os.fsencode(word) + b"\0" for word in (*kept, *left))
    return len(text).to_bytes(4, "little") + text


def keep(container: StateDirectory, record: StateRecord, plan: Plan, encoded: bytes, key: bytes) -> None:
    """Keep the plan of a successful `exec`, unless it has a step that the front does not support."""
    if not _ordinary(plan, key):
        return
    try:
        container.keep_plan(f"exec.{crc32(key) % SLOTS}", _life(container, record, plan, encoded, key))
    except (OSError, PyruntimeError):
        return   # the container was deleted, or the disk is full: the program runs nevertheless


def _ordinary(plan: Plan, key: bytes) -> bool:
    return (0 < len(key) <= _LARGEST and not plan.warnings and set(plan.slots) <= {"init", "root"}
            and all(step.op.name in _HOST_STEPS and not step.tolerate for step in plan.steps if step.op.actor == "host")
            and "PYRUNTIME_FAULT" not in os.environ and os.environ.get("PYRUNTIME_FRONT") != "off")


def _life(container: StateDirectory, record: StateRecord, plan: Plan, encoded: bytes, key: bytes) -> bytes:
    from pyruntime.runtime.lifecycle.life import Life  # lazy: imported by ExecLaunch.meanwhile

    hosts = [item for item in enumerate(plan.steps) if item[1].op.actor == "host"]
    life = Life(record)
    life.head(os.stat(os.path.join(container.directory, "state.json")))
    life.unchanged("exec.json", os.stat(os.path.join(container.directory, "exec.json")))
    life.verb("exec", CREATED | RUNNING)
    life.emit("require_request", key=key)
    for kind in NAMESPACES:
        for pid in ("self", record.pid):
            _require(life, f"/proc/{pid}/ns/{PROC_NAMES.get(kind, kind)}")
    clone = next(number for number, step in enumerate(plan.steps) if step.op.name == "clone_init")
    life.emit("launch", program=STUB, arguments=stub_arguments(3, len(plan.slots)), first=3, plan=encoded,
              slots=plan.slots, clone=clone)
    before = -2
    for number, step in hosts:
        if number != before + 1:
            if before >= 0:
                life.emit("go")
            life.emit("await_sync", index=number)
        if step.op.name == "cgroup_follow":
            life.emit("follow_cgroup", path=step.args["path"])
        else:
            life.emit("report_process")
        before = number
    if hosts:
        life.emit("go")
    life.emit("await_program")
    return LIFE.frame(life.records)


def _require(life: Life, path: str) -> None:
    try:
        file = os.stat(path)
    except FileNotFoundError:
        return   # a kernel without this kind of namespace
    life.emit("require_file", path=path, device=file.st_dev, inode=file.st_ino)
