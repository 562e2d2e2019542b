"""The sysctls of the host that networks need: set for the first network that needs them, restored after the last.

RUN/networks/forwarding has the original values. A sysctl that was changed in the meantime is not restored.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.system.files import forget, write
from pyruntime.system.json import encode
from pyruntime.system.records import members
from pyruntime.system.restrictions import procfs, read_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.site import Site

_NET = "/proc/sys/net"


def _get(name: str) -> str:
    return read_proc(f"{_NET}/{name}")


def put(name: str, value: str) -> None:
    """Set a sysctl below ``net``, for example ``ipv4/ip_forward``. Raises HostError."""
    try:
        with open(f"{_NET}/{name}", "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        reason = procfs()
        raise HostError(f"cannot set net.{name.replace('/', '.')} to {value}: {reason}{reason and ': '}{error.strerror}"
                        ) from None


def allow(site: Site, *, ipv6: bool) -> None:
    """Let the host forward packets. The caller holds the networks' lock. Raises HostError."""
    wanted = {"ipv4/ip_forward": "1"}
    if ipv6 and os.path.isdir(f"{_NET}/ipv6"):
        if _get("ipv6/conf/all/forwarding") != "1":
            # A host that forwards ignores router advertisements unless accept_ra is 2
            # (Documentation/networking/ip-sysctl.rst). These first, so that no advertisement is missed.
            for name in os.listdir(f"{_NET}/ipv6/conf"):
                if name not in ("all", "default", "lo") and _get(f"ipv6/conf/{name}/accept_ra") == "1":
                    wanted[f"ipv6/conf/{name}/accept_ra"] = "2"
        wanted["ipv6/conf/all/forwarding"] = "1"
    before = _read(site)
    changed = {name: value for name, value in wanted.items() if _get(name) != value}
    if not changed:
        return
    # Recorded first: if we are killed in between, there is nothing to restore, which is harmless.
    for name, value in changed.items():
        before.setdefault(name, [_get(name), value])
    write(_path(site), encode(before).encode())
    for name in sorted(changed, key=lambda name: not name.endswith("accept_ra")):
        put(name, changed[name])


def restore(site: Site) -> None:
    """Restore the original values after the last network."""
    for name, (old, ours) in sorted(_read(site).items()):
        try:
            if _get(name) == ours:
                put(name, old)
        except (OSError, HostError):
            continue   # the interface and its sysctls are gone
    forget(_path(site))


def _path(site: Site) -> str:
    return f"{site.below_run('networks')}/forwarding"


def _read(site: Site) -> dict[str, list[str]]:
    try:
        with open(_path(site), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return {}
    return members(data, _path(site), "remove this file; the interfaces keep their settings")
