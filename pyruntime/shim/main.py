"""What containerd-shim-pyruntime-v2 (native/shim) leaves to Python: the server."""

from __future__ import annotations

import _socket
import os
import sys

from pyruntime.errors import UsageError
from pyruntime.shim.server import ShimServer


def main() -> int:
    """Run the server: ``serve PATH NAMESPACE ADDRESS IDLE``; PATH is that of the socket, which is descriptor 3, ADDRESS
    is containerd's, IDLE are seconds."""
    words = sys.argv[1:]
    if words[:1] != ["serve"] or len(words) != 5:
        raise UsageError("this program is started by containerd")
    path, namespace, address, idle = words[1:]
    listener = _socket.socket(fileno=3)
    os.set_inheritable(3, False)
    os.chdir("/")
    events = os.environ.get("TTRPC_ADDRESS") or f"{address}.ttrpc"
    ShimServer(path, listener, namespace, events.removeprefix("unix://"), float(idle)).serve()
    return 0
