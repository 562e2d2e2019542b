"""Carry out a plan: the parent's part, and the protocol with the stub.

The subclasses for `create` (lifecycle/create.py) and `exec` (lifecycle/exec.py) add the rest. For `create`:

    parent                                    stub                      init
    spawn, plan in a sealed memfd ─────────▶  verify all
    cgroup_create, cgroup_write, ...
    ◀─────────────────────────────── SYNC 0
    go ────────────────────────────────────▶  first steps
    ◀───────────────────────────── SYNC 12    (host steps 12..)
    map_ids ──── go, descriptors ──────────▶  unshare, clone ────────▶  mounts, devices, ...
    ◀──────────────────────────── CLONED pid  exit
    ◀───────────────────────────────────────────────────────── SYNC 61
    cgroup_join, hooks ── go ────────────────────────────────────────▶  pivot_root, ...
    ◀───────────────────────────────────────────────────────── CREATED
    state.json ── go ────────────────────────────────────────────────▶  waits for `start`

If one side dies, the other sees the end of the stream: the stub exits, or the parent undoes its steps in reverse order.
"""

from __future__ import annotations

import fcntl
import os
from errno import EAGAIN, EINVAL, EISDIR, EMFILE, ENOENT, EPERM, EXDEV

from pyruntime.errors import PyruntimeError, StepError, words
from pyruntime.runtime.lifecycle import channel
from pyruntime.runtime.lifecycle.faults import Fault
from pyruntime.runtime.lifecycle.parent import THIS_PROCESS, Parent
from pyruntime.runtime.lifecycle.perform import perform
from pyruntime.runtime.plan.encode import encode
from pyruntime.runtime.plan.phases import FIRST, ORDER
from pyruntime.system.installed import native
from pyruntime.system.processes import SIGKILL
from pyruntime.system.uapi import CLONE_NEWUSER, MFD_EXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyruntime.runtime.compiler.compile import Plan
    from pyruntime.runtime.lifecycle.channel import Report
    from pyruntime.runtime.plan.steps import Step

STUB = native("stub")
MAX_HANDED = 128  # as in native/stub/stub.h


def sealed(name: str, data: bytes, extra: int = 0) -> int:
    """A sealed memfd, which can no longer be changed (memfd_create(2)); ``extra`` are additional flags."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | extra)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS,
                fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


def program() -> int:
    """A descriptor of the stub's program through which a container cannot change the installed file (CVE-2019-5736)."""
    image = stub_image()
    try:
        return sealed("pyruntime", image, MFD_EXEC)
    except PermissionError:   # vm.memfd_noexec=2
        # lazy: only if vm.memfd_noexec forbids to run a memfd
        from pyruntime.runtime.lifecycle.private_copy import private_copy
        return private_copy(image)
    except OSError:           # a kernel before 6.3
        return sealed("pyruntime", image)


def stub_image() -> bytes:
    """The bytes of the stub's program file."""
    try:
        fd = os.open(STUB, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PyruntimeError(f'the stub "{STUB}" has not been built: run `make`') from None
    try:
        return os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def stub_arguments(first: int, slots: int) -> list[str]:
    """The stub's command line: its descriptors are the control socket, the plan and the slots, from ``first`` on."""
    return ["pyruntime-init", f"fds={first}", f"slots={slots}"]


class Launch:
    """The execution of one plan. A subclass defines what happens when the process exists, and when the plan is over."""

    def __init__(self, plan: Plan, fds: dict[str, int], preserve: int, debug: Callable[[str], None],
                 streams: Sequence[int] = (), parent: Parent = THIS_PROCESS) -> None:
        """``fds``: the descriptor for each of ``plan.slots``; they are closed with the launch. ``debug`` is called with
        debug messages, in runc's wording where runc has such a message. ``streams``: the process's descriptors 0, 1 and
        2, instead of those of its parent."""
        self.plan = plan
        self.fds = fds
        self.preserve = preserve
        self.debug = debug
        self.streams = streams
        self.parent = parent
        self._undo: list[Callable[[], None]] = []
        self._handed: dict[int, int] = {}
        self._control: Any = None
        self._holder = (0, -1)   # pid of the process that keeps a scope alive, and the pipe that it waits on
        self.stub = 0    # pid of the stub before it clones init
        self.init = 0    # pid of init, or of the process that joins a container
        self.given: list[int] = []   # the program's descriptors, from 3 on, instead of the runtime's
        self.encoded = b""   # the plan as sent to the stub
        self._prepared = False
        self._fault = Fault()

    @property
    def process(self) -> int:
        """The pid of the process in the container's namespaces: init, or the stub before init exists."""
        return self.init or self.stub

    def started(self) -> None:
        """Called when ``init`` is known."""

    def meanwhile(self) -> bool:
        """Called when the stub, or later init, works for some time: for work that needs no result of theirs. Returns
        whether to call it again, at the next opportunity."""
        return False

    def over(self, report: Report | None) -> bool:
        """Whether this report of the stub is the last that the launch waits for. ``report`` is None at the end of the
        stream: the stub has died, unless this method returns true."""
        raise NotImplementedError

    def taken_over(self, report: Report | None) -> bool:
        """Implements `over` for plans that end with the execution of a program: true if execve(2) has succeeded."""
        if report is not None and report.kind == channel.EXEC:
            self._prepared = True   # only the filter and execve are left: if they succeed, the stream ends
        if report is None and self._prepared:
            self._control.close()
            return True
        return False

    def cause_of_death(self) -> str:
        """Called when the stub or init has died; return the cause if it is known."""
        return ""

    def left_behind(self) -> list[str]:
        """Called after a failure, when all processes have been killed: clean up after them, and return the errors."""
        return []

    # --- what performers use ---------------------------------------------------------------------------------------

    def hand_over(self, slot: int, fd: int) -> None:
        """Pass this descriptor to the stub with the next reply."""
        if len(self._handed) == MAX_HANDED:
            os.close(fd)
            raise PyruntimeError(f"more than {MAX_HANDED} id-mapped mounts")
        self._handed[slot] = fd

    def hold(self) -> int:
        """Start the process that keeps a systemd scope alive; return its pid. The process ends on `release`, and with
        the runtime."""
        image = program()
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        try:
            entry = fcntl.fcntl(image, fcntl.F_DUPFD_CLOEXEC, 3)
            try:
                pid = os.posix_spawn(f"/proc/self/fd/{entry}", ["pyruntime-init", "hold=1"], {},
                                     file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 0)])
            finally:
                os.close(entry)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
            os.close(image)
        self._holder = (pid, ours)
        return pid

    def release(self) -> None:
        """End the process that `hold` started, if it is still running."""
        pid, pipe = self._holder
        self._holder = (0, -1)
        if pid:
            os.close(pipe)
            os.waitpid(pid, 0)

    # --- the protocol ------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Carry out the plan; return init's pid. On failure everything is undone and raised."""
        try:
            self._spawn()
            performed = self._perform_from(0)   # while the kernel executes the stub, which then waits for an answer
            self.ready()
            self._converse(performed)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._close()
        return self.init

    def ready(self) -> None:
        """The host steps of the first phase have been performed."""

    def _perform_from(self, index: int) -> int:
        """Perform the host steps from ``index`` up to the next step of the stub, whose index is returned."""
        steps = self.plan.steps
        while index < len(steps) and steps[index].op.actor == "host":
            step = steps[index]
            self.debug(f"step {index + 1} of {len(steps)}, phase {step.phase}: {step.op.name} <- "
                       f"{step.where}{step.subject}")
            try:
                self._fault.before(index)
                undo = perform(step, self)
            except OSError as error:
                if error.errno not in step.tolerate:
                    raise self._error(index, error.errno or 0, str(error.args[-1]) if error.args else "",
                                      error.filename) from None
            except PyruntimeError as error:
                if not error.where:
                    error.args = (f"{self.plan.document}: {step.where}{step.subject}: {error.args[0]}",)
                    error.where = step.where
                raise
            else:
                if undo:
                    self._undo.append(undo)
            self._fault.after(index)
            index += 1
        return index

    def _spawn(self) -> None:
        # First what may fail for a reason of the caller's: nothing is open yet.
        if injected := self._fault.for_stub(self.plan.steps):
            self.encoded = encode(self.plan.steps, injected)
        else:
            self.encoded = self.plan.encoded = self.plan.encoded or encode(self.plan.steps)
        ours, theirs = channel.pair()
        self._control = ours
        image = plan = -1
        base = 3 + self.preserve
        try:
            image = self.parent.program(program)
            plan = sealed("plan", self.encoded)
            wanted = [theirs.fileno(), plan, *(self.fds[name] for name in self.plan.slots)]
            descriptors = [*zip(wanted, range(base, base + len(wanted)), strict=True),
                           *((fd, 3 + number) for number, fd in enumerate(self.given)),
                           *((fd, number) for number, fd in enumerate(self.streams))]
            self.stub = self.parent.spawn(image, stub_arguments(base, len(self.plan.slots)), descriptors)
            self.debug(f"nsexec container setup: the stub is process {self.stub}, run from its own copy")
            self._tell_of_plan()
        finally:
            channel.passed(theirs)
            for fd in (image, plan):
                if fd >= 0:
                    os.close(fd)

    def _tell_of_plan(self) -> None:
        affinity = sum(1 << number for number in os.sched_getaffinity(0))
        for step in self.plan.steps:
            if step.op.name == "cpu_affinity" and step.phase == "enter" and step.args["mask"]:
                affinity = int.from_bytes(step.args["mask"], "little")
            elif step.op.name == "seccomp":
                self.debug(f"seccomp filter flags: {step.args['flags']}")
        self.debug(f"nsexec: affinity: {affinity:#x}")

    def _converse(self, performed: int) -> None:
        # The stub's longest parts begin after this host step.
        last = max((index for index, step in enumerate(self.plan.steps)
                    if step.op.actor == "host" and ORDER[FIRST] < ORDER[step.phase] < ORDER["rootfs"]), default=-1)
        idle, work = last < 0 and not performed, True
        while True:
            if idle and work:
                work = self.meanwhile()
            idle = False
            report = channel.receive(self._control)
            if report is None:
                if self.over(None):
                    return
                words = self._last_words()
                raise StepError(self.cause_of_death()
                                or f"the stub died before the plan was carried out ({words})")
            if report.kind == channel.CLONED:
                self._cloned(report.pid)
                continue
            if not self.init and self._past_clone(report.index):
                self._await_clone()
            if report.kind == channel.SYNC:
                following = self._perform_from(max(report.index, performed))
                channel.go(self._control, self._handed)
                for fd in self._handed.values():
                    os.close(fd)
                self._handed.clear()
                idle = following > last
            elif report.kind == channel.FAILED:
                raise self._error(report.index, report.errno, report.detail, call=report.call)
            elif self.over(report):
                return

    def _past_clone(self, index: int) -> bool:
        return any(step.op.name == "clone_init" for step in self.plan.steps[:index])

    def _await_clone(self) -> None:
        # Init's first report may arrive before the stub's last one: two processes write to one socket.
        while not self.init:
            report = channel.receive(self._control)
            if report is None or report.kind != channel.CLONED:
                words = self._last_words()
                raise StepError(self.cause_of_death() or f"the stub died before it named init ({words})")
            self._cloned(report.pid)

    def _cloned(self, pid: int) -> None:
        self.init = pid
        self.debug(f"child process in init(): {pid}")
        self.started()
        self.parent.let_end(self.stub)
        self.stub = 0

    def _last_words(self) -> str:
        pid = self.init or self.stub
        if not pid:
            return "it was never started"
        self.init = self.stub = 0
        try:
            status = self.parent.wait(pid)
        except ChildProcessError:   # see Parent.let_end
            return "exit status unknown"
        code = os.waitstatus_to_exitcode(status)
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    # --- failure -----------------------------------------------------------------------------------------------------

    def _error(self, index: int, errno: int, detail: str, filename: str | None = None, call: str = "") -> StepError:
        return step_error(dict(enumerate(self.plan.steps)), len(self.plan.steps), index, errno,
                          detail or filename or "", call, self.plan.document)

    def _fail(self, error: BaseException) -> None:
        """Kill the processes and undo the steps in reverse order; failures become notes of the first error."""
        notes = error.notes if isinstance(error, PyruntimeError) else []
        if self._control is not None:
            self._control.close()
        for pid in (self.stub, self.init):
            if pid:
                try:
                    os.kill(pid, SIGKILL)
                except ProcessLookupError:   # its parent is another process, which has waited for it and knows the exit
                    self.debug(f"process {pid} has exited by itself")
                try:
                    self.parent.wait(pid)
                except ChildProcessError:
                    continue   # that parent has ended, too
        had_init = self.init
        self.stub = self.init = 0   # their pids may be reused
        if had_init:
            notes += self.left_behind()
        while self._undo:
            try:
                self._undo.pop()()
            except (OSError, PyruntimeError) as second:
                notes.append(words(second))

    def _close(self) -> None:
        for fd in (*self.fds.values(), *self._handed.values()):
            os.close(fd)
        self.fds, self._handed = {}, {}


def step_error(steps: dict[int, Step], total: int, index: int, errno: int, detail: str, call: str,
               document: str = "config.json") -> StepError:
    """The error for a failed step, in runc's wording where callers match it."""
    step = steps[index]
    words = os.strerror(errno) if errno else ""
    text = (_familiar(step, errno, detail, call) or _refused(step, errno, steps)
            or _restricted(step, errno, steps, detail, call))
    if not text:
        text = ": ".join(part for part in (call, detail, words) if part)
        if words and text.endswith(f"{words}: {words}"):
            text = text[:-len(words) - 2]
    name = f"{step.op.name}, {call}" if call and call != step.op.name else step.op.name
    return StepError(f"{document}: {step.where}{step.subject}: {text}", where=step.where, step=step.op.name,
                     errno=errno, index=index, place=f"step {index + 1} of {total}, phase {step.phase} ({name})")


def _refused(step: Step, errno: int, steps: dict[int, Step]) -> str:
    """The message for a scheduler refused by the kernel; the reason may be another step of the plan."""
    if step.op.name != "scheduler" or not errno:
        return ""
    pinned = any(other.op.name == "cgroup_write" and "cpuset.cpus" in other.args["file"] for other in steps.values())
    if errno == EPERM and pinned:
        return "process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus)"
    return f"error setting scheduler: {os.strerror(errno).lower()}"


def _restricted(step: Step, errno: int, steps: dict[int, Step], detail: str, call: str) -> str:
    """The message for what a restriction of the host refuses: a user namespace, capabilities in a new one, a whole
    procfs or sysfs, pivot_root."""
    if not errno:
        return ""
    from pyruntime.system import restrictions  # lazy: only for a step that failed

    reason = ""
    creating = [other for other in steps.values() if other.op.name == "unshare" and other.args["flags"] & CLONE_NEWUSER]
    if step in creating:
        reason = restrictions.user_namespaces(errno)
    elif creating and ORDER["user"] <= ORDER[step.phase] <= ORDER["rootfs"]:
        reason = restrictions.apparmor(errno)
    elif errno == EPERM and not creating and step.op.name in ("unshare", "clone_init"):
        reason = restrictions.no_privilege()
    elif errno in (ENOENT, EXDEV) and step.op.name in ("write_proc", "open_proc"):
        reason = restrictions.procfs()
    elif errno == EPERM and step.op.name == "mount" and step.args["fstype"] in ("proc", "sysfs"):
        reason = restrictions.partly_visible(step.args["fstype"])
    elif errno == EINVAL and call == "pivot_root":
        reason = restrictions.no_pivot()
    elif errno == EINVAL and step.op.name == "propagation":
        reason = restrictions.no_mount_point()
    elif errno == EPERM and call == "prlimit64":
        reason = f"{detail} may not exceed that of the runtime: raise it there (ulimit -H), or lower it here"
    elif errno == EMFILE or (errno == EAGAIN and step.op.name in ("clone_init", "run_hook")):
        reason = restrictions.limits(errno)
    return f"{call}: {reason}: {os.strerror(errno)}" if reason else ""


def _familiar(step: Step, errno: int, detail: str, call: str) -> str:
    """Phrases of runc that containerd, Podman and Docker match."""
    words = os.strerror(errno).lower() if errno else ""
    if step.op.name == "find_executable":
        name = step.args["name"]
        if errno == ENOENT and "/" not in name:
            return f'exec: "{name}": executable file not found in $PATH'
        if errno == ENOENT:
            return f'exec: "{name}": stat {name}: {words}'
        if errno == EISDIR:   # Docker 20.10 and Podman turn only the second phrase (that of runc 1.0) into status 126
            return f'exec: "{name}": {words}: permission denied'
        return f'exec: "{name}": {words}'
    if step.op.name == "execve" and call == "execve":
        return f'exec: "{step.label}": {words}'
    if step.op.name == "chdir" and call == "chdir":
        return f'chdir to cwd ("{detail}") set in config.json failed: {words}'
    if step.op.name == "ambient" and detail.startswith("PR_CAP_AMBIENT_RAISE"):
        from pyruntime.system.uapi import ALL_CAPABILITIES  # lazy: only for a step that failed
        return f"can't raise ambient capability {ALL_CAPABILITIES[int(detail.rpartition(' ')[2])]}: {words}"
    if step.op.name == "open_namespace" and call == "foreign":
        return detail
    if step.op.name == "run_hook":
        kind, _, rest = step.where.removeprefix("hooks.").partition("[")
        return f"error running {kind} hook #{rest[:-1]}: " + (detail if call == "hook" else f"{call} {detail}: {words}")
    if call == "seccomp" and errno == EINVAL:
        return f"{call}: {detail}: {words} (an action or flag that the kernel lacks?)"
    return ""
