"""The library: sandboxes for programs that are not trusted.

    from pyruntime import Limits, Sandbox

    with Sandbox("python:3.12-slim", limits=Limits(memory="256m", cpus=1, pids=64)) as box:
        box.write("/work/job.py", source)
        done = box.run(["python3", "/work/job.py"], input=b"...", timeout=2.0)
        print(done.reason, done.returncode, done.stdout, done.usage)
        result = box.read("/work/out.json")

Every error is one of pyruntime.errors; what the program did wrong is in the result, and ``Done.check`` raises it. All
calls are safe from several threads. docs/sandbox.md says what is defended, and what is not.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Condition, Lock
from warnings import warn
from weakref import WeakSet

from pyruntime.errors import StateError, UsageError
from pyruntime.sandbox import files
from pyruntime.sandbox.commands import bytes_of, finished, path_of, seconds_of, variables_of, words_of
from pyruntime.sandbox.container import SandboxContainer
from pyruntime.sandbox.host_errors import told
from pyruntime.sandbox.interpreter import Interpreter
from pyruntime.sandbox.leftovers import PrunedSandboxes, new_name, prune
from pyruntime.sandbox.limits import Limits, size
from pyruntime.sandbox.pipes import DEVNULL, PIPE, STDOUT, KeptOutput, ProgramStreams
from pyruntime.sandbox.private_mounts import call
from pyruntime.sandbox.process import OutputStream, Process
from pyruntime.sandbox.result import Done, Usage
from pyruntime.sandbox.run import Run, carry_out, end_group
from pyruntime.sandbox.settings import NOBODY, Settings
from pyruntime.sandbox.sources import HOST_PATHS, ForkSource, HostMount, HostSource, RootSource, source_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Any

    from pyruntime.images.api import ImageStore
    from pyruntime.images.progress import Progress
    from pyruntime.sandbox.commands import AnyPath
    from pyruntime.sandbox.pipes import Stream
    from pyruntime.sandbox.restore import SavedProcesses

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Done", "HostMount", "Limits", "OutputStream", "Process", "PrunedSandboxes",
           "Sandbox", "Usage", "prune"]

OUTPUT_LIMIT = "1m"
READ_LIMIT = "64m"
_living: WeakSet[Sandbox] = WeakSet()
_pruned = Lock()   # held from the first use on


class Sandbox:
    """A throw-away container for programs that are not trusted, from the call of the constructor until ``close``.

    ``root``    an image reference (pulled if it is missing), or the path of a bundle or of a root filesystem, which is
                not changed; `Sandbox.host` uses the host's own system
    ``limits``  see Limits
    ``mounts``  files and directories of the host, read-only unless said otherwise
    ``env``     variables, in addition to the image's
    ``cwd``     the working directory of runs; by default the image's, or /work
    ``user``    uid, or uid and gid, of everything in the sandbox. Without root these are IDs of the sandbox's user
                namespace; without subordinate IDs (subuid(5)), it is always this program's user, who is root there
    ``writable``  whether programs may write everywhere (to a copy), and not only below /work, /tmp and /dev/shm
    ``network``  a network of `pocker network create`, or "default" for pocker's default one; None: no network.
                 Without root, "default" leads to the outside through pasta(1) or slirp4netns(1)
    ``seccomp``  a filter (config-linux.md#seccomp) instead of the default one
    ``devices``  paths of the host's devices that programs may use, as "/dev/fuse"
    ``interpreter``  a Python interpreter, as "python3", that is started at once and waits for the code of `python`;
                 "": none
    ``require_limits``  raise HostError if a limit cannot be enforced, instead of doing without it
    ``checkpointable``  whether `checkpoint` can save the sandbox: this needs root, cgroups and Linux 6.15, excludes
                 ``network`` and ``interpreter``, and standard streams of programs are pipes or empty
    ``store``, ``progress``  for an image: the store that holds it, and what is called with the progress of a pull

    Programs in it have no capabilities, no way to gain privileges, the default seccomp filter, and pid, mount, network,
    ipc and uts namespaces of their own. When the calling program ends, in whatever way, its sandboxes end with it.

    ``name``    the name of the sandbox and of its cgroup, by which others find it in its network
    ``addresses``  its IP addresses in a network
    ``unenforced``  the limits that this host cannot enforce; empty with all controllers of cgroups
    ``processes``   of a restored sandbox: the programs that were running when it was saved, in the order in which they
                    were started; their streams are closed with the sandbox
    """

    @told("make a sandbox")
    def __init__(self, root: AnyPath | RootSource, *, limits: Limits | None = None,
                 mounts: Sequence[HostMount] = (), env: Mapping[str, str] | None = None, cwd: AnyPath = "",
                 user: int | tuple[int, int] = NOBODY, writable: bool = False, network: str | None = None,
                 seccomp: Mapping[str, Any] | None = None, devices: Sequence[str] = (), interpreter: str = "",
                 require_limits: bool = False, checkpointable: bool = False, store: ImageStore | None = None,
                 progress: Progress | None = None) -> None:
        """Raises HostError, UsageError, ConfigError, ImageError, StepError; after an error nothing is left."""
        if checkpointable and interpreter:
            raise UsageError("interpreter: a checkpoint has no place for it: start it with popen, or leave out"
                             " checkpointable")
        cwd = path_of("cwd", cwd)
        self.limits = limits or Limits()
        self.name = new_name()
        self._options = {"limits": limits, "mounts": mounts, "env": env, "cwd": cwd, "user": user, "writable": writable,
                         "network": network, "seccomp": seccomp, "devices": devices, "interpreter": interpreter,
                         "require_limits": require_limits, "checkpointable": checkpointable}
        self._at_end = ExitStack()
        self._owner = os.getpid()
        self._idle = Condition()
        self._runs = 0
        self._number = 0
        self._closed = self._gone = self._saved = False
        self._programs: WeakSet[Run] = WeakSet()   # those that a checkpoint has
        self.processes: tuple[Process, ...] = ()
        # Of `write`: a new directory has one maker, also among the processes of the helper, and a copy has whole files.
        self._writing = Lock()
        self._alone = Lock()   # without cgroups, runs cannot be told apart
        self._waiting: Interpreter | None = None
        if _pruned.acquire(blocking=False):
            for left, why in prune().problems.items():   # no reason to do without sandboxes
                warn(f"{left} of an ended program cannot be removed: {why}", RuntimeWarning, stacklevel=2)
        source = root if isinstance(root, RootSource) else source_of(root, store, progress)
        self._container = SandboxContainer(self.name, source, Settings(
            self.limits, mounts, env, cwd, user, writable, network, seccomp, devices, require_limits,
            checkpointable))
        self.unenforced = self._container.unenforced
        self.addresses = self._container.addresses
        _living.add(self)
        try:
            if source.processes:
                self._resume(source.processes)
            if interpreter and self._container.grouped:
                self._waiting = self._interpreter(interpreter)
        except BaseException:
            self.close()
            raise

    def _resume(self, saved: SavedProcesses) -> None:
        saved.restored()
        self._number = saved.runs
        # Of programs that had just ended: their descendants were about to be killed.
        for name in self._container.entrance.subgroups() - {f"run-{program.number}" for program in saved.programs}:
            end_group(self._container.entrance.subgroup(name), self._container.entrance)
        for each in saved.programs:
            program, pid, pidfd, ours = saved.taken(each)
            run = self._run_of(self._enter(program.number))
            run.take_over(program, pid, pidfd)
            process = Process(run, program.args, seconds=program.seconds, left=self._leave)
            process.resume(ProgramStreams.taken_over(ours))
            self.processes = (*self.processes, process)

    def _interpreter(self, program: str) -> Interpreter:
        run = self._new_run(wait=True)
        try:
            return Interpreter(run, program, self._container.cwd)
        except BaseException:
            self._leave()
            raise

    @property
    def alive(self) -> bool:
        """Whether programs can be run: it is not closed, and its init has not been killed."""
        with self._idle:
            return not self._closed and os.getpid() == self._owner and self._container.entrance.alive

    def at_end(self, call: Callable[[], None]) -> None:
        """Call this when the sandbox has been closed and nothing of it is left."""
        self._at_end.callback(call)

    @classmethod
    def host(cls, paths: Sequence[AnyPath] = HOST_PATHS, *, limits: Limits | None = None,
             mounts: Sequence[HostMount] = (), env: Mapping[str, str] | None = None, cwd: AnyPath = "",
             user: int | tuple[int, int] = NOBODY, writable: bool = False, network: str | None = None,
             seccomp: Mapping[str, Any] | None = None, devices: Sequence[str] = (), interpreter: str = "",
             require_limits: bool = False, checkpointable: bool = False) -> Sandbox:
        """A sandbox without an image: it shows these paths of the host, read-only, and /bin, /sbin, /lib and /lib64 as
        they are there. The other parameters are those of the constructor."""
        return cls(HostSource(paths), limits=limits, mounts=mounts, env=env, cwd=cwd, user=user, writable=writable,
                   network=network, seccomp=seccomp, devices=devices, interpreter=interpreter,
                   require_limits=require_limits, checkpointable=checkpointable)

    @classmethod
    @told("restore a sandbox")
    def restore(cls, path: AnyPath) -> Sandbox:
        """A sandbox with the files and the programs of a checkpoint; ``processes`` are the programs. A checkpoint can
        be restored more than once, also at the same time. The sandbox is checkpointable, too.

        Raises UsageError if this is not a checkpoint of a sandbox, RecordError if it is damaged, CriuError, and what
        the constructor raises; after an error nothing is left."""
        from pyruntime.sandbox.restore import opened_checkpoint  # lazy: few sandboxes are restored

        with opened_checkpoint(path) as (source, options):
            return cls(source, **options)

    # ---- use ------------------------------------------------------------------------------------

    def run(self, argv: Sequence[str], *, input: bytes | str | None = None, timeout: float | None = None,
            check: bool = False, text: bool = False, env: Mapping[str, str] | None = None, cwd: AnyPath = "",
            max_output: int | str = OUTPUT_LIMIT, output_kills: bool = False) -> Done:
        """Run a program and wait for its end, as subprocess.run does; then its remaining descendants are killed, and
        only those.

        ``input``       the content of its standard input; None: nothing
        ``timeout``     seconds after which the program is killed; None: ``limits.wall``
        ``check``       raise RunFailed unless the program exits with status 0
        ``text``        decode the output as UTF-8, with replacement characters
        ``env``         the program's variables, instead of the sandbox's
        ``cwd``         its working directory, instead of the sandbox's
        ``max_output``  bytes that are kept of each stream; the rest is read and dropped, so that the program goes on
        ``output_kills``  kill the program instead, when a stream has more than that

        Raises StateError if the sandbox is closed, and StepError if the program cannot be executed.
        """
        done = self.run_until(-1, argv, input=input, timeout=timeout, env=env, cwd=cwd, max_output=max_output,
                              output_kills=output_kills)
        return finished(done, text=text, check=check)

    def python(self, code: str, *, program: str = "", input: bytes | str | None = None, timeout: float | None = None,
               check: bool = False, text: bool = False, max_output: int | str = OUTPUT_LIMIT,
               output_kills: bool = False) -> Done:
        """Run Python code. The first code is executed by the interpreter that ``interpreter=`` has started in advance,
        which saves 10 ms and more; for later code, another interpreter is started each time. ``program``: the latter,
        by default that of ``interpreter=``, or python3. The other parameters are those of `run`."""
        return finished(self.python_until(-1, code, program=program, input=input, timeout=timeout,
                                          max_output=max_output, output_kills=output_kills), text=text, check=check)

    @told("run code in a sandbox")
    def python_until(self, stop: int, code: str, *, program: str, input: bytes | str | None, timeout: float | None,
                     max_output: int | str, output_kills: bool) -> Done:
        """As `python`, until the descriptor ``stop`` is readable (-1: none): then the reason is "cancelled"."""
        kept = KeptOutput(size("max_output", max_output))
        data = b"" if input is None else bytes_of(input)
        with self._idle:
            waiting, self._waiting = self._waiting, None
        if waiting is not None and (program or not waiting.alive):
            waiting.close()
            self._leave()
            waiting = None
        interpreter = waiting or self._interpreter(program or str(self._options["interpreter"] or "python3"))
        try:
            return interpreter.execute(code.encode(), data, kept=kept, output_kills=output_kills, stop=stop,
                                       seconds=seconds_of(timeout, self.limits.wall))
        finally:
            interpreter.close()
            self._leave()

    @told("start a program in a sandbox")
    def popen(self, argv: Sequence[str], *, stdin: Stream = DEVNULL, stdout: Stream = PIPE, stderr: Stream = PIPE,
              timeout: float | None = None, text: bool = False, env: Mapping[str, str] | None = None, cwd: AnyPath = "",
              terminal: bool = False, size: tuple[int, int] = (24, 80)) -> Process:
        """Start a program, as subprocess.Popen does, and return while it runs.

        ``stdin``, ``stdout``, ``stderr``  PIPE, DEVNULL, a descriptor or a file of this process; ``stderr`` also STDOUT
        ``timeout``   seconds after which the program is killed; None: ``limits.wall``
        ``terminal``  give the program a terminal instead of these streams; ``size``: its rows and columns

        The other parameters and the errors are those of `run`; without cgroups, StateError if another program is
        running.
        """
        words, variables, seconds = words_of(argv), variables_of(env), seconds_of(timeout, self.limits.wall)
        directory = path_of("cwd", cwd or self._container.cwd)
        streams = None if terminal else ProgramStreams(stdin, stdout, stderr)
        try:
            run = self._new_run(wait=False)
        except BaseException:
            if streams:
                streams.close()
            raise
        process = Process(run, words, seconds=seconds, left=self._leave)
        process.start(variables, directory, streams, text=text, window=size)
        return process

    @told("start a program in a sandbox")
    def stream(self, argv: Sequence[str], *, input: bytes | str | None = None, timeout: float | None = None,
               check: bool = False, text: bool = False, env: Mapping[str, str] | None = None, cwd: AnyPath = ""
               ) -> OutputStream:
        """Start a program, and return an iterator of its output: pairs of "stdout" or "stderr" and the bytes (or the
        text). It has ``done`` at its end, `close`, and is a context manager. The parameters are those of `run`."""
        data = None if input is None else bytes_of(input)
        process = self.popen(argv, stdin=DEVNULL if data is None else PIPE, timeout=timeout, env=env, cwd=cwd)
        return OutputStream(process, data or b"", text=text, check=check)

    @told("run a program in a sandbox")
    def run_until(self, stop: int, argv: Sequence[str], *, input: bytes | str | None, timeout: float | None,
                  env: Mapping[str, str] | None, cwd: AnyPath, max_output: int | str, output_kills: bool,
                  seen: Callable[[int, bytes], object] | None = None) -> Done:
        """As `run`, until the descriptor ``stop`` is readable (-1: none): then the reason is "cancelled". ``seen`` is
        called with the output as it comes: 0 (output) or 1 (error output), and the bytes."""
        words, variables = words_of(argv), variables_of(env)
        kept = KeptOutput(size("max_output", max_output), seen)
        data = None if input is None else bytes_of(input)
        directory = path_of("cwd", cwd or self._container.cwd)
        run = self._new_run(wait=True)
        try:
            return carry_out(run, words, variables, directory, data, seconds=seconds_of(timeout, self.limits.wall),
                             kept=kept, output_kills=output_kills, stop=stop)
        finally:
            self._leave()

    def _new_run(self, *, wait: bool) -> Run:
        """A run; `_leave` has to be called when it has ended. Raises StateError. Without cgroups, ``wait`` for another
        run."""
        number = self._enter()
        held = ExitStack()
        try:
            if not self._container.grouped:
                if not self._alone.acquire(blocking=wait):
                    raise StateError(f"a program is running in {self.name}: without cgroups there can be one at a time")
                held.callback(self._alone.release)
        except BaseException:
            self._leave()
            raise
        return self._run_of(number, held)

    def _run_of(self, number: int, held: ExitStack | None = None) -> Run:
        container = self._container
        run = Run(number, container.entrance, container.subgroup(f"run-{number}"), self._kill_all,
                  lambda: self._closed or self._saved, held or ExitStack())
        if container.entrance.adopts:
            self._programs.add(run)
        return run

    def read(self, path: AnyPath, *, limit: int | str = READ_LIMIT) -> bytes:
        """The bytes of a regular file, by its absolute path in the sandbox. Raises SandboxFileError: no such file, not
        a regular file, a symbolic link in the path, more than ``limit`` bytes."""
        return bytes(self._on_files(files.read, path_of("path", path), size("limit", limit)))

    def write(self, path: AnyPath, data: bytes | str, *, mode: int = 0o644) -> None:
        """Create or replace a file that belongs to the sandbox's user; missing directories are created. Raises
        SandboxFileError: a symbolic link in the path, no space left."""
        uid, gid = self._container.user
        with self._writing:
            self._on_files(partial(files.write, mode=mode, uid=uid, gid=gid), path_of("path", path),
                           bytes_of(data))

    @told("use files of a sandbox")
    def _on_files(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of `files` where the sandbox's users are known."""
        self._enter()
        try:
            root = self._container.entrance.root
            return function(root, *args) if os.geteuid() == 0 else call(function, *args, fds=[root])
        finally:
            self._leave()

    # ---- the present files ----------------------------------------------------------------------

    @told("compare the files of a sandbox")
    def diff(self) -> list[tuple[str, str]]:
        """The changed files, sorted: "A" (added), "C" (changed) or "D" (deleted), and the path. /work is included, /tmp
        and /dev/shm are not. Raises StateError for a sandbox of the host's own system."""
        from pyruntime.sandbox import snapshot  # lazy: few programs compare, and none at once

        with self._still() as container:
            snapshot.require_layers(container.prepared)
            return list(call(snapshot.list_changes, container.prepared, base=container.namespace))

    @told("make an image of a sandbox")
    def commit(self, name: str = "", *, store: ImageStore | None = None,
               config: Mapping[str, Any] | None = None) -> str:
        """Create an image of the present files, without /tmp and /dev/shm, on top of the sandbox's image; its ID.

        ``name``    of the image; "": none
        ``store``   where; by default that of the sandbox's image, or the default one
        ``config``  members of the image's configuration, as {"Cmd": ["serve"]}

        Raises StateError for a sandbox of the host's own system, ImageError, HostError.
        """
        # lazy: few programs make images, and none at once
        from pyruntime.images.api import ImageStore
        from pyruntime.sandbox import snapshot

        with self._still() as container:
            prepared = container.prepared
            snapshot.require_layers(prepared)
            place = store.store.root if store else prepared.image.root if prepared.image else ImageStore().store.root
            return str(call(snapshot.commit, prepared, place, name, dict(config or {}), base=container.namespace))

    @told("copy a sandbox")
    def fork(self, **options: Any) -> Sandbox:
        """Another sandbox, with a copy of the present files, but not of the processes. ``options`` are those of
        Sandbox, and replace this sandbox's. Raises what Sandbox raises, and HostError if the files do not fit."""
        with self._still() as container:
            return Sandbox(ForkSource(container.prepared, container.namespace), **{**self._options, **options})

    @told("save a sandbox")
    def checkpoint(self, path: AnyPath, *, leave_running: bool = False) -> None:
        """Save the running programs with their memory, and the files, in the new directory ``path``, for `restore`;
        then close the sandbox, unless ``leave_running``. The root filesystem and the host's mounts are not saved: they
        have to be there unchanged for the restore.

        Raises StateError if the sandbox is not checkpointable, or a program has a file of a writable mount open,
        UsageError if the path exists, HostError without CRIU, CriuError if it cannot save the programs; then they go
        on, and nothing is written."""
        from pyruntime.sandbox.checkpoint import save  # lazy: few sandboxes are saved

        self._enter()
        try:
            if not self._container.entrance.adopts:
                raise StateError(f"{self.name} cannot be saved: make it with checkpointable=True")
            with self._writing:
                if self._saved:
                    raise StateError(f"{self.name} has ended with another checkpoint")
                self._saved = not leave_running
                try:
                    runs = sorted((run for run in self._programs if run.pid), key=lambda run: run.number)
                    save(self._container, path, self._options, runs, number=self._number, last=not leave_running)
                except BaseException:
                    self._saved = False
                    raise
        finally:
            self._leave()
        if not leave_running:
            self.close()

    @contextmanager
    def _still(self) -> Iterator[SandboxContainer]:
        """The container, whose files neither `write` nor, if there is a freezer, its processes change meanwhile."""
        self._enter()
        try:
            with self._writing, self._container.still():
                yield self._container
        finally:
            self._leave()

    # ---- the end --------------------------------------------------------------------------------

    @told("remove a sandbox")
    def close(self) -> None:
        """End the sandbox with everything in it, so that nothing is left; runs of other threads return with the reason
        "cancelled". May be called more than once. Raises StateError if a process does not die."""
        if os.getpid() != self._owner:
            return   # in a child of the owner (fork): it is the owner's sandbox
        with self._idle:
            if self._closed:
                self._idle.wait_for(lambda: self._gone)
                return
            self._closed = True
            waiting, self._waiting = self._waiting, None
        try:
            if waiting is not None:
                waiting.close()
                self._leave()
            self._container.end()
            with self._idle:
                # A pid namespace ends when its last process has been reaped: those of runs are reaped by their threads.
                self._idle.wait_for(lambda: self._runs == 0)
            for process in self.processes:
                process.close()
            with self._at_end:
                self._container.remove()
        finally:
            with self._idle:
                self._gone = True
                self._idle.notify_all()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_container"):   # created
            self.close()

    def __repr__(self) -> str:
        return f"<Sandbox {self.name}{', closed' if self._closed else ''}>"

    def _enter(self, number: int = 0) -> int:
        """Keep the sandbox until `_leave`; the number of the run, a new one unless it is given."""
        with self._idle:
            if self._closed or os.getpid() != self._owner:
                why = "belongs to another process: make one after the fork" if not self._closed else "is closed"
                raise StateError(f"{self.name} {why}")
            self._runs += 1
            self._number += not number
            return number or self._number

    def _leave(self) -> None:
        with self._idle:
            self._runs -= 1
            self._idle.notify_all()

    def _kill_all(self) -> None:
        try:
            self._container.kill_all()
        except OSError:
            if not self._closed:
                raise


@atexit.register
def _at_exit() -> None:
    for box in list(_living):
        box.close()
    if os.geteuid():
        from pyruntime.sandbox.helper import end_helper  # lazy: only without root

        end_helper()
