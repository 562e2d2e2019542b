"""The directories of an installation's networks, and the callbacks of their owner."""

from __future__ import annotations

from pyruntime.system.roots import Roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Site(Roots):
    """The directories of networks, and callbacks.

    ``event``   called with "create" or "destroy", and the ID and the name of the network
    ``exists``  whether the container with this ID exists: an endpoint without a container is released
    ``adopt``   called with the pid of the name server, which must outlive each of its containers

    The name server's own process creates no network and releases no endpoint: it needs no callback.
    """

    def __init__(self, root: str, run: str, remedy: str = "", *,
                 event: Callable[[str, str, str], None] = lambda _action, _id, _name: None,
                 exists: Callable[[str], bool] = lambda _id: True,
                 adopt: Callable[[int], None] = lambda _pid: None) -> None:
        super().__init__(root, run, remedy)
        self.event = event
        self.exists = exists
        self.adopt = adopt
