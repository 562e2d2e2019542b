"""A fake CRIU: it records the request, and reports success, or the failure of a restore.

    python fake_criu.py REQUESTS NOTIFICATION... -- swrk 3
"""

from __future__ import annotations

import json
import socket
import sys

from pyruntime.runtime.lifecycle import checkpoint_protocol as protocol


def main(words: list[str]) -> None:
    """Reply to one request."""
    file, *notifications = words[:words.index("--")]
    if words[-1] == "--version":
        print("Version: 4.1")
        return
    sock = socket.socket(fileno=int(words[-1]))
    request = protocol.decode("request", sock.recv(1 << 20))
    with open(file, "a", encoding="utf-8") as out:
        out.write(json.dumps(request) + "\n")
    for script in notifications:
        sock.send(protocol.encode("response", {"type": protocol.NOTIFY, "success": True, "notify": {"script": script}}))
        answer = protocol.decode("request", sock.recv(1 << 20))
        assert answer == {"type": protocol.NOTIFY, "notify_success": 1}, answer
    # No container was restored.
    sock.send(protocol.encode("response", {
        "type": request["type"], "success": request["type"] != protocol.RESTORE,
        "features": {"mem_track": True, "lazy_pages": True}}))


main(sys.argv[1:])
