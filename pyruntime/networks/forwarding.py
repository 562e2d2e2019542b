"""The sysctls of the host that networks need: set with the first network that needs them, put back with the last.

What they were is written down in RUN/networks/forwarding. One that somebody has changed meanwhile is left alone.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.system.files import forget, write
from pyruntime.system.json import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.site import Site

_NET = "/proc/sys/net"


def _get(name: str) -> str:
    with open(f"{_NET}/{name}", encoding="ascii") as file:
        return file.read().strip()


def put(name: str, value: str) -> None:
    """Set a sysctl below ``net``, for example ``ipv4/ip_forward``. Raises HostError."""
    try:
        with open(f"{_NET}/{name}", "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        raise HostError(f"cannot set net.{name.replace('/', '.')} to {value}: {error.strerror}") from None


def allow(site: Site, *, ipv6: bool) -> None:
    """Let the host forward packets; networks are locked. Raises HostError."""
    wanted = {"ipv4/ip_forward": "1"}
    if ipv6 and os.path.isdir(f"{_NET}/ipv6"):
        if _get("ipv6/conf/all/forwarding") != "1":
            # A host that forwards no longer learns its own address and route from its router, unless it is told to
            # (Documentation/networking/ip-sysctl.rst, accept_ra). First these, so that there is no moment without.
            for name in os.listdir(f"{_NET}/ipv6/conf"):
                if name not in ("all", "default", "lo") and _get(f"ipv6/conf/{name}/accept_ra") == "1":
                    wanted[f"ipv6/conf/{name}/accept_ra"] = "2"
        wanted["ipv6/conf/all/forwarding"] = "1"
    before = _read(site)
    changed = {name: value for name, value in wanted.items() if _get(name) != value}
    if not changed:
        return
    # Written down first: who is killed in between has then at most nothing to put back.
    for name, value in changed.items():
        before.setdefault(name, [_get(name), value])
    write(_path(site), encode(before).encode())
    for name in sorted(changed, key=lambda name: not name.endswith("accept_ra")):
        put(name, changed[name])


def restore(site: Site) -> None:
    """No network is up any more: put back what was there before."""
    for name, (old, ours) in sorted(_read(site).items()):
        try:
            if _get(name) == ours:
                put(name, old)
        except (OSError, HostError):
            continue   # the interface is gone, and its sysctls with it
    forget(_path(site))


def _path(site: Site) -> str:
    return f"{site.below_run('networks')}/forwarding"


def _read(site: Site) -> dict[str, list[str]]:
    try:
        with open(_path(site), "rb") as file:
            value = decode(file.read(), "forwarding")
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}
