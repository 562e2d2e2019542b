"""The network of RUN, which is what ``pocker run --network`` gives, for as long as the program runs.

    none      a loopback interface
    host      the host's interfaces
    default   pocker's default network; without root, the way out that pasta or slirp4netns make
    NAME      a network that was made by ``pocker network create``

What a killed process leaves is an endpoint whose owner is gone. The next command of pocker, or the next build, gives it
back (pyruntime.networks.attach.sweep).
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, PyruntimeError
from pyruntime.networks.etc_files import host_line, resolv
from pyruntime.networks.host_files import RESOLV
from pyruntime.networks.present import HOST, NONE
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.attach import Departure, Reservation
    from pyruntime.networks.endpoints import Endpoint
    from pyruntime.networks.site import Site

# Imports in functions: start-up (decision 0007).

DEFAULT = "default"
HOSTNAME = "build"   # and its address a loopback one: what a program makes of them is the same in each build
_HOSTS = f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{HOSTNAME}\n"


class Network:
    """The network of one container; a context manager, which takes it away at its end.

    To be entered before what is mounted for the step: the name server of networks, which may begin here, would hold it.
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
        """Whether it is the host's."""
        return self._mode == HOST

    @property
    def endpoint(self) -> Endpoint | None:
        """The place in a network of ours, for who has one."""
        return self._reservation.endpoint if self._reservation else None

    def __enter__(self) -> Network:
        """Take an address. Raises HostError, StateError."""
        if self._mode in (NONE, HOST):
            return self
        from pyruntime.networks import attach

        identifier = os.urandom(32).hex()
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
        """The texts of resolv.conf and hosts. Raises UsageError."""
        hosts = _HOSTS + "".join(host_line(line, self.endpoint, on_host=self.on_host) for line in self._hosts)
        return {"resolv.conf": _content(RESOLV) if self.on_host else resolv(self.endpoint), "hosts": hosts}

    def attach(self, pid: int) -> None:
        """Give it to the network namespace of the container's init process. Raises HostError, PyruntimeError."""
        if self._reservation:
            from pyruntime.networks import attach

            try:
                attach.attach(self._reservation, pid)
            except HostError as error:
                raise _without(error) from None
            if self.endpoint and self.endpoint.joined:
                # A program that asks before it is there is refused, and ends: resolvers do not ask again then.
                from pyruntime.networks import dns_process as names

                names.answers(self.endpoint.joined[0]["gateway"])

    def depart(self) -> None:
        """Begin to leave, before the container's end: the kernel takes 20 ms to remove an interface, which the end and
        the making of the layer hide."""
        if self.endpoint:
            from pyruntime.networks.attach import Departure

            self._departure = Departure(self._site, self.endpoint.id)
            if self.endpoint.outside:
                self.leave()   # at once: slirp4netns keeps what is mounted for the step

    def leave(self) -> None:
        """Give back what it has; may be done twice. Raises PyruntimeError."""
        if self.endpoint:
            from pyruntime.networks.attach import Departure

            (self._departure or Departure(self._site, self.endpoint.id)).finish()
            self._reservation = None


def _without(error: HostError) -> HostError:
    return HostError(f"RUN has no network: {error}; or build with --network host or none")


def sweep(site: Site) -> None:
    """Give back what builds and others had that were killed. Raises PyruntimeError."""
    from pyruntime.networks import present

    if present.in_use(site.run):
        from pyruntime.networks import attach

        attach.sweep(site)


def check(site: Site, name: str) -> str:
    """The network of ``--network``, as RUN has it. Raises PyruntimeError for one that there is not."""
    if name in (DEFAULT, NONE, HOST):
        return name
    if name == "bridge":
        return DEFAULT
    from pyruntime.networks import definitions as networks
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
        return ""   # a host without it
