"""What the system refuses to this program, as errors of pyruntime with a remedy."""

from __future__ import annotations

from contextlib import contextmanager
from errno import EAGAIN, EFBIG, EMFILE, ENFILE, ENOMEM

from pyruntime.errors import HostError, PyruntimeError, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_REMEDIES = {
    EMFILE: ": close some, or allow this program more (RLIMIT_NOFILE; ulimit -n)",
    ENFILE: ": allow the host more (sysctl fs.file-max)",
    EAGAIN: ": end other processes, or allow more (RLIMIT_NPROC, pids.max of this program's cgroup)",
    EFBIG: ": allow this program larger files (RLIMIT_FSIZE; ulimit -f), or use a filesystem that does",
    ENOMEM: ": free memory, or allow this program more (RLIMIT_AS, its cgroup)",
}


def refused(attempt: str, error: OSError) -> HostError:
    """The error "cannot ``attempt``", with the reason and the remedy."""
    # A process or a thread has no name.
    leased = error.errno == EAGAIN and error.filename
    remedy = ": end the program that has a lease of it (fcntl(2))" if leased else _REMEDIES.get(error.errno or 0, "")
    return HostError(f"cannot {attempt}: {words(error)}{remedy}")


@contextmanager
def told(attempt: str) -> Iterator[None]:
    """An OSError becomes a HostError: "cannot ``attempt``", the reason, the remedy. Also a decorator."""
    try:
        yield
    except PyruntimeError:   # WaitTimeout is an OSError, too
        raise
    except OSError as error:
        raise refused(attempt, error) from error
    except RuntimeError as error:
        if "new thread" not in str(error):   # of threading.Thread.start
            raise
        raise HostError(f"cannot {attempt}: {error}{_REMEDIES[EAGAIN]}") from error
