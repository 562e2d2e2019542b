"""Socket activation: a service manager opens sockets for the container and passes them through the runtime.

Source: sd_listen_fds(3). ``LISTEN_PID`` is the process that the descriptors are meant for, ``LISTEN_FDS`` is their
number, from descriptor 3 on, and ``LISTEN_FDNAMES`` has their names. The container's program has process ID 1 in its
pid namespace, so ``LISTEN_PID`` is 1 in the container.
"""

from __future__ import annotations

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX = 256   # as --preserve-fds


def handed_over(environment: Mapping[str, str], pid: int) -> tuple[int, list[str]]:
    """The number of descriptors passed to the process ``pid``, and the variables that announce them to the program.

    Both are empty if the descriptors are meant for another process: variables are inherited, descriptors need not be.
    Raises UsageError for an invalid number.
    """
    count = environment.get("LISTEN_FDS", "")
    if not count or environment.get("LISTEN_PID", "") != str(pid):
        return 0, []
    if not (count.isascii() and count.isdecimal() and int(count) <= MAX):
        raise UsageError(f'LISTEN_FDS="{count}": not a number up to {MAX}')
    if not int(count):
        return 0, []
    names = environment.get("LISTEN_FDNAMES", "")
    return int(count), [f"LISTEN_FDS={int(count)}", "LISTEN_PID=1", *([f"LISTEN_FDNAMES={names}"] if names else [])]
