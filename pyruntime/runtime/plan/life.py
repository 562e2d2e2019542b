"""The life plan's instruction set: what the front (`native/front`) can do without an interpreter.

`create` writes a life plan beside state.json: for each verb a list of these instructions, with all data of this
container that the verb needs. The front carries out the list of its verb. At the first instruction that it cannot carry
out, it hands the command line to Python, which begins again: every instruction of a list but the last must allow a
second execution. Encoded as a launch plan (encode.py); ``native/front/life.h`` is generated from here
(``python -m pyruntime.runtime.cli.front``).
"""

from __future__ import annotations

from pyruntime.runtime.plan.encode import InstructionSet
from pyruntime.runtime.plan.steps import BYTES, INT, STR, STRS, Op

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import Any

SLOTS = 8   # number of kept plans of `exec --process`, selected by the checksum of the process file
TEMPLATE = "exec.plan"   # the file of the exec template, and the beginning of the names of kept plans
KEPT = "exec."
# What the front takes from the command line of `exec` for a field of the launch plan: the IDs, the working directory,
# the first argument, the directories to find it in, all arguments, and the environment.
SOURCES = ("uid", "gid", "cwd", "name", "path", "args", "env")
# The statuses of a container, as bits: an instruction applies to the statuses that it names.
CREATED, RUNNING, PAUSED, STOPPED = 1, 2, 4, 8
ALIVE = CREATED | RUNNING | PAUSED
ANY = ALIVE | STOPPED


class Verb:
    """One list of a life plan, and the command lines that select it: a command, at most one flag (with its value), and
    for ``kill`` whether the signal is SIGKILL."""

    def __init__(self, command: str, flag: str = "", value: str = "", *, sigkill: bool = False) -> None:
        self.command = command
        self.flag = flag
        self.value = value
        self.sigkill = sigkill


VERBS = {
    "state": Verb("state"),
    "start": Verb("start"),
    "kill": Verb("kill"),
    "kill_hard": Verb("kill", sigkill=True),
    "kill_all": Verb("kill", "all"),
    "kill_all_hard": Verb("kill", "all", sigkill=True),
    "pause": Verb("pause"),
    "resume": Verb("resume"),
    "delete": Verb("delete"),
    "delete_force": Verb("delete", "force"),
    "ps": Verb("ps", "format", "json"),
    "list": Verb("list", "quiet"),
    "exec": Verb("exec"),
}
NUMBERS = {name: number for number, name in enumerate(VERBS, 1)}

OPS: dict[str, Op] = {
    # --- before the lists: the container ------------------------------------------------------------------------------
    "container": Op("front", "none", "the container of the plan, and its init process", id=STR, pid=INT, started=INT),
    "unchanged": Op("front", "fstatat", "go on only if a file of the state directory has not changed since the plan"
                    " was written", name=STR, inode=INT, size=INT, modified=INT, changed=INT),
    "paused_while": Op("front", "open, read", "a container with a living init is paused while the file has the text",
                       path=STR, text=STR),
    "created_while": Op("front", "connect", "a container is created while init listens on the socket", socket=STR),
    "verb": Op("front", "none", "begin the list of a verb", number=INT),
    # --- in the lists ------------------------------------------------------------------------------------------------
    "require": Op("front", "none", "go on only in these statuses", statuses=INT),
    "require_path": Op("front", "access", "go on only if a path exists, or only if it does not", path=STR, exists=INT),
    "require_empty": Op("front", "read", "go on only if no process is in a cgroup or below it", path=STR),
    "print": Op("front", "write", "write a text to standard output, in these statuses", statuses=INT, text=STR),
    "print_processes": Op("front", "read, write", "write the processes of a cgroup, and of those below it", path=STR,
                          before=STR, between=STR, after=STR, none=STR),
    "begin": Op("front", "send, recv", "let init execute the container's program"),
    "signal_init": Op("front", "pidfd_open, pidfd_send_signal", "send init a signal, in these statuses; 0: the"
                      " signal of the command line", statuses=INT, signal=INT),
    "signal_others": Op("front", "kill", "send the command line's signal to the processes of a cgroup, and of those"
                        " below it, but not to init", path=STR),
    "await_end": Op("front", "poll", "wait until the killed init has exited", milliseconds=INT),
    "write_file": Op("front", "open, write", "write to a file, in these statuses", statuses=INT, path=STR, data=STR),
    "await_text": Op("front", "open, read", "wait until a file contains a text: write to another file repeatedly, and"
                     " restore that file at the timeout", path=STR, text=STR, file=STR, again=STR, back=STR,
                     milliseconds=INT),
    "remove_directory": Op("front", "rmdir", "remove an empty directory", path=STR),
    "remove_state": Op("front", "renameat, unlinkat", "release the ID and remove the state directory, which must have"
                       " no other files than these", names=STRS),
    # --- in the list of `exec`: the launch of a process, as lifecycle/launch.py has it --
    "read_list": Op("front", "open, read", "go on with the instructions in a file: in the template, or for a process"
                    " file in the plan that was kept for it, whose name ends in a digit", template=STR, kept=STR),
    "require_process": Op("front", "none", "go on only if the process file has this content", content=BYTES),
    "require_file": Op("front", "stat", "go on only if a path leads to this file", path=STR, device=INT, inode=INT),
    "require_namespaces": Op("front", "stat", "go on only if init is in our own namespaces of some kinds, and not in"
                             " ours of the others", same=STRS, other=STRS),
    "process": Op("front", "none", "the container's own user, working directory and environment, which the command line"
                  " changes; the variable that names the directories of programs, and its value if it is not set",
                  uid=INT, gid=INT, cwd=STR, env=STRS, variable=STR, otherwise=STR),
    "copy": Op("front", "none", "add records to the launch plan", records=INT, data=BYTES),
    "fill": Op("front", "none", "add a record to the launch plan: its head, a field for each of the sources (SOURCES),"
               " and the rest; root: whether it is for the user 0, too", head=BYTES, sources=BYTES, rest=BYTES,
               root=INT),
    "launch": Op("front", "memfd_create, posix_spawn", "start the stub with the launch plan, which gets this header,"
                 " and with descriptors of init and of its root directory in these slots", header=BYTES, program=STR,
                 arguments=STRS, first=INT, slots=STRS, clone=INT),
    "await_sync": Op("front", "recv", "wait until the stub, or the process it created, is at this step", index=INT),
    "follow_cgroup": Op("front", "write", "move the process into a cgroup v2, unless it is in it already", path=STR),
    "report_process": Op("front", "rename", "write the pid file of the command line"),
    "go": Op("front", "send", "let the process go on"),
    "await_program": Op("front", "recv", "wait until the process has executed its program"),
}
for _name, _op in OPS.items():
    _op.name = _name

LIFE = InstructionSet(b"PYRLIFE\x01", list(OPS.values()), f"{NUMBERS}{ANY}{SOURCES}")


class InstructionList:
    """Instructions in their order; ``first`` is the number of the first."""

    def __init__(self, first: int = 0) -> None:
        self.records: list[bytes] = []
        self._first = first

    def emit(self, op: str, /, tolerate: Sequence[int] = (), **args: Any) -> None:
        """Add one instruction."""
        self.records.append(LIFE.record(self._first + len(self.records), op, args, "life.plan", tolerate))

    def unchanged(self, name: str, file: os.stat_result) -> None:
        """The following instructions are void when this file of the state directory is written again."""
        self.emit("unchanged", name=name, inode=file.st_ino, size=file.st_size, modified=file.st_mtime_ns,
                  changed=file.st_ctime_ns)

    def framed(self, *others: InstructionList) -> bytes:
        """The content of a file with these instructions, and those of other lists."""
        return LIFE.frame([record for listing in (self, *others) for record in listing.records])
