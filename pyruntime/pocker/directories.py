"""Where pocker keeps what.

    ROOT/containers/ID/   a container: its record, root filesystem, log (pyruntime.pocker.containers.container)
    ROOT/containers/~...  one that is being made or removed; whose process is gone, the next command clears away
    ROOT/names/NAME       a symbolic link to the ID of the container that has the name
    ROOT/networks/, ROOT/volumes/
    RUN/runtime/          the runtime's state directory
    RUN/attach/           the sockets of monitors

pyruntime.networks.directories says where ROOT and RUN are. Data in RUN does not survive a reboot, nor do containers'
processes. Images are in pyimage's local store.
"""

from __future__ import annotations

from pyruntime.networks.directories import REMEDY, open_site, root_directory, run_directory
from pyruntime.system.roots import Roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.store import Store
    from pyruntime.networks.site import Site


class Places(Roots):
    """The directories of one installation, made when they are first needed."""

    def __init__(self, root: str = "", run: str = "", store: str = "") -> None:
        """An empty name stands for the usual place. Raises HostError where the place cannot be used."""
        super().__init__(root_directory(root), run_directory(run), REMEDY)
        self._store_root = store
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The content store of images."""
        if self._store is None:
            from pyruntime.images.store.store import Store

            self._store = Store.open(self._store_root)
        return self._store

    @property
    def runtime(self) -> str:
        """The runtime's state directory."""
        return f"{self.run}/runtime"

    @property
    def networks(self) -> Site:
        """The networks of this installation."""
        def adopt(pid: int) -> None:
            from pyruntime.runtime.cgroups import scope  # only where a name server begins

            scope.move("pocker-names", pid)

        return open_site(self.root, self.run, adopt)
