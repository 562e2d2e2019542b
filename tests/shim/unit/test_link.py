"""The server's end of a link."""

from __future__ import annotations

import _socket
import threading
import time

from pyruntime.shim.link import RESPONSE, MonitorLink


def test_a_connection_is_not_closed_while_a_thread_sends() -> None:
    """Otherwise it could send to another monitor, whose connection has got the number of the descriptor."""
    ours, theirs = _socket.socketpair()
    link = MonitorLink(ours)
    sender = threading.Thread(target=link.send, args=(RESPONSE, 1, bytes(32 << 20)))   # nobody reads it
    sender.start()
    while not link._sending.locked():
        time.sleep(0.001)
    link.close()
    sender.join(10)
    assert not sender.is_alive() and link.broken and ours.fileno() == -1
    link.send(RESPONSE, 2)   # as after the end of the monitor
    theirs.close()


def test_close_waits_for_the_end_of_a_send() -> None:
    ours, theirs = _socket.socketpair()
    link = MonitorLink(ours)
    with link._sending:
        closing = threading.Thread(target=link.close)
        closing.start()
        assert theirs.recv(1) == b""   # shut down
        assert ours.fileno() >= 0
    closing.join(10)
    assert ours.fileno() == -1
    theirs.close()
