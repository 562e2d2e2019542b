"""The name server's process: one for all networks of a RUN directory (pyruntime.networks.dns_server).

    RUN/networks/names        its pid and start time
    RUN/networks/names.lock   flock'ed while it is started

It takes down networks that no container is in any more, a moment after the last one has gone, and ends when none is up.
Whoever finds it dead starts it again.
"""

from __future__ import annotations

import os
import time

from pyruntime.networks import bridges
from pyruntime.system.files import Lock, write
from pyruntime.system.processes import own_program, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.site import Site

_SIGHUP = 1


def ensure(site: Site) -> None:
    """A network has come or gone: have a name server that knows, as long as there is a network."""
    with Lock(f"{site.below_run('networks')}/names.lock"):
        # Under the lock, because one that is about to end does that under it too (resolver.py).
        if not _tell(site) and bridges.up(site):
            _start(site)


def alive(site: Site) -> bool:
    """Whether there is one."""
    return _process(site) > 0


def answers(gateway: str, seconds: float = 3.0) -> bool:
    """Wait until the name server listens at a bridge's address; False where it does not within that time."""
    import _socket

    from pyruntime.networks.addresses import FAMILIES

    deadline = time.monotonic() + seconds
    while True:
        sock = _socket.socket(FAMILIES[6 if ":" in gateway else 4][0], _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
        try:
            sock.settimeout(max(0.1, deadline - time.monotonic()))
            sock.connect((gateway, 53))
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
        finally:
            sock.close()
        time.sleep(0.005)


def _process(site: Site) -> int:
    try:
        with open(f"{site.run}/networks/names", encoding="ascii") as file:
            pid, started = map(int, file.read().split())
    except (FileNotFoundError, ValueError):
        return 0
    return pid if start_time(pid) == started else 0


def _tell(site: Site) -> bool:
    """Have it look which networks are up; False where there is none to hear it."""
    pid = _process(site)
    if pid:
        try:
            os.kill(pid, _SIGHUP)
        except ProcessLookupError:
            return False
    return pid > 0


def _start(site: Site) -> None:
    words = [*own_program("networks/__main__.py"), site.root, site.run]
    actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    # SIGHUP is held back until the program is ready for it: it would be killed by one that comes earlier.
    pid = os.posix_spawn(words[0], words, {}, file_actions=actions, setsid=True, setsigmask=[_SIGHUP])
    site.adopt(pid)
    write(f"{site.run}/networks/names", f"{pid} {start_time(pid)}\n".encode())
