"""The stub's program if memfds cannot be executed (vm.memfd_noexec=2): an unnamed file.

CVE-2019-5736 stays closed because the container's processes run a copy, which disappears with the last of them, and
never the installed file: a process that writes to /proc/PID/exe changes a file that will not be run again.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def private_copy(image: bytes) -> int:
    """A descriptor, open for reading, of a new file with these bytes that can be executed. Raises HostError."""
    for directory in _directories():
        try:
            fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o500, dir_fd=directory)
        except OSError:
            continue   # read-only, not writable, or a filesystem without O_TMPFILE
        finally:
            os.close(directory)
        try:
            view = memoryview(image)
            while view:
                view = view[os.write(fd, view):]
            # execve(2) refuses a file that is open for writing.
            return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue   # full
        finally:
            os.close(fd)
    raise HostError("vm.memfd_noexec=2 does not allow the stub to be executed from memory, and no directory can hold"
                    f" a copy: all of {', '.join(_places())} are read-only, full, noexec or not this user's; lower the"
                    " setting to 1, or mount one of them with exec")


def _places() -> list[str]:
    first, home = (os.environ.get(name, "") for name in ("XDG_RUNTIME_DIR", "HOME"))
    return [place for place in dict.fromkeys((first, "/run", "/dev/shm", "/tmp", "/var/tmp", home))
            if place.startswith("/")]


def _directories() -> Iterator[int]:
    """Descriptors of directories whose files can be executed: a tmpfs that is mounted nowhere, or, for users who cannot
    mount, directories of the host."""
    try:
        unmounted = kernel.detached_filesystem("tmpfs", [("size", "4m"), ("mode", "0700")])
    except PermissionError:   # without CAP_SYS_ADMIN
        unmounted = -1
    if unmounted >= 0:
        yield unmounted
    for place in _places():
        try:
            directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue   # not on this host
        if os.fstatvfs(directory).f_flag & os.ST_NOEXEC:
            os.close(directory)
            continue
        yield directory
