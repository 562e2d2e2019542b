"""The directories of pocker.

    ROOT/containers/ID/   a container: its record, root filesystem, log (pyruntime.pocker.containers.container)
    ROOT/containers/~...  a container that is being created or removed; the next command removes those of dead processes
    ROOT/names/NAME       a symbolic link to the ID of the container with the name
    ROOT/networks/, ROOT/volumes/
    RUN/runtime/          the runtime's state directory
    RUN/attach/           the sockets of monitors

ROOT is POCKER_ROOT, /var/lib/pocker for root, $XDG_DATA_HOME/pocker for others; RUN is POCKER_RUN, /run/pocker or
$XDG_RUNTIME_DIR/pocker. If that is not set (su, cron), it is /run/user/UID/pocker, as in a session of the same user, or
a directory in /tmp that only the user may write; sessions of the user use that directory, too, while containers run
that were started with it. RUN does not survive a reboot, and neither do running containers. Images are in the local
store of pyimage.
"""

from __future__ import annotations

import os

from pyruntime.system.locks import Lock
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
        super().__init__(os.path.abspath(root or os.environ.get("POCKER_ROOT") or _default_root()),
                         os.path.abspath(run or os.environ.get("POCKER_RUN") or _default_run()),
                         "name other places with POCKER_ROOT and POCKER_RUN")
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
        """The networks of this installation. Imported here, because most commands use no network."""
        from pyruntime.networks.site import Site  # lazy: most commands use no network

        def event(action: str, id: str, name: str) -> None:
            from pyruntime.pocker.events import note  # lazy: only for an event

            note(self, "network", action, id, {"name": name})

        def adopt(pid: int) -> None:
            from pyruntime.pocker.containers.scope import move  # lazy: only with systemd

            move("pocker-names", pid)

        return Site(self.root, self.run, self.remedy, event=event, adopt=adopt,
                    exists=lambda id: os.path.isdir(f"{self.root}/containers/{id}"))


def _default_root() -> str:
    if os.geteuid() == 0:
        return "/var/lib/pocker"
    data = os.environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):   # basedir-spec: a relative path must be ignored
        data = os.path.join(os.path.expanduser("~"), ".local/share")
    return f"{data}/pocker"


def _default_run() -> str:
    if os.geteuid() == 0:
        return "/run/pocker"
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    usual, spare = f"/run/user/{os.geteuid()}", f"/tmp/pocker-{os.geteuid()}"
    if (run or os.access(usual, os.W_OK)) and not _in_use(spare):
        return f"{run or usual}/pocker"
    from pyruntime.system.directories import private  # lazy: only without a session

    return private(spare, "name one of your own with POCKER_RUN")


def _in_use(run: str) -> bool:
    """Whether containers or commands of this user use this directory. With another one, `ps` would not show these
    containers as running, and `rm` would leave their processes."""
    try:
        if os.lstat(run).st_uid != os.geteuid():
            return False   # made by another user
        with Lock(f"{run}/namespace.users", wait=False):   # see rootless
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
