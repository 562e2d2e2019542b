"""The network of RUN, which is that of ``pocker run --network``, while the command runs.

none      a loopback interface
host      the host's interfaces
default   pocker's default network; without root, the one of pasta or slirp4netns
NAME      a network of ``pocker network create``

A killed process leaves an endpoint without an owner. The next command of pocker, or the next build, releases it
(pyruntime.networks.attach.sweep).
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, PyruntimeError
from pyruntime.networks.directories import open_site, root_directory, run_directory
from pyruntime.networks.etc_files import host_line, resolv
from pyruntime.networks.host_files import RESOLV
from pyruntime.networks.present import HOST, NONE
from pyruntime.runtime.cgroups import scope
from pyruntime.system.names import new_id
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.networks.attach import Departure, Reservation
    from pyruntime.networks.endpoints import Endpoint
    from pyruntime.networks.site import Site

DEFAULT = "default"
HOSTNAME = "build"   # with a loopback address: the same in each build, whatever programs make of it
_HOSTS = f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{HOSTNAME}\n"


def own_site() -> Site:
    """The networks of this user's `pocker network`. Raises PyruntimeError."""
    return open_site(root_directory(), run_directory(), lambda pid: scope.move("pocker-names", pid))


class RunNetwork:
    """The network of one container; a context manager, which releases it.

    To be entered before the step's mounts: the networks' name server, which may start here, would keep them busy.
    """

    def __init__(self, site: Site, mode: str, hosts: list[str]) -> None:
        """``hosts``: NAME:ADDRESS for /etc/hosts."""
        self._site = site
        self._mode = mode
        self._hosts = hosts
        self._reservation: Reservation | None = None
        self._departure: Departure | None = None

    @property
    def on_host(self) -> bool:
        """Whether it is the host's network."""
        return self._mode == HOST

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint in a network, if there is one."""
        return self._reservation.endpoint if self._reservation else None

    def __enter__(self) -> RunNetwork:
        """Reserve an address. Raises HostError, StateError."""
        if self._mode in (NONE, HOST):
            return self
        from pyruntime.networks import attach  # lazy: only with a network

        identifier = new_id()
        config = attach.EndpointConfig(identifier, [identifier[:12]],
                                       [] if self._mode == DEFAULT else [{"name": self._mode}],
                                       owner=(os.getpid(), start_time(os.getpid())))
        try:
            self._reservation = attach.reserve(self._site, config)
        except BaseException as error:
            attach.detach(self._site, identifier)
            if isinstance(error, HostError):
                raise _without(error) from None
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def files(self) -> dict[str, str]:
        """The contents of resolv.conf and hosts. Raises UsageError."""
        hosts = _HOSTS + "".join(host_line(line, self.endpoint, on_host=self.on_host) for line in self._hosts)
        return {"resolv.conf": _content(RESOLV) if self.on_host else resolv(self.endpoint), "hosts": hosts}

    def attach(self, pid: int) -> None:
        """Attach the network namespace of the container's init process. Raises HostError, PyruntimeError."""
        if self._reservation:
            from pyruntime.networks import attach  # lazy: only with a network

            try:
                attach.attach(self._reservation, pid)
            except HostError as error:
                raise _without(error) from None
            if self.endpoint and self.endpoint.joined:
                # A query before the name server answers is refused, and resolvers do not repeat it.
                from pyruntime.networks import dns_process as names  # lazy: only with a network

                names.answers(self.endpoint.joined[0]["gateway"])

    def depart(self) -> None:
        """Start to leave before the container's end: the kernel needs 20 ms to remove an interface, during which the
        container ends and the layer is created."""
        if self.endpoint:
            from pyruntime.networks.attach import Departure  # lazy: only with a network

            self._departure = Departure(self._site, self.endpoint.id)
            if self.endpoint.outside:
                self.leave()   # at once: slirp4netns keeps the step's mounts busy

    def leave(self) -> None:
        """Release the endpoint; may be called twice. Raises PyruntimeError."""
        if self.endpoint:
            from pyruntime.networks.attach import Departure  # lazy: only with a network

            (self._departure or Departure(self._site, self.endpoint.id)).finish()
            self._reservation = None


def _without(error: HostError) -> HostError:
    return HostError(f"RUN has no network: {error}; or build with --network host or none")


def sweep(site: Site, warn: Callable[[str], None]) -> None:
    """Release the endpoints of killed processes. Raises PyruntimeError."""
    from pyruntime.networks import present  # lazy: only with a network

    if present.in_use(site.run):
        from pyruntime.networks import attach  # lazy: only with a network

        attach.sweep(site, warn)


def check(site: Site, name: str) -> str:
    """The network of ``--network`` for RUN. Raises PyruntimeError if it does not exist."""
    if name in (DEFAULT, NONE, HOST):
        return name
    if name == "bridge":
        return DEFAULT
    from pyruntime.networks import definitions as networks  # lazy: only with a network
    from pyruntime.networks import slirp as outside
    from pyruntime.system.user_namespace import privileged

    if not privileged():
        if name in (outside.PASTA, outside.SLIRP):
            return outside.choose(name)
        raise HostError(f'--network "{name}": networks between containers need root; without root there are default,'
                        " pasta, slirp4netns, host and none")
    try:
        with networks.lock(site):
            return networks.find(site, name).name
    except PyruntimeError as error:
        raise type(error)(f"--network: {error}") from None


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""   # the host has none
