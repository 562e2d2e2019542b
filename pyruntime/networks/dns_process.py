"""The process of the name server, which serves all networks of a RUN directory (pyruntime.networks.dns_server).

    RUN/networks/names        its pid and start time
    RUN/networks/names.lock   locked while the process is started

The process brings a network down shortly after its last container has left, and exits when no network is up. Commands
that find it dead start it again.
"""

from __future__ import annotations

import _socket
import os
import time

from pyruntime.networks import bridges
from pyruntime.networks.addresses import FAMILIES
from pyruntime.system import processes
from pyruntime.system.files import write
from pyruntime.system.locks import Lock
from pyruntime.system.processes import SIGHUP, own_program, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.site import Site



def ensure(site: Site) -> None:
    """Notify the name server that a network has come up or gone down; start the server if it does not run and a network
    is up."""
    with Lock(f"{site.below_run('networks')}/names.lock"):
        # Under the lock, because a server exits under the lock too (dns_server.py).
        if not _tell(site) and bridges.up(site):
            _start(site)


def alive(site: Site) -> bool:
    """Whether the name server runs."""
    return processes.alive(*_process(site))


def answers(gateway: str, seconds: float = 3.0) -> bool:
    """Wait until the name server listens at a bridge's address; False after ``seconds``."""
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
    """Make the name server check which networks are up; False if it does not run."""
    try:
        processes.send_signal(*_process(site), SIGHUP)
    except ProcessLookupError:
        return False
    return True


def _start(site: Site) -> None:
    words = [*own_program("networks/__main__.py"), site.root, site.run]
    actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    # SIGHUP is blocked until the program is ready: an earlier SIGHUP would kill it.
    pid = os.posix_spawn(words[0], words, {}, file_actions=actions, setsid=True, setsigmask=[SIGHUP])
    site.adopt(pid)
    write(f"{site.run}/networks/names", f"{pid} {start_time(pid)}\n".encode())
