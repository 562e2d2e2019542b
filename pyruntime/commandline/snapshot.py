"""Snapshots: the memory of an interpreter that has imported a command's modules, in a file.

A restored process (native/front/restore.c) begins where the interpreter was when its snapshot was taken: within `take`.
That takes 1 ms; starting the interpreter and importing the modules of a command takes 15 to 25
(docs/decisions/0024-snapshots.md).

``take``   in an interpreter of its own: import, and write the file. In a restored process, run the command.
``write``  run ``take``, and try what it has written
``renew``  write the snapshot again, if the front could not restore the command because something has changed

``_adopt`` replaces the state that restored processes must not share. A module that holds other such state (of a random
generator, of threads) must not be imported before the snapshot is taken.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import os
import sys
import time
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper

from pyruntime.commandline.modules import load
from pyruntime.system.installed import PACKAGE
from pyruntime.system.locks import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

    from pyruntime.commandline.program import Program

NOT_BEFORE = ("_random", "_ssl", "threading")
SECONDS = 30   # for taking and trying, together 0.2 s on an idle machine
ROUNDS = 10   # of a rehearsal; after 8 calls the interpreter begins to adapt a function
ATTEMPTS = 2   # an address is taken in one process of 30,000; a source can change meanwhile
PATIENCE = 24 * 3600   # s, before the next attempt after a failure
MACHINES = ("x86_64",)   # as uname(2) names them: those that native/snapshot knows; elsewhere, interpreters are started
SMALLEST = 256 * 1024   # bytes; what is smaller only says that there was a failure (SNAPSHOT_LIMIT)


def take(program: Program, file: str, usable: bool) -> NoReturn:
    """Write a snapshot of a program with all its commands into a new directory, which was made before this process
    started: its time tells which sources have changed since. The process ends with exit status 0, or 1 after printing
    what is missing; each restored process ends as its command."""
    from pyruntime.commandline.program import leave  # lazy: only in an interpreter that becomes a snapshot
    from pyruntime.commandline.touched import touched  # lazy: as above
    from pyruntime.native import _kernel  # type: ignore[attr-defined]  # lazy: as above
    from pyruntime.system import processes  # lazy: as above

    program.load_all()
    rehearsal = load(program.rehearsal) if program.rehearsal and usable else None
    place = f"{file}.rehearsal"
    if rehearsal:
        os.mkdir(place)
        for _ in range(ROUNDS):
            rehearsal.rehearse(place)
    processes.remember_interpreter()
    early = [module for module in NOT_BEFORE if module in sys.modules]
    if early:
        _give_up(f"{', '.join(early)}: imported by a command of {program.name}")
    ffi, library = _kernel.ffi, _kernel.lib
    sources = [ffi.new("char[]", os.fsencode(source)) for source in sorted(_sources())]
    array = ffi.new("char *[]", [*sources, ffi.NULL])
    _use_streams()
    _use_default_signals()
    began = os.stat(os.path.dirname(file)).st_mtime_ns
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    os.fchmod(out, 0o644)   # for all users, whatever the umask of the installation
    gc.collect()
    gc.freeze()   # a collection would touch, and so copy, all pages of the snapshot
    pages = touched(lambda: rehearsal.rehearse(place)) if rehearsal else b""
    if rehearsal:
        os.rmdir(place)
    result = library.snapshot_take(out, array, usable, began, pages, len(pages))
    if result == 1:
        _adopt(ffi, library)
        leave(program.main())
    if result < 0:
        _give_up(os.fsdecode(ffi.string(library.snapshot_problem())))
    os._exit(0)


def _give_up(problem: str) -> NoReturn:
    os.write(2, f"{problem}\n".encode())
    os._exit(1)


def _sources() -> Iterator[str]:
    """The files of the imported modules that are not the interpreter's own: those change with its program."""
    library = os.path.dirname(os.__file__) + os.sep
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and (not file.startswith(library) or "-packages" in file):
            yield file


def _use_streams() -> None:
    """Make standard streams that do not depend on this process's descriptors."""
    def output(descriptor: int, errors: str) -> TextIOWrapper:
        return TextIOWrapper(BufferedWriter(FileIO(descriptor, "w", closefd=False)), "utf-8", errors, "\n",
                             line_buffering=descriptor == 2)

    sys.stdin = TextIOWrapper(BufferedReader(FileIO(0, closefd=False)), "utf-8", "surrogateescape", "\n")
    sys.stdout = output(1, "surrogateescape")
    sys.stderr = output(2, "backslashreplace")


def _use_default_signals() -> None:
    """Forget that our caller ignores signals (nohup): it is not the caller of a restored process."""
    for signal in _signal.valid_signals():
        if _signal.getsignal(signal) == _signal.SIG_IGN:
            _signal.signal(signal, _signal.SIG_DFL)


def _adopt(ffi: Any, library: Any) -> None:
    """Make the process that was restored its own: command line, environment, standard streams and signals, as the
    interpreter does when it starts."""
    sys.argv[:] = map(os.fsdecode, _strings(ffi, library.snapshot_arguments()))
    # What os.environ holds (bytes), without calling putenv: the C library's environment is right already.
    known: dict[bytes, bytes] = os.environ._data   # type: ignore[attr-defined]
    known.clear()
    for text in reversed(_strings(ffi, library.snapshot_environment())):   # of two equal names, the first counts
        variable, sign, value = text.partition(b"=")
        if variable and sign:
            known[variable] = value
    time.tzset()   # TZ, or /etc/localtime, which may have changed
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:   # closed by our caller
            setattr(sys, name, None)
    if sys.stdout and os.isatty(1):
        sys.stdout.reconfigure(line_buffering=True)   # type: ignore[union-attr]
    ignored = library.snapshot_ignored()
    if ignored:
        for signal in range(1, 65):
            if ignored >> signal % 64 & 1:
                _signal.signal(signal, _signal.SIG_IGN)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_IGN)
    if not ignored >> _signal.SIGINT & 1:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _strings(ffi: Any, array: Any) -> list[bytes]:
    """The texts of a list that ends with NULL."""
    texts: list[bytes] = []
    while text := array[len(texts)]:   # false: NULL
        texts.append(ffi.string(text))
    return texts


def write(name: str, file: str) -> str:
    """Take a snapshot and try it: a process that is restored has to print the program's version. If that fails, the
    file only says so: there is no other attempt until something changes, or a day has passed. Returns the reason, or
    ""."""
    import shutil  # lazy: only when a snapshot is written

    machine = os.uname().machine
    if machine not in MACHINES:
        return f"there are none on {machine}"
    place = f"{file}.new"
    directory = os.open(os.path.dirname(file), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        hold(directory, wait=False)
        shutil.rmtree(place, ignore_errors=True)   # of a process that was killed
        try:
            return _write(name, file, place)
        finally:
            shutil.rmtree(place)
    except BlockingIOError:
        return ""   # another process is writing here
    finally:
        os.close(directory)


def _write(name: str, file: str, place: str) -> str:
    """The same, by way of a directory of our own. It looks like an installation to the front: bin/NAME,
    libexec/NAME.snapshot."""
    import shutil  # lazy: as above

    taken = f"{place}/libexec/{name}.snapshot"
    os.makedirs(f"{place}/bin")
    shutil.copy2(f"{PACKAGE}/native/front/front", f"{place}/bin/{name}")
    for _ in range(ATTEMPTS):
        os.mkdir(f"{place}/libexec")
        problem = _run(*_taking(name, taken, "usable")) or _run(f"{place}/bin/{name}", "--version", prints=name)
        if not problem:
            break
        shutil.rmtree(f"{place}/libexec")
    else:
        os.mkdir(f"{place}/libexec")
        if _run(*_taking(name, taken, "unusable")):
            open(taken, "xb").close()   # not even that is possible here
    os.rename(taken, file)
    return problem


def _taking(name: str, file: str, usable: str) -> list[str]:
    from pyruntime.system.processes import own_program  # lazy: only when a snapshot is written

    return [*own_program("commandline/__main__.py"), "snapshot", name, file, usable]


def _run(*words: str, prints: str = "") -> str:
    """Run a program without an environment; return why it failed, or "". Our caller may ignore SIGCHLD: then all exit
    statuses are 0 (subprocess), so that only what a program ``prints`` first tells that it has succeeded."""
    import subprocess  # lazy: only when a snapshot is written

    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, env={}, timeout=SECONDS,
                              check=False)
    except subprocess.TimeoutExpired:
        return f"{words[0]}: still running after {SECONDS} s"
    if done.returncode == 0 and done.stdout.startswith(prints.encode()):
        return ""
    return done.stderr.decode(errors="replace").strip() or f"{words[0]}: exit status {done.returncode}"


def renew(name: str, file: str) -> None:
    """Write the snapshot again if something has changed since, and if we may."""
    if os.environ.get("PYRUNTIME_SNAPSHOT") == "off":
        return
    # lazy: 3 ms, and only for a command that was not restored
    from pyruntime.native import _kernel  # type: ignore[attr-defined]

    if os.path.exists(file):
        current = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(current)
            again = found.st_size < SMALLEST and time.time() - found.st_mtime > PATIENCE
            if _kernel.lib.snapshot_is_current(current) and not again:
                return   # the front has tried: an address was taken, or the kernel refused
        finally:
            os.close(current)
    try:
        os.makedirs(os.path.dirname(file), exist_ok=True)
        if os.access(os.path.dirname(file), os.W_OK):
            write(name, file)
    except OSError:   # a full or read-only disk, for example: the command is only slower
        return
