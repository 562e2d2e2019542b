"""The two directories of an installation: one outlives a reboot, the other does not."""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.system.locks import Lock


class Roots:
    """ROOT and RUN; directories below them are created when they are first needed.

    ``root``    for data that survives a reboot
    ``run``     for data that does not
    ``remedy``  for the error message if they cannot be created
    """

    def __init__(self, root: str, run: str, remedy: str = "") -> None:
        self.root = root
        self.run = run
        self.remedy = remedy

    def below(self, *names: str) -> str:
        """A directory below ROOT; it is created if it is missing. Raises HostError."""
        return self._made(self.root, *names)

    def below_run(self, *names: str) -> str:
        """A directory below RUN; it is created if it is missing. Raises HostError."""
        return self._made(self.run, *names)

    def lock(self, name: str) -> Lock:
        """The lock of a part of ROOT, for example its names: ``with roots.lock("names")``."""
        return Lock(f"{self.below(name)}/.lock")

    def _made(self, top: str, *names: str) -> str:
        path = "/".join((top, *names))
        if not os.path.isdir(path):
            try:
                # Separately: makedirs creates intermediate directories with the mode that the umask leaves.
                os.makedirs(top, 0o700, exist_ok=True)
                os.makedirs(path, 0o700, exist_ok=True)
            except OSError as error:
                remedy = f": {self.remedy}" if self.remedy else ""
                raise HostError(f'cannot create "{path}": {error.strerror}{remedy}') from None
        return path
