"""The name server's process: one for all networks of a RUN directory (pyruntime.networks.dns_server).

    RUN/networks/names        its pid and start time
    RUN/networks/names.lock   flock'ed while it is started

It takes down networks that no container is in any more, a moment after the last one has gone, and ends when none is up.
Whoever finds it dead starts it again.
"""

from __future__ import annotations

import _socket
import os
import sys
import time

from pyruntime.networks import bridges
from pyruntime.networks.addresses import FAMILIES
from pyruntime.system import processes
from pyruntime.system.files import write
from pyruntime.system.locks import Lock
from pyruntime.system.processes import SIGHUP, interpreter, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.site import Site



def ensure(site: Site) -> None:
    """A network has come or gone: have a name server that knows, as long as there is a network."""
    with Lock(f"{site.below_run('networks')}/names.lock"):
        # Under the lock, because one that is about to end does that under it too (resolver.py).
        if not _tell(site) and bridges.up(site):
            _start(site)


def alive(site: Site) -> bool:
    """Whether there is one."""
    return processes.alive(*_process(site))


def answers(gateway: str, seconds: float = 3.0) -> bool:
    """Wait until the name server listens at a bridge's address; False where it does not within that time."""
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


def _process(site: Site) -> tuple[int, int]:
    try:
        with open(f"{site.run}/networks/names", encoding="ascii") as file:
            pid, started = map(int, file.read().split())
    except (FileNotFoundError, ValueError):
        return 0, 0
    return pid, started


def _tell(site: Site) -> bool:
    """Have it look which networks are up; False where there is none to hear it."""
    try:
        processes.send_signal(*_process(site), SIGHUP)
    except ProcessLookupError:
        return False
    return True


def _start(site: Site) -> None:
    code = (f"import sys; sys.path[:0] = {sys.path!r}; from pyruntime.networks.dns_server import main;"
            " main(*sys.argv[1:])")
    actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    # SIGHUP is held back until the program is ready for it: it would be killed by one that comes earlier.
    pid = os.posix_spawn(interpreter(), ["python", "-IS", "-c", code, site.root, site.run], {},
                         file_actions=actions, setsid=True, setsigmask=[SIGHUP])
    site.adopt(pid)
    write(f"{site.run}/networks/names", f"{pid} {start_time(pid)}\n".encode())
