"""Socket activation: descriptors that a service manager opened for us and that are for the container.

Source: sd_listen_fds(3). ``LISTEN_PID`` says for whom they are, ``LISTEN_FDS`` how many there are from 3 on,
``LISTEN_FDNAMES`` what they are called. The container's program is the first of its pid namespace, so that it finds
itself in ``LISTEN_PID``.
"""

from __future__ import annotations

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX = 256   # as --preserve-fds


def handed_over(environment: Mapping[str, str], pid: int) -> tuple[int, list[str]]:
    """How many descriptors the process ``pid`` has been given, and the variables that tell the program of them.

    Nothing where they are for another process: the variables are inherited, the descriptors need not be. Raises
    UsageError for a number that is none.
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
