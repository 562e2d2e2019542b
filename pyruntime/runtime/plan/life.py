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

SLOTS = 8   # number of kept `exec` plans, selected by the checksum of the request
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
    "require_request": Op("front", "none", "go on only if the words of the command line and the content of the"
                          " process file are these", key=BYTES),
    "require_file": Op("front", "stat", "go on only if a path leads to this file", path=STR, device=INT, inode=INT),
    "launch": Op("front", "memfd_create, posix_spawn", "start the stub with a launch plan, and with descriptors of init"
                 " and of its root directory in these slots", program=STR, arguments=STRS, first=INT, plan=BYTES,
                 slots=STRS, clone=INT),
    "await_sync": Op("front", "recv", "wait until the stub, or the process it created, is at this step", index=INT),
    "follow_cgroup": Op("front", "write", "move the process into a cgroup v2, unless it is in it already", path=STR),
    "report_process": Op("front", "rename", "write the pid file of the command line"),
    "go": Op("front", "send", "let the process go on"),
    "await_program": Op("front", "recv", "wait until the process has executed its program"),
}
for _name, _op in OPS.items():
    _op.name = _name

LIFE = InstructionSet(b"PYRLIFE\x01", list(OPS.values()), f"{NUMBERS}{ANY}")
