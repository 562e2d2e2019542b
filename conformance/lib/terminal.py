"""The other end of ``create --console-socket``: receive the master end of the pseudoterminal, by runc's protocol."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import termios
import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType


class Terminal(AbstractContextManager["Terminal"]):
    """A listening socket at ``path``; :meth:`accept` receives the descriptor, :meth:`read_until` reads the output."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen(1)
        self.fd = -1
        self.seen = ""

    def accept(self, seconds: float) -> None:
        self.socket.settimeout(seconds)
        connection, _ = self.socket.accept()
        with connection:
            connection.settimeout(seconds)
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        if not fds:
            raise ValueError("the runtime sends no descriptor over the console socket")
        self.fd = fds[0]

    def size(self) -> tuple[int, int]:
        """(height, width)."""
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(self.fd, termios.TIOCGWINSZ, b"\0" * 8))
        return rows, columns

    def read_until(self, text: str, seconds: float) -> str:
        """The whole output on the terminal, as soon as it contains ``text``."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f'"{text}" does not appear on the terminal, only {self.seen!r}')
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 4096)
                except OSError as error:  # EIO: the other end is closed in all processes
                    raise TimeoutError(f'the terminal closed without "{text}", after {self.seen!r}') from error
                self.seen += data.decode(errors="replace")
        return self.seen

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        if self.fd >= 0:
            os.close(self.fd)
