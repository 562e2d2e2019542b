"""Descriptors that are passed from the caller to the container's program: those of LISTEN_FDS, then of
--preserve-fds."""

from __future__ import annotations

import os
from errno import EBADF

from pyruntime.errors import UsageError


def check_descriptors(preserved: int, listen: int = 0) -> None:
    """Raise UsageError if a descriptor to pass is not open; the first ``listen`` descriptors come from
    LISTEN_FDS."""
    for fd in range(3, 3 + preserved):
        try:
            inherited = os.get_inheritable(fd)   # not inheritable: opened by the runtime, not the caller
        except OSError:
            inherited = False
        if inherited:
            continue
        words = f"descriptor {fd}: {os.strerror(EBADF).lower()}"
        if fd - 3 < listen:
            raise UsageError(f"LISTEN_FDS={listen}: {words}")
        raise UsageError(f"--preserve-fds {preserved - listen}: unable to stat preserved-fd {fd - 3 - listen} (of"
                         f" {preserved - listen}): {words}")
