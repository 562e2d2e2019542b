"""The network of rootless containers: pasta(1) or slirp4netns(1), a process for each container.

Without root there is no bridge in the host's network namespace. The program creates an interface in the container and
forwards connections through the user's sockets; only the proxy forwards published ports. Such containers reach each
other only through published ports of the host.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.networks.host_files import host_resolv
from pyruntime.system.processes import start_time
from pyruntime.system.programs import IGNORED, run, where_is

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.endpoints import Endpoint

PASTA, SLIRP = "pasta", "slirp4netns"
# the programs answer at these addresses; the second is slirp4netns' default
_PASTA_DNS, _SLIRP_DNS = "169.254.1.1", "10.0.2.3"
_LOOPBACK = ("127.", "::1")
_TUN = "/dev/net/tun"


def choose(wanted: str = "") -> str:
    """The requested program, or an installed one. Raises HostError."""
    for name in (wanted,) if wanted else (PASTA, SLIRP):
        if where_is(name):
            return name
    raise HostError(f"a container's network without root needs {wanted or 'pasta or slirp4netns'}: install the package"
                    f" {'slirp4netns' if wanted == SLIRP else 'passt'}, or use --network none or host")


def name_servers(program: str) -> list[str]:
    """The name servers of the container."""
    if program == SLIRP:
        return [_SLIRP_DNS]
    servers = host_resolv()[0]
    return [server for server in servers if not server.startswith(_LOOPBACK)] or [_PASTA_DNS]


def start(endpoint: Endpoint) -> None:
    """Connect the network namespace of the container's init process; returns when it is connected. Raises HostError."""
    namespace = os.open(f"/proc/{endpoint.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.set_inheritable(namespace, True)
        pid = _pasta(namespace) if endpoint.outside == PASTA else _slirp(namespace)
    finally:
        os.close(namespace)
    endpoint.helper = [pid, start_time(pid)]


def _pasta(namespace: int) -> int:
    # By descriptor: pasta drops the privilege to inspect other processes before it opens the path.
    record = os.memfd_create("pid", 0)
    try:
        status, _, messages = run(where_is(PASTA), [
            "--config-net", "--quiet", "--ns-ifname", "eth0", "--no-map-gw", "--no-netns-quit", "-t", "none", "-u",
            "none", "-T", "none", "-U", "none", "--dns-forward", _PASTA_DNS, "--pid", f"/proc/self/fd/{record}",
            "--netns", f"/proc/self/fd/{namespace}"])
        text = os.pread(record, 64, 0).decode().strip()
    finally:
        os.close(record)
    if status or not text.isdecimal():
        told = [line for line in messages.splitlines() if line and "syslog" not in line]
        raise HostError(f"pasta cannot connect the container: {'; '.join(told) or f'exit status {status}'}{_no_tun()}")
    return int(text)


def _no_tun() -> str:
    """The rest of a message: why both programs fail without the device of tun interfaces."""
    if not os.path.exists(_TUN):
        return f"; {_TUN} does not exist: load the kernel's module tun (modprobe tun), or use --network none or host"
    if not os.access(_TUN, os.R_OK | os.W_OK):
        return f"; this user may not open {_TUN}: allow it (chmod 666 {_TUN}), or use --network none or host"
    return ""


def _slirp(namespace: int) -> int:
    ready, told = os.pipe2(os.O_CLOEXEC)
    os.set_inheritable(told, True)
    messages = os.memfd_create("messages", os.MFD_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, messages, 1),
                   (os.POSIX_SPAWN_DUP2, messages, 2)]
        path = where_is(SLIRP)
        pid = os.posix_spawn(path, [path, "--configure", "--mtu", "65520", "--disable-host-loopback", "--ready-fd",
                                    str(told), "--netns-type", "path", f"/proc/self/fd/{namespace}", "eth0"],
                             {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, file_actions=actions, setsid=True,
                             setsigdef=IGNORED)
        os.close(told)
        told = -1
        if os.read(ready, 1) != b"1":
            os.waitpid(pid, 0)
            text = os.pread(messages, 4096, 0).decode(errors="replace").strip()
            raise HostError(f"slirp4netns cannot connect the container: {'; '.join(text.splitlines())}{_no_tun()}")
        return pid
    finally:
        for fd in (ready, messages, *([told] if told >= 0 else [])):
            os.close(fd)
