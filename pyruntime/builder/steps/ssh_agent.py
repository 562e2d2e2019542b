"""The socket of an SSH agent for RUN --mount=type=ssh: a socket of the build, which relays to the agent.

The agent's socket belongs to the user who builds, and other users of the container could not connect to it. A process
relays the bytes; it ends with the RUN.
"""

from __future__ import annotations

import os
import select

from pyruntime.errors import BuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket
    from typing import NoReturn

_MOST = 64         # connections at once
_STEP = 1 << 16


class Relay:
    """Listens at ``path``; ``end`` must be called."""

    __slots__ = ("_life", "_pid")

    def __init__(self, path: str, agent: str, *, mode: int, owner: tuple[int, int]) -> None:
        """``agent`` is the path of the agent's socket. Raises BuildError, OSError."""
        from socket import AF_UNIX, socket  # lazy: only with an SSH agent

        listening = socket(AF_UNIX)
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listening.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")   # unix(7): at most 107 bytes
            os.chmod(path, mode)
            os.chown(path, *owner)
            listening.listen()
            with socket(AF_UNIX) as trying:
                trying.connect(agent)
        except OSError as error:
            listening.close()
            raise BuildError(f'the SSH agent at "{agent}" cannot be reached: {error.strerror}') from None
        finally:
            os.close(directory)
        ours, self._life = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._life)
            _carry(listening, agent, ours)
        os.close(ours)
        listening.close()

    def end(self) -> None:
        """End the process, and wait for it."""
        os.close(self._life)
        os.waitpid(self._pid, 0)


def _carry(listening: socket, agent: str, life: int) -> NoReturn:
    """Relay until the other side of ``life`` is closed."""
    # lazy: only with an SSH agent
    import _signal  # type: ignore[import-not-found]

    try:
        _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
        poll = select.poll()
        poll.register(life, select.POLLIN)
        poll.register(listening, select.POLLIN)
        others: dict[int, tuple[socket, socket]] = {}   # by descriptor: its socket, and the peer
        while life not in (ready := {fd for fd, _ in poll.poll()}):
            for fd in ready - {listening.fileno()}:
                if fd in others:   # else it has just been closed with its peer
                    _pass_on(poll, others, fd, listening)
            if listening.fileno() in ready:   # last: a new descriptor may have the number of a closed one
                _accept(poll, others, listening, agent)
    finally:
        os._exit(0)


def _accept(poll: select.poll, others: dict[int, tuple[socket, socket]], listening: socket, agent: str) -> None:
    from socket import AF_UNIX, socket  # lazy: only with an SSH agent

    asking = listening.accept()[0]
    answering = socket(AF_UNIX)
    try:
        answering.connect(agent)
    except OSError:   # the agent has ended: close the connection
        asking.close()
        answering.close()
        return
    for one, other in ((asking, answering), (answering, asking)):
        others[one.fileno()] = (one, other)
        poll.register(one, select.POLLIN)
    if len(others) >= 2 * _MOST:
        poll.unregister(listening)


def _pass_on(poll: select.poll, others: dict[int, tuple[socket, socket]], fd: int, listening: socket) -> None:
    one, other = others[fd]
    try:
        data = one.recv(_STEP)
        if data:
            other.sendall(data)
            return
    except OSError:   # one side has closed the connection
        pass
    for side in (one, other):
        poll.unregister(side)
        del others[side.fileno()]
        side.close()
    poll.register(listening, select.POLLIN)
