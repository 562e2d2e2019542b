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
import shutil
import socket
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace as replace_fields
from errno import EAGAIN, EINVAL, ENOMEM, ENOSPC, ERANGE
from threading import Condition, Lock
from weakref import WeakSet

from pyruntime.errors import HostError, PyruntimeError, StateError, StepError, UsageError
from pyruntime.runtime.api import ID_MARK
from pyruntime.sandbox import files
from pyruntime.sandbox.configuration import WRITABLE, configuration, preparation
from pyruntime.sandbox.interpreter import Interpreter
from pyruntime.sandbox.leftovers import PLACE, files_of, new_name, prune, runtime
from pyruntime.sandbox.limits import BY_CGROUPS, Limits, limits_of, size
from pyruntime.sandbox.pipes import DEVNULL, PIPE, STDOUT, ProgramStreams
from pyruntime.sandbox.private_mounts import bounded_files, in_private_mounts
from pyruntime.sandbox.process import OutputStream, Process
from pyruntime.sandbox.result import Done, Usage
from pyruntime.sandbox.run import Run, carry_out
from pyruntime.sandbox.sources import (
    HOST_PATHS,
    ForkSource,
    HostMount,
    HostSource,
    Prepared,
    RootSource,
    source_of,
    writable_directory,
)
from pyruntime.system.files import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Any

    from pyruntime.images.api import ImageStore
    from pyruntime.images.progress import Progress
    from pyruntime.sandbox.network import SandboxNetwork
    from pyruntime.sandbox.pipes import Stream

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Done", "HostMount", "Limits", "OutputStream", "Process", "Sandbox", "Usage",
           "prune", "run_sandboxed"]

_NOBODY = 65534
_REFUSED = (EINVAL, ERANGE, EAGAIN, ENOMEM, ENOSPC)
_ROOT = (0, 0)
OUTPUT_LIMIT = "1m"
READ_LIMIT = "64m"
_living: WeakSet[Sandbox] = WeakSet()
_controls: WeakSet[socket.socket] = WeakSet()   # also of sandboxes that are being made
_pruned = Lock()   # held from the first use on


class Sandbox:
    """A throw-away container for programs that are not trusted, from the call of the constructor until ``close``.

    ``root``    an image reference (pulled if it is missing), or the path of a bundle or of a root filesystem, which is
                not changed; `Sandbox.host` uses the host's own system
    ``limits``  see Limits
    ``mounts``  files and directories of the host, read-only unless said otherwise
    ``env``     variables, in addition to the image's
    ``cwd``     the working directory of runs; by default the image's, or /work
    ``user``    uid, or uid and gid, of everything in the sandbox; without root always this program's user, who is
                root there
    ``writable``  whether programs may write everywhere (to a copy), and not only below /work, /tmp and /dev/shm
    ``network``  a network of `pocker network create`, or "default" for pocker's default one; None: no network
    ``seccomp``  a filter (config-linux.md#seccomp) instead of the default one
    ``devices``  paths of the host's devices that programs may use, as "/dev/fuse"
    ``interpreter``  a Python, as "python3", that is started at once and waits for `python`; "": none
    ``require_limits``  raise HostError if limits cannot be enforced, instead of doing without
    ``store``, ``progress``  for an image: the store that holds it, and what is called with the progress of a pull

    Programs have no capabilities, no way to new privileges, the default seccomp filter, and pid, mount, network, ipc
    and uts namespaces of their own. When this program ends, however it ends, the sandbox ends with it.

    ``name``    of the sandbox and its cgroup, and in its network
    ``addresses``  its IP addresses in a network
    ``unenforced``  the limits that this host cannot enforce; empty with all controllers of cgroups
    """

    def __init__(self, root: str | os.PathLike[str] | RootSource, *, limits: Limits | None = None,
                 mounts: Sequence[HostMount] = (), env: Mapping[str, str] | None = None, cwd: str = "",
                 user: int | tuple[int, int] = _NOBODY, writable: bool = False, network: str | None = None,
                 seccomp: Mapping[str, Any] | None = None, devices: Sequence[str] = (), interpreter: str = "",
                 require_limits: bool = False, store: ImageStore | None = None,
                 progress: Progress | None = None) -> None:
        """Raises HostError, UsageError, ConfigError, ImageError, StepError; after an error nothing is left."""
        self.limits = limits or Limits()
        self._privileged = os.geteuid() == 0
        self.name = new_name()
        self.unenforced: tuple[str, ...] = ()
        self._grouped = True   # whether there are cgroups
        self._user = _ROOT if not self._privileged else (user, user) if isinstance(user, int) else user
        self._env = dict(env or {})
        self._cwd = cwd
        self._writable = writable
        self._seccomp = seccomp
        self._devices = devices
        self.addresses: tuple[str, ...] = ()
        self._options = {"limits": limits, "mounts": mounts, "env": env, "cwd": cwd, "user": user, "writable": writable,
                         "network": network, "seccomp": seccomp, "devices": devices, "interpreter": interpreter,
                         "require_limits": require_limits}
        self._held = ExitStack()
        self._owner = os.getpid()
        self._idle = Condition()
        self._runs = 0
        self._number = 0
        self._closed = self._gone = False
        self._stilling = Lock()
        self._paused = False
        self._alone = Lock()   # without cgroups, runs cannot be told apart
        if _pruned.acquire(blocking=False):
            prune()
        source = self._source = root if isinstance(root, RootSource) else source_of(root, store, progress)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        _controls.add(self._control)
        silence = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        streams = theirs.fileno(), silence, silence
        self._network: SandboxNetwork | None = None
        self._waiting: Interpreter | None = None
        try:
            if network:
                self._join(network)
            if self._privileged:
                in_private_mounts(lambda: self._prepare(source, mounts, streams, require_limits=require_limits),
                                  source.namespace)
            else:
                self._prepare_unprivileged(source, mounts, streams, require_limits=require_limits)
        except BaseException:
            self._control.close()
            self._held.close()
            raise
        finally:
            theirs.close()
            os.close(silence)
        _living.add(self)
        if interpreter and self._grouped:
            try:
                self._waiting = self._interpreter(interpreter)
            except BaseException:
                self.close()
                raise

    def _interpreter(self, program: str) -> Interpreter:
        run = self._new_run(wait=True)
        try:
            return Interpreter(run, program, self._cwd)
        except BaseException:
            self._leave()
            raise

    @property
    def alive(self) -> bool:
        """Whether programs can be run: it is not closed, and its init has not been killed."""
        with self._idle:
            return not self._closed and os.getpid() == self._owner and self._entrance.alive

    def at_end(self, call: Callable[[], None]) -> None:
        """Call this when the sandbox has been closed and nothing of it is left."""
        self._held.callback(call)

    @classmethod
    def host(cls, paths: Sequence[str] = HOST_PATHS, *, limits: Limits | None = None, mounts: Sequence[HostMount] = (),
             env: Mapping[str, str] | None = None, cwd: str = "", user: int | tuple[int, int] = _NOBODY,
             network: str | None = None, seccomp: Mapping[str, Any] | None = None, devices: Sequence[str] = (),
             require_limits: bool = False) -> Sandbox:
        """A sandbox without an image: these paths of the host, read-only, and /bin, /sbin, /lib, /lib64 as there."""
        return cls(HostSource(paths), limits=limits, mounts=mounts, env=env, cwd=cwd, user=user, network=network,
                   seccomp=seccomp, devices=devices, require_limits=require_limits)

    def _join(self, network: str) -> None:
        if not self._privileged:
            raise HostError(f'network "{network}": networks need root; without it, a sandbox has none')
        from pyruntime.sandbox.network import SandboxNetwork  # lazy: few sandboxes have a network

        self._network = SandboxNetwork(self.name, network)
        self._held.callback(self._network.leave)
        self.addresses = self._network.addresses

    def _prepare_unprivileged(self, source: RootSource, mounts: Sequence[HostMount], streams: Sequence[int], *,
                              require_limits: bool) -> None:
        """A process with threads cannot enter a user namespace: everything is mounted in the container's own."""
        if self._writable:
            raise HostError("writable=True needs root: without it, programs can write to /work, /tmp and /dev/shm")
        if self._devices:
            raise HostError(f'devices: "{self._devices[0]}": needs root, who can make device nodes')
        scratch = files_of(self.name)
        os.makedirs(scratch, 0o700)
        self._held.callback(shutil.rmtree, scratch)
        prepared = source.prepare_unprivileged(scratch)
        self._namespace = -1
        self._create(prepared, scratch, mounts, streams, require_limits=require_limits)

    def _prepare(self, source: RootSource, mounts: Sequence[HostMount], streams: Sequence[int], *,
                 require_limits: bool) -> None:
        scratch = f"{PLACE}/mount"   # in every sandbox's own mount namespace
        source.enter(scratch)
        bounded_files(scratch, self.limits.bytes_of_disk())
        for name, _, mode in WRITABLE:
            writable_directory(f"{scratch}/{name}", mode, self._user)
        prepared = source.prepare(scratch, self._user)
        self._held.push(prepared.held)
        prepared.work = prepared.work or f"{scratch}/w"
        self._namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._held.callback(self._leave_namespace)
        self._create(prepared, scratch, mounts, streams, require_limits=require_limits)

    def _leave_namespace(self) -> None:
        namespace, self._namespace = self._namespace, -1
        if namespace >= 0:
            os.close(namespace)

    def _create(self, prepared: Prepared, scratch: str, mounts: Sequence[HostMount], streams: Sequence[int], *,
                require_limits: bool) -> None:
        if self._network:
            replace(f"{scratch}/resolv.conf", self._network.resolv_conf.encode(), mode=0o644)
            mounts = [*mounts, HostMount(f"{scratch}/resolv.conf", "/etc/resolv.conf")]
        self._prepared = prepared
        self._cwd = self._cwd or prepared.cwd or "/work"
        swap, uncounted = _swap()
        if uncounted and self.limits.memory is not None:
            if require_limits:
                raise HostError("limits cannot be enforced: the host has swap, which its cgroups do not count: boot"
                                " with swapaccount=1, or leave out require_limits")
            self.unenforced = ("swap",)
        while True:
            document = configuration(prepared, self.limits, scratch=scratch, mounts=mounts, user=self._user,
                                     env=self._env, writable=self._writable, swap=swap,
                                     seccomp=self._seccomp, devices=self._devices, without=self.unenforced,
                                     cgroup="" if not self._grouped else f"/{ID_MARK}" if self._privileged else ID_MARK,
                                     owner=None if self._privileged else (os.geteuid(), os.getegid()))
            self._runtime = runtime(cgroups=self._grouped)
            try:
                self._entrance = self._runtime.create_prepared(
                    self.name, preparation(self._runtime, document, scratch), streams=streams)
                break
            except (HostError, StepError) as error:
                self._do_without(error, require_limits=require_limits)
        if self._network:
            try:
                self._network.enter(self._entrance.pid)
            except BaseException:
                self._entrance.close()
                self._runtime.delete(self.name, force=True)
                del self._entrance
                raise

    def _do_without(self, error: HostError | StepError, *, require_limits: bool) -> None:
        """Give up the limits of a controller that the host lacks, or all cgroups; raise any other error."""
        # A value that the kernel refuses, or cannot grant now, is not a host without cgroups.
        if not self._grouped or "cgroup" not in f"{getattr(error, 'step', '')} {error.where} {error}" or (
                getattr(error, "errno", 0) in _REFUSED):
            raise error
        if require_limits:
            raise HostError(f"limits cannot be enforced: {error}: delegate a cgroup to this program, or leave out"
                            " require_limits") from None
        limits = limits_of(error.where)
        if isinstance(error, HostError) and limits and not set(limits) <= set(self.unenforced):
            self.unenforced = tuple(dict.fromkeys((*self.unenforced, *limits)))
        else:
            self.unenforced, self._grouped = BY_CGROUPS, False

    # ---- use ------------------------------------------------------------------------------------

    def run(self, argv: Sequence[str], *, input: bytes | str | None = None, timeout: float | None = None,
            check: bool = False, text: bool = False, env: Mapping[str, str] | None = None, cwd: str = "",
            max_output: int | str = OUTPUT_LIMIT, output_kills: bool = False) -> Done:
        """Run a program and wait for it, as subprocess.run does; then all its descendants are killed, and only those.

        ``input``       what it reads; None: nothing
        ``timeout``     seconds; then it is killed. None: ``limits.wall``
        ``check``       raise RunFailed unless it exits with status 0
        ``text``        decode the output as UTF-8, with replacement characters
        ``env``         its variables, instead of the sandbox's
        ``max_output``  bytes that are kept of each stream; the rest is read and dropped, so that the program goes on
        ``output_kills``  kill it instead, when a stream has more than that

        Raises StateError if the sandbox is closed, and StepError if the program cannot be executed.
        """
        done = self.run_until(-1, argv, input=input, timeout=timeout, env=env, cwd=cwd, max_output=max_output,
                              output_kills=output_kills)
        return finished(done, text=text, check=check)

    def python(self, code: str, *, program: str = "", input: bytes | str | None = None, timeout: float | None = None,
               check: bool = False, text: bool = False, max_output: int | str = OUTPUT_LIMIT,
               output_kills: bool = False) -> Done:
        """Run Python code. The interpreter of ``interpreter=`` executes the first one, in the 10 ms and more that its
        start takes less; another is started for each later one. ``program``: the interpreter for these, by default
        that of ``interpreter=``, or python3. The others are as for `run`."""
        return finished(self.python_until(-1, code, program=program, input=input, timeout=timeout,
                                          max_output=max_output, output_kills=output_kills), text=text, check=check)

    def python_until(self, stop: int, code: str, *, program: str, input: bytes | str | None, timeout: float | None,
                     max_output: int | str, output_kills: bool) -> Done:
        """As `python`, until the descriptor ``stop`` is readable (-1: none): then the reason is "cancelled"."""
        limit = size("max_output", max_output)
        data = input.encode() if isinstance(input, str) else input or b""
        with self._idle:
            waiting, self._waiting = self._waiting, None
        if waiting is not None and (program or not waiting.alive):
            waiting.close()
            self._leave()
            waiting = None
        interpreter = waiting or self._interpreter(program or str(self._options["interpreter"] or "python3"))
        try:
            return interpreter.execute(code.encode(), data, limit=limit, output_kills=output_kills, stop=stop,
                                       seconds=self.limits.wall if timeout is None else timeout)
        finally:
            interpreter.close()
            self._leave()

    def popen(self, argv: Sequence[str], *, stdin: Stream = DEVNULL, stdout: Stream = PIPE, stderr: Stream = PIPE,
              timeout: float | None = None, text: bool = False, env: Mapping[str, str] | None = None, cwd: str = "",
              terminal: bool = False, size: tuple[int, int] = (24, 80)) -> Process:
        """Start a program, as subprocess.Popen does, and return while it runs.

        ``stdin``, ``stdout``, ``stderr``  PIPE, DEVNULL, a descriptor or a file of this process; ``stderr`` also STDOUT
        ``timeout``   seconds; then it is killed. None: ``limits.wall``
        ``terminal``  give it a terminal instead, with ``size`` rows and columns

        The others are as for `run`, and so are the errors; without cgroups, StateError if another program is running.
        """
        words, variables = _words(argv), _variables(env)
        streams = None if terminal else ProgramStreams(stdin, stdout, stderr)
        try:
            run = self._new_run(wait=False)
        except BaseException:
            if streams:
                streams.close()
            raise
        process = Process(run, words, seconds=self.limits.wall if timeout is None else timeout, left=self._leave)
        process.start(variables, cwd or self._cwd, streams, text=text, window=size)
        return process

    def stream(self, argv: Sequence[str], *, input: bytes | str | None = None, timeout: float | None = None,
               check: bool = False, text: bool = False, env: Mapping[str, str] | None = None, cwd: str = ""
               ) -> OutputStream:
        """Start a program, and return an iterator of its output: pairs of "stdout" or "stderr" and the bytes (or the
        text). It has ``done`` at its end, `close`, and is a context manager. The parameters are those of `run`."""
        data = input.encode() if isinstance(input, str) else input
        process = self.popen(argv, stdin=DEVNULL if data is None else PIPE, timeout=timeout, env=env, cwd=cwd)
        return OutputStream(process, data or b"", text=text, check=check)

    def run_until(self, stop: int, argv: Sequence[str], *, input: bytes | str | None, timeout: float | None,
                  env: Mapping[str, str] | None, cwd: str, max_output: int | str, output_kills: bool) -> Done:
        """As `run`, until the descriptor ``stop`` is readable (-1: none): then the reason is "cancelled"."""
        words, variables, limit = _words(argv), _variables(env), size("max_output", max_output)
        data = input.encode() if isinstance(input, str) else input
        run = self._new_run(wait=True)
        try:
            return carry_out(run, words, variables, cwd or self._cwd, data,
                             seconds=self.limits.wall if timeout is None else timeout, limit=limit,
                             output_kills=output_kills, stop=stop)
        finally:
            self._leave()

    def _new_run(self, *, wait: bool) -> Run:
        """A run; `_leave` has to be called when it has ended. Raises StateError. Without cgroups, ``wait`` for another
        run."""
        number = self._enter()
        held, group = ExitStack(), None
        try:
            if self._grouped:
                group = self._entrance.subgroup(f"run-{number}")
            elif self._alone.acquire(blocking=wait):
                held.callback(self._alone.release)
            else:
                raise StateError(f"a program is running in {self.name}: without cgroups there can be one at a time")
        except BaseException:
            self._leave()
            raise
        return Run(self._entrance, group, self._kill_all, lambda: self._closed, held)

    def read(self, path: str, *, limit: int | str = READ_LIMIT) -> bytes:
        """The bytes of a regular file, by its absolute path in the sandbox. Raises SandboxFileError: no such file, not
        a regular file, a symbolic link in the path, more than ``limit`` bytes."""
        self._enter()
        try:
            return files.read(self._entrance.root, path, size("limit", limit))
        finally:
            self._leave()

    def write(self, path: str, data: bytes | str, *, mode: int = 0o644) -> None:
        """Create or replace a file that belongs to the sandbox's user; missing directories are created. Raises
        SandboxFileError: a symbolic link in the path, no space left."""
        self._enter()
        try:
            uid, gid = self._user if self._privileged else (os.geteuid(), os.getegid())
            files.write(self._entrance.root, path, data.encode() if isinstance(data, str) else data, mode=mode,
                        uid=uid, gid=gid)
        finally:
            self._leave()

    # ---- the present files ----------------------------------------------------------------------

    def diff(self) -> list[tuple[str, str]]:
        """What has changed: "A" (added), "C" (changed) or "D" (deleted) and the path, sorted; what is in /work counts,
        /tmp and /dev/shm do not. Raises StateError for a sandbox of the host's own system."""
        from pyruntime.sandbox import snapshot  # lazy: few programs compare, and none at once

        found: list[tuple[str, str]] = []
        with self._still():
            snapshot.require_layers(self._prepared)
            in_private_mounts(lambda: found.extend(snapshot.list_changes(self._prepared)), self._namespace)
        return found

    def commit(self, name: str = "", *, store: ImageStore | None = None,
               config: Mapping[str, Any] | None = None) -> str:
        """Create an image of the present files, without /tmp and /dev/shm; its ID. The sandbox's image is below it.

        ``name``    of the image; "": none
        ``store``   where; by default that of the sandbox's image, or the default one
        ``config``  members of the image's configuration, as {"Cmd": ["serve"]}

        Raises StateError for a sandbox of the host's own system, ImageError, HostError.
        """
        # lazy: few programs make images, and none at once
        from pyruntime.images.api import ImageStore
        from pyruntime.sandbox import snapshot

        made: list[str] = []
        with self._still():
            snapshot.require_layers(self._prepared)
            place = store or self._prepared.store or ImageStore()
            in_private_mounts(lambda: made.append(snapshot.commit(self._prepared, place, name, dict(config or {}))),
                              self._namespace)
        return made[0]

    def fork(self, **options: Any) -> Sandbox:
        """Another sandbox, with a copy of the present files; processes are not copied. ``options`` are those of
        Sandbox, instead of this sandbox's. Raises what Sandbox raises, and HostError if the files do not fit."""
        with self._still():
            origin = self._source.origin if isinstance(self._source, ForkSource) else self._source
            return Sandbox(ForkSource(origin, self._prepared, self._namespace), **{**self._options, **options})

    @contextmanager
    def _still(self) -> Iterator[None]:
        """No process of the sandbox changes files meanwhile, if there is a freezer. Raises HostError without root."""
        if not self._privileged:
            raise HostError("diff, commit and fork need root")
        self._enter()
        try:
            if not self._grouped:
                yield
                return
            with self._stilling:
                self._paused = True
                self._runtime.pause(self.name)
                try:
                    yield
                finally:
                    self._runtime.resume(self.name)
                    self._paused = False
        finally:
            self._leave()

    # ---- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """End the sandbox with everything in it; runs of other threads return with the reason "cancelled". Nothing is
        left. May be called more than once. Raises StateError if a process does not die."""
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
            self._control.close()   # init ends, and with it the pid namespace
            with self._idle:
                # A pid namespace ends when its last process has been reaped: those of runs are reaped by their threads.
                self._idle.wait_for(lambda: self._runs == 0)
            if self._paused:   # `_still` has failed, and frozen processes do not die
                self._runtime.resume(self.name)
            self._entrance.close()
            with suppress(ChildProcessError):   # another part of this program waits for all children
                os.waitpid(self._entrance.pid, 0)
            self._runtime.delete(self.name, force=True)
            self._held.close()
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
        if hasattr(self, "_entrance"):   # created
            self.close()

    def __repr__(self) -> str:
        return f"<Sandbox {self.name}{', closed' if self._closed else ''}>"

    def _enter(self) -> int:
        with self._idle:
            if self._closed or os.getpid() != self._owner:
                why = "belongs to another process: make one after the fork" if not self._closed else "is closed"
                raise StateError(f"{self.name} {why}")
            self._runs += 1
            self._number += 1
            return self._number

    def _leave(self) -> None:
        with self._idle:
            self._runs -= 1
            self._idle.notify_all()

    def _kill_all(self) -> None:
        """Let init kill all processes but itself."""
        try:
            self._control.sendall(b"k")
            self._control.recv(1)
        except OSError:
            if not self._closed:
                raise


def run_sandboxed(code: str | Sequence[str], *, root: str | os.PathLike[str] | RootSource | None = None,
                  image: str = "", files: Mapping[str, bytes | str] | None = None, collect: Sequence[str] = (),
                  limits: Limits | None = None, input: bytes | str | None = None, timeout: float | None = None,
                  text: bool = False, max_output: int | str = OUTPUT_LIMIT, output_kills: bool = False,
                  python: str = "python3", require_limits: bool = False, store: ImageStore | None = None) -> Done:
    """Run a command, or a text of Python code, in a sandbox of its own.

    ``code``     Python source, run by ``python``; or the program and its arguments
    ``root``, ``image``  as for Sandbox; neither: the host's own system
    ``files``    files to write first: path to content; relative paths are below /work
    ``collect``  files to read afterwards, into ``Done.files``; ``Done.problems`` has the others, each with the reason

    The other parameters are those of Sandbox and Sandbox.run. Raises what they raise.
    """
    if root and image:
        raise UsageError("give root or image, not both")
    with Sandbox(root or image or HostSource(), limits=limits, require_limits=require_limits, store=store) as box:
        for path, data in (files or {}).items():
            box.write(os.path.join("/work", path), data)
        argv = [python, "/work/.code.py"] if isinstance(code, str) else code
        if isinstance(code, str):
            box.write("/work/.code.py", code)
        done = box.run(argv, input=input, timeout=timeout, text=text, max_output=max_output, output_kills=output_kills)
        found, problems = {}, {}
        for path in collect:
            try:
                found[path] = box.read(os.path.join("/work", path))
            except PyruntimeError as error:
                problems[path] = str(error)
        return replace_fields(done, files=found, problems=problems)


def finished(done: Done, *, text: bool, check: bool) -> Done:
    """The result as the caller of `Sandbox.run` wants it."""
    if text:
        done = done.decoded()
    return done.check() if check else done


def _words(argv: Sequence[str]) -> list[str]:
    if not argv or isinstance(argv, (str, bytes)):
        raise UsageError(f'argv {argv!r}: give a list of the program and its arguments')
    return [os.fsdecode(word) for word in argv]


def _variables(env: Mapping[str, str] | None) -> list[str] | None:
    return None if env is None else [f"{name}={value}" for name, value in env.items()]


def _swap() -> tuple[bool, bool]:
    """Whether the swap of a cgroup can be limited (memory.memsw.* of v1, memory.swap.max of v2), and whether there is
    swap that cannot."""
    with open("/proc/swaps", encoding="ascii") as file:
        swap = len(file.readlines()) > 1
    if not os.path.isdir("/sys/fs/cgroup/memory"):
        return swap, False
    counted = os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
    return counted, swap and not counted


def _after_fork() -> None:
    """In a child: the end of the parent must be the end of its sandboxes, and the memory of their files free then."""
    for control in list(_controls):
        control.close()
    for box in list(_living):
        box._entrance.close()
        box._leave_namespace()


@atexit.register
def _at_exit() -> None:
    for box in list(_living):
        box.close()


os.register_at_fork(after_in_child=_after_fork)
