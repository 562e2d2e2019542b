"""Certificates: the trusted authorities of a registry, and client certificates.

Spec: containers-certs.d(5). A directory ``HOST[:PORT]`` below certs.d holds ``*.crt`` (authorities, in addition to the
system's), and ``NAME.cert`` with ``NAME.key`` (a client certificate). The first existing directory is used.
"""

from __future__ import annotations

import os

from pyruntime.errors import UsageError, words
from pyruntime.images.registry.settings import HUB_HOST, home_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from pyruntime.images.registry.settings import RegistrySettings

DIRECTORIES = ("/etc/containers/certs.d", "/etc/docker/certs.d")


class Certificates:
    """The content of a certs.d directory: files of authorities, and pairs of client certificate and key."""

    __slots__ = ("authorities", "clients")

    def __init__(self) -> None:
        self.authorities: list[str] = []
        self.clients: list[tuple[str, str]] = []

    def read(self, directory: str) -> None:
        """Read a directory; raises UsageError for a certificate without its key, or the reverse."""
        try:
            names = sorted(os.listdir(directory))
        except OSError as error:
            raise UsageError(f'"{directory}": {error.strerror}; name a directory of *.crt, *.cert and *.key') from None
        for name in names:
            stem, _, kind = name.rpartition(".")
            if kind == "crt":
                self.authorities.append(f"{directory}/{name}")
            elif kind == "cert":
                if f"{stem}.key" not in names:
                    raise UsageError(f'"{directory}/{name}": its key "{stem}.key" is missing')
                self.clients.append((f"{directory}/{name}", f"{directory}/{stem}.key"))
            elif kind == "key" and f"{stem}.cert" not in names:
                raise UsageError(f'"{directory}/{name}": its certificate "{stem}.cert" is missing; an authority ends'
                                 " with .crt, a client's certificate with .cert")


def find(settings: RegistrySettings, host: str, directories: Sequence[str] = DIRECTORIES) -> Certificates:
    """The certificates for a host[:port]; none if nothing is configured."""
    found = Certificates()
    if settings.cert_dir:
        found.read(settings.cert_dir)
        return found
    config = home_config(settings.environ)
    homes = [f"{config}/containers/certs.d"] if config else []
    names = [host, *(["docker.io"] if host == HUB_HOST else [])]
    for directory in (f"{base}/{name}" for base in [*homes, *directories] for name in names):
        if os.path.isdir(directory):
            found.read(directory)
            break
    return found


def context(settings: RegistrySettings, host: str, *, verify: bool = True) -> ssl.SSLContext:
    """The TLS context for a host[:port]; raises UsageError for unreadable certificates."""
    import ssl  # lazy: only with TLS

    made = ssl.create_default_context()
    certificates = find(settings, host)
    path = ""
    try:
        for path in certificates.authorities:
            made.load_verify_locations(cafile=path)
        for path, key in certificates.clients:
            made.load_cert_chain(path, key)
    except (OSError, ValueError) as error:   # ssl.SSLError is an OSError
        raise UsageError(f'"{path}": not a usable certificate: {words(error)}') from None
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made
