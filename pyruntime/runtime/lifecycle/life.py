"""The life plan of a container: the steps of `start`, `state`, `kill`, `pause`, `resume`, `delete`, `ps` and
`list`.

Emitted once, when the container has been created, for the front (plan/life.py has the instructions). Each list has the
usual steps of the verb's module in this package. Unusual steps have no instruction, and a verb that needs one has no
list: hooks, a unit that systemd must stop, processes that do not end with the pid namespace.
"""

from __future__ import annotations

import os
from errno import EBUSY, ENODEV, ENOENT, ENOTEMPTY

from pyruntime.errors import HostError
from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.lifecycle.status import document
from pyruntime.runtime.plan.life import (
    ALIVE,
    ANY,
    CREATED,
    KEPT,
    NUMBERS,
    PAUSED,
    RUNNING,
    SLOTS,
    STOPPED,
    TEMPLATE,
    InstructionList,
)
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord

_WORDS = {CREATED: "created", RUNNING: "running", PAUSED: "paused", STOPPED: "stopped"}
_PATIENCE = 10_000   # milliseconds, as in delete.py and cgroups/group.py
_SIGKILL = 9
_TRANSIENT = "/run/systemd/transient"
_HEAD = 4   # the instructions before the lists
# The remaining files in the state directory; if there are others, Python removes them.
_FILES = ("state.json", "init", "exec.json", "start.sock", "life.plan", TEMPLATE,
          *(f"{KEPT}{slot}" for slot in range(SLOTS)))


def prepare(container: StateDirectory, record: StateRecord, *, notifies: bool = False) -> Life:
    """The life plan of a container whose init and exec template (template.py) exist. ``notifies``: whether its program
    may speak to a service manager, for which `start` then waits."""
    try:
        template = os.stat(os.path.join(container.directory, TEMPLATE))
    except FileNotFoundError:
        template = None
    return Life(record, template, notifies=notifies)


def settle(container: StateDirectory, record: StateRecord, life: Life) -> None:
    """Write down a container that has been created, and its life plan."""
    container.write(record)
    file = os.stat(os.path.join(container.directory, "state.json"))
    container.keep_plan("life.plan", life.plan(file))


class _Freezer:
    """How a cgroup is frozen: by v1's file or by v2's; empty without a freezer."""

    __slots__ = ("file", "freeze", "frozen", "state", "thaw")

    def __init__(self, group: Cgroup) -> None:
        self.file = self.freeze = self.thaw = self.state = self.frozen = ""
        try:
            directory, modern = group.find_freezer()
        except HostError:
            return
        self.file = f"{directory}/cgroup.freeze" if modern else f"{directory}/freezer.state"
        self.state = f"{directory}/cgroup.events" if modern else self.file
        self.freeze, self.thaw, self.frozen = ("1", "0", "frozen 1") if modern else ("FROZEN", "THAWED", "FROZEN")


class Life(InstructionList):
    """The lists of a life plan. ``template`` is the file of the exec template, if there is one."""

    def __init__(self, record: StateRecord, template: os.stat_result | None, *, notifies: bool) -> None:
        super().__init__(_HEAD)
        self.record = record
        group = Cgroup(record.cgroup)
        self.main = group.main() if group.paths else ""
        self.freezer = _Freezer(group)
        # Not the container's own pid namespace: its processes do not end with init.
        self.shared = not record.own_pids and bool(record.cgroup)
        self.state()
        if record.has_process and not notifies and not record.hooks.get("poststart"):
            self.verb("start", CREATED)
            self.emit("begin")
        self.kill()
        self.pause()
        self.delete()
        self.list()
        if template is not None:
            self.verb("exec", CREATED | RUNNING)
            self.unchanged(TEMPLATE, template)
            self.emit("read_list", template=TEMPLATE, kept=KEPT)

    def plan(self, file: os.stat_result) -> bytes:
        """The whole plan. ``file`` is the container's state.json: the plan is void when that is written again."""
        record, head = self.record, InstructionList()
        head.emit("container", id=record.id, pid=record.pid, started=record.started)
        head.unchanged("state.json", file)
        head.emit("paused_while", path=self.freezer.state, text=self.freezer.frozen)
        head.emit("created_while", socket="start.sock")
        assert len(head.records) == _HEAD
        return head.framed(self)

    def verb(self, name: str, statuses: int) -> None:
        """Begin a list."""
        self.emit("verb", number=NUMBERS[name])
        if statuses != ANY:
            self.emit("require", statuses=statuses)

    def state(self) -> None:
        """The document of `state`; the parts that depend on the status have their own instructions."""
        # JSON strings contain no line feed, so this text occurs only as the line itself.
        known = f'\n  "pid": {self.record.pid},\n  "status": "created",\n'
        before, found, after = encode(document(self.record, "created"), 2).partition(known)
        assert found, before
        self.verb("state", ANY)
        self.emit("print", statuses=ANY, text=before)
        for status, word in _WORDS.items():
            pid = 0 if status == STOPPED else self.record.pid
            self.emit("print", statuses=status, text=f'\n  "pid": {pid},\n  "status": "{word}",\n')
        self.emit("print", statuses=ANY, text=f"{after}\n")

    def kill(self) -> None:
        """`kill`, and with --all."""
        self.verb("kill", ALIVE)
        self.emit("signal_init", statuses=ALIVE, signal=0)
        if os.geteuid() == 0:   # else some processes may belong to another user, and Python reports them
            self.verb("kill_all", ANY)
            self._signal_all()
        if not self.shared:
            self.verb("kill_hard", ALIVE)
            self.emit("signal_init", statuses=ALIVE, signal=_SIGKILL)
            self._thaw()
            self.verb("kill_all_hard", ANY)
            self._signal_all()
            self._thaw()

    def _signal_all(self) -> None:
        self.emit("signal_init", statuses=ALIVE, signal=0)
        if self.main:
            self.emit("signal_others", path=self.main)

    def _thaw(self) -> None:
        # A task in a frozen v1 cgroup does not take SIGKILL before it is thawed.
        if self.freezer.file:
            self.emit("write_file", statuses=PAUSED, path=self.freezer.file, data=self.freezer.thaw)

    def pause(self) -> None:
        """`pause` and `resume`."""
        freezer = self.freezer
        if not freezer.file:
            return
        self.verb("pause", CREATED | RUNNING)
        self.emit("write_file", statuses=ANY, path=freezer.file, data=freezer.freeze)
        # v1 may miss a task that forked meanwhile: write again.
        self.emit("await_text", path=freezer.state, text=freezer.frozen, file=freezer.file, again=freezer.freeze,
                  back=freezer.thaw, milliseconds=_PATIENCE)
        self.verb("resume", PAUSED)
        self.emit("write_file", statuses=ANY, path=freezer.file, data=freezer.thaw)

    def delete(self) -> None:
        """`delete`, and with --force."""
        if self.record.hooks.get("poststop") or (self.record.unit and self.record.user_unit):
            return
        self.verb("delete", STOPPED)
        self._remove()
        self.verb("delete_force", ANY)
        self.emit("signal_init", statuses=ALIVE, signal=_SIGKILL)
        self._thaw()
        self.emit("await_end", milliseconds=_PATIENCE)
        self._remove()

    def _remove(self) -> None:
        record = self.record
        if record.unit:   # systemd has forgotten it, as usual when a container has ended before `delete`
            self.emit("require_path", path=_TRANSIENT, exists=1)
            self.emit("require_path", path=f"{_TRANSIENT}/{record.unit}", exists=0)
        if self.shared:
            self.emit("require_empty", path=self.main)
        own = [path for path in record.cgroup.values() if path in record.cgroup_made]
        for path in own:
            self.emit("remove_directory", path=path, tolerate=(ENOENT, ENODEV))
        for path in reversed(record.cgroup_made):
            if path not in own:   # an ancestor that others use by now is kept
                self.emit("remove_directory", path=path, tolerate=(ENOENT, EBUSY, ENOTEMPTY))
        for path in record.rdt:
            self.emit("remove_directory", path=path, tolerate=(ENOENT,))
        self.emit("remove_state", names=_FILES)

    def list(self) -> None:
        """`ps --format json` and `list -q`."""
        if self.main:
            self.verb("ps", ANY)
            self.emit("print_processes", path=self.main, before="[", between=",", after="]\n", none="null\n")
        self.verb("list", ANY)
        self.emit("print", statuses=ANY, text=f"{self.record.id}\n")
