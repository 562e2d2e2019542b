"""linux.netDevices: move network devices of the host into the container's network namespace.

Spec: config-linux.md#network-devices. Permanent addresses of global scope are moved along, and the device is brought
up. pyroute2 is loaded only here, not on the hot path of `create`: few containers need it.
"""

from __future__ import annotations

import os

from pyroute2 import IPRoute, NetlinkError

from pyruntime.errors import PyruntimeError
from pyruntime.system import kernel
from pyruntime.system.uapi import CLONE_NEWNET
from pyruntime.system.uapi_netlink import IFA_F_PERMANENT, RT_SCOPE_UNIVERSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def move(pid: int, name: str, new_name: str) -> None:
    """Move device ``name`` into the network namespace of process ``pid`` and name it ``new_name``, in which ``%d``
    stands for a number that the kernel chooses. Raises PyruntimeError."""
    target = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        host, container = _sockets(target)
        with host, container:
            try:
                _move(host, container, target, name, new_name)
            except NetlinkError as error:
                raise PyruntimeError(f'moving network device "{name}" to "{new_name}": {os.strerror(error.code)}'
                                     ) from None
    finally:
        os.close(target)


def _sockets(target: int) -> tuple[Any, Any]:
    # A netlink socket belongs to the namespace in which it was created, so the thread enters the namespace only
    # briefly. The process is single-threaded: no other thread is affected.
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        host = IPRoute()
        kernel.setns(target, CLONE_NEWNET)
        try:
            container = IPRoute()
        finally:
            kernel.setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
    return host, container


def _move(host: Any, container: Any, target: int, name: str, new_name: str) -> None:
    found = host.link_lookup(ifname=name)
    if not found:
        raise PyruntimeError(f'there is no network device "{name}" on the host')
    if "%d" not in new_name and container.link_lookup(ifname=new_name):
        raise PyruntimeError(f'the container already has a network device "{new_name}"; choose another name, or a name'
                             ' with "%d" for a free number')
    addresses = [address for address in host.get_addr(index=found[0])
                 if address["scope"] == RT_SCOPE_UNIVERSE and _flags(address) & IFA_F_PERMANENT]
    before = {link["index"] for link in container.get_links()}
    host.link("set", index=found[0], net_ns_fd=target, ifname=new_name)
    (index,) = {link["index"] for link in container.get_links()} - before
    for address in addresses:
        wanted = {key: address.get_attr(attribute) for key, attribute in
                  (("address", "IFA_ADDRESS"), ("local", "IFA_LOCAL"), ("broadcast", "IFA_BROADCAST"))}
        container.addr("add", index=index, family=address["family"], prefixlen=address["prefixlen"],
                       **{key: value for key, value in wanted.items() if value})
    container.link("set", index=index, state="up")


def _flags(address: Any) -> int:
    return int(address.get_attr("IFA_FLAGS") or address["flags"])
