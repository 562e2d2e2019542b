"""Where the networks of an installation are, and what their owner does for them."""

from __future__ import annotations

from pyruntime.system.roots import Roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Site(Roots):
    """The directories of networks, and callbacks.

    ``event``   called with "create" or "destroy", and the ID and the name of the network
    ``exists``  whether the container of this ID exists: what an endpoint without container has is given back
    ``adopt``   called with the pid of the name server: it serves many containers, and has to outlive each of them

    The name server's own process makes no network and ends no endpoint: it needs none of the callbacks.
    """

    def __init__(self, root: str, run: str, remedy: str = "", *,
                 event: Callable[[str, str, str], None] = lambda _action, _id, _name: None,
                 exists: Callable[[str], bool] = lambda _id: True,
                 adopt: Callable[[int], None] = lambda _pid: None) -> None:
        super().__init__(root, run, remedy)
        self.event = event
        self.exists = exists
        self.adopt = adopt
