"""Streams that are read and written without blocking: the caller's streams are restored."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from pyruntime.system.streams import Inlet, Outlet
from tests.conftest import TOP

# Another user's terminal or pipe cannot be opened again by /proc/self/fd.
FOREIGN = """
import os

opened = os.open

def refused(path, *words, **options):
    if str(path).startswith("/proc/self/fd/"):
        raise PermissionError(13, "Permission denied")
    return opened(path, *words, **options)

os.open = refused
"""


@pytest.mark.parametrize("blocking", [True, False])
def test_a_shared_file_description_is_restored(monkeypatch: pytest.MonkeyPatch, blocking: bool) -> None:
    reader, writer = os.pipe()
    for fd in (reader, writer):
        os.set_blocking(fd, blocking)
    space: dict[str, object] = {}
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", os.open)   # the original, saved before it is replaced
        exec(FOREIGN, space)
        inlet, outlet = Inlet(reader), Outlet(writer)
    assert not os.get_blocking(reader) and not os.get_blocking(writer)
    outlet.put(b"x")
    assert inlet.take() == b"x" and inlet.take() == b"" and not inlet.ended
    inlet.close()
    outlet.close()
    assert (os.get_blocking(reader), os.get_blocking(writer)) == (blocking, blocking)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(("typed", "script"), [(b"", "exit 0"), (b"\x04", "cat"), (b"x\n", "read line")])
def test_exec_restores_the_terminal_of_another_user(typed: bytes, script: str) -> None:
    relay = FOREIGN + f"""
from pyruntime.pocker.containers.exec_streams import Piped

piped = Piped(stdin=True)
pid = piped.start(lambda: os.posix_spawn("/bin/sh", ["sh", "-c", {script!r}], {{}}))
piped.wait(pid)
"""
    master, slave = pty.openpty()
    os.write(master, typed)
    try:
        subprocess.run([sys.executable, "-c", relay], stdin=slave, stdout=subprocess.DEVNULL, check=True,
                       timeout=60, cwd=TOP)
        assert os.get_blocking(slave)
    finally:
        os.close(master)
        os.close(slave)
