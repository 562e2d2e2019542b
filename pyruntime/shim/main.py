"""What containerd-shim-pyruntime-v2 (native/shim) leaves to Python: the server, -info and -v."""

from __future__ import annotations

import _socket
import os
import sys

from pyruntime._version import __version__
from pyruntime.errors import UsageError


def main() -> int:
    """Run one of them; return the exit status."""
    words = sys.argv[1:]
    if words[:1] == ["serve"] and len(words) == 5:
        return _serve(*words[1:])
    if words[:1] in (["-info"], ["--info"]):
        return _info()
    if words[:1] in (["-v"], ["--v"], ["-version"], ["--version"]):
        print(f"containerd-shim-pyruntime-v2:\n  Version:  {__version__}")
        return 0
    raise UsageError("this program is started by containerd")


def _serve(path: str, namespace: str, address: str, idle: str) -> int:
    """``path``: of the socket, which is descriptor 3; ``address``: of containerd; ``idle``: seconds."""
    from pyruntime.shim.server import ShimServer  # lazy: the other two need none of it

    listener = _socket.socket(fileno=3)
    os.set_inheritable(3, False)
    os.chdir("/")
    events = os.environ.get("TTRPC_ADDRESS") or f"{address}.ttrpc"
    ShimServer(path, listener, namespace, events.removeprefix("unix://"), float(idle)).serve()
    return 0


def _info() -> int:
    """A RuntimeInfo; the request is the options, if any (api/types/introspection.proto)."""
    from pyruntime.runtime.api import Runtime  # lazy: as above
    from pyruntime.shim import messages
    from pyruntime.system.json import encode

    options = sys.stdin.buffer.read()
    sys.stdout.buffer.write(messages.RUNTIME_INFO.encode({
        "name": "io.containerd.pyruntime.v2", "version": {"version": __version__},
        "options": messages.ANY.decode(options) if options else None,
        "features": {"type_url": "types.containerd.io/opencontainers/runtime-spec/1/features/Features",
                     "value": encode(Runtime.features()).encode()}}))
    return 0
