"""A sandbox in a network of `pocker network`: its address, its interface, its resolv.conf.

A killed program leaves an endpoint without an owner. The next command of pocker, or the next sandbox in a network,
releases it (pyruntime.networks.attach.sweep).
"""

from __future__ import annotations

import os

from pyruntime.networks import attach
from pyruntime.networks import dns_process as names
from pyruntime.networks.directories import open_site, root_directory, run_directory
from pyruntime.networks.etc_files import resolv
from pyruntime.system.names import new_id
from pyruntime.system.processes import start_time

DEFAULT = "default"   # pocker's default network


class SandboxNetwork:
    """An address in a network, from the call of the constructor until `leave`; needs root."""

    def __init__(self, box: str, network: str) -> None:
        """``network``: a name of `pocker network create`, or DEFAULT. Raises StateError if it does not exist,
        HostError."""
        from pyruntime.runtime.cgroups import scope  # lazy: only where a name server begins

        self._site = open_site(root_directory(), run_directory(), lambda pid: scope.move("pocker-names", pid))
        self._id = new_id()
        attach.sweep(self._site)
        try:
            self._reservation = attach.reserve(self._site, attach.EndpointConfig(
                self._id, [box], [] if network == DEFAULT else [{"name": network}],
                owner=(os.getpid(), start_time(os.getpid()))))
        except BaseException:
            self.leave()
            raise

    @property
    def resolv_conf(self) -> str:
        """The text of /etc/resolv.conf."""
        return resolv(self._reservation.endpoint)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The sandbox's IP addresses."""
        return tuple(entry[key] for entry in self._reservation.endpoint.joined for key in ("ip", "ip6") if entry[key])

    def enter(self, pid: int) -> None:
        """Give the network namespace of a process its interface, and wait for the name server. Raises HostError."""
        attach.attach(self._reservation, pid)
        # A query before the name server answers is refused, and resolvers do not repeat it.
        names.answers(self._reservation.endpoint.joined[0]["gateway"])

    def leave(self) -> None:
        """Release everything; may be called twice. Raises PyruntimeError."""
        attach.detach(self._site, self._id)
