"""The two directories of an installation: what outlives a reboot, and what does not."""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.system.locks import Lock


class Roots:
    """ROOT and RUN; what is below them is made when it is first needed.

    ``root``    what outlives a reboot
    ``run``     what does not
    ``remedy``  what a user can do where they cannot be made
    """

    def __init__(self, root: str, run: str, remedy: str = "") -> None:
        self.root = root
        self.run = run
        self.remedy = remedy

    def below(self, *names: str) -> str:
        """A directory below ROOT, which is made. Raises HostError."""
        return self._made(self.root, *names)

    def below_run(self, *names: str) -> str:
        """A directory below RUN, which is made. Raises HostError."""
        return self._made(self.run, *names)

    def lock(self, name: str) -> Lock:
        """The lock of a part of ROOT, for example its names: ``with roots.lock("names")``."""
        return Lock(f"{self.below(name)}/.lock")

    def _made(self, top: str, *names: str) -> str:
        path = "/".join((top, *names))
        if not os.path.isdir(path):
            try:
                # Apart: what makedirs makes on its way has the mode that the umask leaves, and all is below the top.
                os.makedirs(top, 0o700, exist_ok=True)
                os.makedirs(path, 0o700, exist_ok=True)
            except OSError as error:
                remedy = f": {self.remedy}" if self.remedy else ""
                raise HostError(f'cannot make "{path}": {error.strerror}{remedy}') from None
        return path
