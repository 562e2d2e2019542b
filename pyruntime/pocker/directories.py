"""The directories of pocker.

    ROOT/containers/ID/   a container: its record, root filesystem, log (pyruntime.pocker.containers.container)
    ROOT/containers/~...  a container that is being created or removed; the next command removes those of dead processes
    ROOT/names/NAME       a symbolic link to the ID of the container with the name
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
    from collections.abc import Sequence

    from pyruntime.images.store.store import Store
    from pyruntime.networks.site import Site


class Directories(Roots):
    """The directories of one installation, which are created at their first use.

    ``decide``   the command line that a container's monitor executes when there is something to decide; it is followed
                 by the event ("finish", "restart" or "health") and the container's ID
    """

    def __init__(self, root: str = "", run: str = "", store: str = "", *, decide: Sequence[str] = ()) -> None:
        """An empty path is the default one. Raises HostError for a directory that cannot be used."""
        super().__init__(root_directory(root), run_directory(run), REMEDY)
        self._store_root = store
        self.decide = decide
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The local store of images."""
        if self._store is None:
            from pyruntime.images.store.store import Store  # lazy: some commands use no image

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
            from pyruntime.runtime.cgroups import scope  # lazy: only where a name server begins

            scope.move("pocker-names", pid)

        return open_site(self.root, self.run, adopt)
