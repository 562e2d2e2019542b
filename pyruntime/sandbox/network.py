"""A sandbox in a network of `pocker network`: its address, its interface, its resolv.conf.

Without root, pasta(1) or slirp4netns(1) connects the sandbox; it runs in the helper's user namespace, which the
sandbox's network namespace belongs to.

A killed program leaves an endpoint without an owner. The next command of pocker, or the next sandbox in a network,
releases it (pyruntime.networks.attach.sweep).
"""

from __future__ import annotations

import os
from warnings import warn

from pyruntime.errors import HostError, StateError, UsageError
from pyruntime.networks import attach, endpoints
from pyruntime.networks import dns_process as names
from pyruntime.networks.directories import open_site, root_directory, run_directory
from pyruntime.networks.etc_files import resolv
from pyruntime.networks.present import CONTAINER, HOST, NONE
from pyruntime.sandbox.private_mounts import call
from pyruntime.system.names import new_id
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.networks.site import Site

DEFAULT = "default"   # pocker's default network


class SandboxNetwork:
    """An address in a network, from the call of the constructor until `leave`.

    ``resolv_conf``  the text of /etc/resolv.conf
    ``addresses``    the sandbox's IP addresses; without root none that others could use
    """

    def __init__(self, box: str, network: str) -> None:
        """``network``: a name of `pocker network create`, or DEFAULT. Raises NoSuchNetwork, UsageError for a mode of
        `pocker run`, HostError."""
        if network in (NONE, HOST) or network.startswith(CONTAINER):
            raise UsageError(f'network "{network}": give the name of a network, "{DEFAULT}", or None for no network')
        if os.geteuid() and network != DEFAULT:
            raise HostError(f'network "{network}": networks of `pocker network` need root: give "{DEFAULT}", which'
                            " leads to the outside through pasta(1) or slirp4netns(1)")
        self._directories = root_directory(), run_directory()
        self._id = new_id()
        owner = os.getpid(), start_time(os.getpid())
        try:
            self.resolv_conf, self.addresses, problems = self._do(_reserve, box, network, owner)
            for problem in problems:   # of other networks and ended programs
                warn(problem, RuntimeWarning, stacklevel=2)
        except BaseException:
            self.leave()
            raise

    def enter(self, pid: int) -> None:
        """Give the network namespace of a process its interface, and wait for the name server. Raises HostError."""
        self._do(_attach, pid)

    def leave(self) -> None:
        """Release everything; may be called twice. Raises PyruntimeError."""
        self._do(_detach)

    def _do(self, function: Callable[..., Any], *args: Any) -> Any:
        if os.geteuid() == 0:
            return function(self._directories, self._id, *args)
        return call(function, self._directories, self._id, *args)


def _site(directories: tuple[str, str]) -> Site:
    from pyruntime.runtime.cgroups import scope  # lazy: only where a name server begins

    return open_site(*directories, lambda pid: scope.move("pocker-names", pid))


def _reserve(directories: tuple[str, str], identifier: str, box: str, network: str, owner: tuple[int, int]
             ) -> tuple[str, tuple[str, ...], list[str]]:
    site, problems = _site(directories), list[str]()
    attach.sweep(site, problems.append)
    endpoint = attach.reserve(site, attach.EndpointConfig(
        identifier, [box], [] if network == DEFAULT else [{"name": network}], owner=owner)).endpoint
    addresses = tuple(entry[key] for entry in endpoint.joined for key in ("ip", "ip6") if entry[key])
    return resolv(endpoint), addresses, problems


def _attach(directories: tuple[str, str], identifier: str, pid: int) -> None:
    site = _site(directories)
    endpoint = endpoints.read(site, identifier)
    if endpoint is None:
        raise StateError("the sandbox's place in its network has been removed in the meantime")
    attach.attach(attach.Reservation(site, endpoint), pid)
    # A query before the name server answers is refused, and resolvers do not repeat it.
    for entry in endpoint.joined[:1]:
        if not names.answers(entry["gateway"]):
            raise HostError(f'network "{entry["network"]}": its name server at {entry["gateway"]} does not answer: is'
                            " port 53 taken, or does a firewall of the host drop packets?")


def _detach(directories: tuple[str, str], identifier: str) -> None:
    attach.detach(_site(directories), identifier)
