"""linux.seccomp: the filter for all system calls of the container.

Spec:   config-linux.md#seccomp
Emits:  seccomp   (phase seal: the filter need not allow our own set-up calls)
Absent: no filter. ``flags`` absent: SPEC_ALLOW, as with runc; ``[]``: none.

libseccomp takes some milliseconds to compile a profile, and most containers of a host share a profile: the program is
cached in a directory under the digest of the profile. With a hit, neither cffi nor libseccomp is loaded.
"""

from __future__ import annotations

import os
import stat

from pyruntime.runtime.compiler.sections.seccomp_values import INSTRUCTION, MAX_INSTRUCTIONS, Filter, mistake
from pyruntime.runtime.plan.steps import NO_SLOT, step
from pyruntime.system.files import replace
from pyruntime.system.json import encode
from pyruntime.system.uapi import SECCOMP_FILTER_FLAG_NEW_LISTENER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step

MAGIC = b"pyruntime seccomp 2\n"
MAX_ENTRIES = 64          # profiles kept; the oldest go first


def compile_filter(seccomp: Node) -> Filter:
    """Compile the section with libseccomp. Raises ConfigError that names the place, HostError without libseccomp."""
    # loads cffi and libseccomp: only if the program is not cached
    from pyruntime.runtime.compiler.sections import seccomp_filter  # lazy: only for a profile that is not in the cache

    return seccomp_filter.compile_filter(seccomp)


def load(seccomp: Node, cache: str) -> Filter:
    """The filter of the section, from the directory ``cache``, or compiled and stored there.

    ``cache`` is created (mode 0700) if it does not exist; if empty, nothing is cached. A directory or an entry that
    other users can write, or a damaged entry, is not used; a cache that cannot be written is not an error.
    """
    listens = seccomp["listenerPath"].or_("") != ""
    if seccomp["listenerMetadata"] and not listens:
        raise mistake(seccomp["listenerMetadata"], "there is no listenerPath to send it to", "set listenerPath")
    path = _entry(seccomp, cache) if cache and _trusted_directory(cache) else ""
    found = _read_entry(path) if path else None
    if found is None:
        found = compile_filter(seccomp)
        if path:
            _write_entry(path, found)
    if found.listener and not listens:
        raise mistake(seccomp["listenerPath"], "SCMP_ACT_NOTIFY is used, but there is no listener to notify",
                      "set listenerPath to the socket of the seccomp agent")
    return found


def emit(setup: Setup) -> Iterator[Step]:
    """The step that loads the filter. It is compiled here, so that `create` fails if the profile does not compile."""
    seccomp = setup.config["linux.seccomp"]
    if not seccomp:
        return
    compiled = load(seccomp, setup.options.filter_cache)
    message: list[str] = []
    if compiled.listener:
        # config-linux.md#containerprocessstate, split at the pid, which the stub fills in.
        state = encode({"ociVersion": setup.config.get("ociVersion"), "fds": ["seccompFd"], "pid": 0,
                        "metadata": seccomp.get("listenerMetadata", ""), "state": setup.state_now()})
        *heads, last = state.split('"pid":0')
        message = [*(head + '"pid":' for head in heads), last]
    yield step("seal", "seccomp", seccomp.where, label=f"default {seccomp.get('defaultAction')}",
               flags=compiled.flags & ~SECCOMP_FILTER_FLAG_NEW_LISTENER, program=compiled.program,
               listener=setup.slots.index("seccomp") if compiled.listener else NO_SLOT, message=message)


# --- the cache -------------------------------------------------------------------------------------------------------

def _sha256(data: bytes) -> Any:
    # Not hashlib: loading OpenSSL would take longer than everything else here.
    try:
        # lazy: only with linux.seccomp, and hashlib would load OpenSSL
        from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            # lazy: as above
            from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore,no-redef]
        except ImportError:
            from hashlib import sha256  # lazy: as above
    return sha256(data)


def _entry(seccomp: Node, cache: str) -> str:
    # Everything that the program and the flags depend on. The path of the listener may differ between containers.
    section = {name: value for name, value in seccomp.value.items() if name not in ("listenerPath", "listenerMetadata")}
    return f"{cache}/{_sha256(repr((section, os.uname().machine)).encode('utf-8', 'surrogatepass')).hexdigest()}"


def _trusted_directory(path: str) -> bool:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        try:
            os.mkdir(path, 0o700)
        except OSError:
            return False
        status = os.lstat(path)
    return stat.S_ISDIR(status.st_mode) and _only_mine(status)


def _only_mine(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _read_entry(path: str) -> Filter | None:
    """The entry, or None if it is missing, writable by others, damaged, or from another libseccomp."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not _only_mine(status) or status.st_size > 1 << 20:
            return None
        data = os.read(descriptor, status.st_size)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return unpack(data)


def pack(compiled: Filter, library: str) -> bytes:
    """An entry: magic, digest of the rest, then four lines (flags, listener, unknown names, libseccomp's file with its
    identity) and the program. The text lines keep the reader short."""
    lines = [str(compiled.flags), str(int(compiled.listener)), " ".join(compiled.unknown), library]
    body = "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape") + compiled.program
    digest: bytes = _sha256(body).digest()
    return MAGIC + digest + body


def unpack(data: bytes) -> Filter | None:
    """Read an entry back; None unless `pack` wrote it with the host's libseccomp."""
    start = len(MAGIC) + 32
    body = data[start:]
    if not data.startswith(MAGIC) or _sha256(body).digest() != data[len(MAGIC):start]:
        return None
    try:
        flags, listener, unknown, library, program = body.split(b"\n", 4)
        if not program or len(program) % INSTRUCTION or len(program) > MAX_INSTRUCTIONS * INSTRUCTION:
            return None
        text = library.decode("utf-8", "surrogateescape")
        # An update of libseccomp may support more system calls.
        if identity(text.split(" ", 1)[-1]) != text:
            return None
        return Filter(program, int(flags), listener == b"1", tuple(unknown.decode("utf-8", "surrogateescape").split()))
    except ValueError:
        return None


def identity(path: str) -> str:
    """A file as ``mtime:size:inode path``; empty if the file does not exist."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{status.st_mtime_ns}:{status.st_size}:{status.st_ino} {path}"


def _write_entry(path: str, compiled: Filter) -> None:
    # Written under another name and renamed: a reader sees the whole entry or nothing. Not synced to disk: a damaged
    # entry is detected by its digest and costs one compilation.
    from pyruntime.runtime.compiler.sections import seccomp_filter  # lazy: only for a profile that was not in the cache

    library = identity(seccomp_filter.library_path())
    if not library:
        return
    try:
        _drop_oldest(os.path.dirname(path))
        replace(path, pack(compiled, library))
    except OSError:
        return   # a cache that cannot be written is not an error


def _drop_oldest(cache: str) -> None:
    with os.scandir(cache) as entries:
        files = [(entry.stat(follow_symlinks=False).st_mtime_ns, entry.path) for entry in entries]
    files.sort()
    for _time, path in files[:len(files) - MAX_ENTRIES + 1] if len(files) >= MAX_ENTRIES else ():
        os.unlink(path)
