"""The streams of a process between the server, which opens them, and the monitor, which holds them."""

from __future__ import annotations

import _socket
import os
import struct

from pyruntime.shim.link import CLOSE_STDIN, HOLD, RELEASE, RESIZE, TERMINAL, ProcessParent
from pyruntime.shim.streams import ProcessStreams, StreamNames, end_loggers, open_streams
from pyruntime.shim.task import Task, TaskProcess
from pyruntime.system import sockets

_DRAINED = 11.0   # seconds for the monitor to copy the rest of a terminal's output; it takes 10 at most

# A pair of sockets if the process has a terminal: the second one is sent its master.
Ours = tuple[_socket.socket, ...]


def open_for(task: Task, process: TaskProcess, namespace: str) -> tuple[ProcessStreams, Ours]:
    """Open what the process needs. Raises HostError, UsageError."""
    # Of an attempt of a server that was killed: the key is the same. Its FIFOs stay open: otherwise the client would
    # take their end for that of the process.
    task.link.send(RELEASE, process.key, flags=2)
    streams = open_streams(
        StreamNames(process.stdin, process.stdout, process.stderr, terminal=process.terminal, owner=task.owner),
        {"CONTAINER_ID": task.id, "CONTAINER_NAMESPACE": namespace})
    process.loggers = streams.loggers
    task.parent.open_fifos(process.key, streams.fifos)
    return streams, _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM) if process.terminal else ()


def parent_of(task: Task, process: TaskProcess, streams: ProcessStreams) -> ProcessParent:
    """The parent of the process: the monitor, which gives it its streams."""
    return ProcessParent(task.parent, process.key, streams.child, streams.fifos, terminal=process.terminal)


def hand_over(task: Task, process: TaskProcess, streams: ProcessStreams, ours: Ours) -> None:
    """Give the monitor what it holds for the process."""
    if streams.held:
        task.link.send(HOLD, process.key, fds=streams.held)
    if process.input_closed:
        task.link.send(CLOSE_STDIN, process.key)
    if not ours:
        return
    master = sockets.receive_fd(ours[0])
    try:
        task.link.send(TERMINAL, process.key, fds=[master, *(fd for fd in streams.child[1:2] if fd >= 0)])
    finally:
        os.close(master)
    resize(task, process)


def close(streams: ProcessStreams, ours: Ours) -> None:
    """Close the server's copies."""
    streams.close()
    for end in ours:
        end.close()


def resize(task: Task, process: TaskProcess) -> None:
    """Give the terminal the size that the client wants, if it has said so."""
    if process.size:
        rows, columns = process.size
        task.link.send(RESIZE, process.key, struct.pack("=4H", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def let_go(task: Task, process: TaskProcess) -> None:
    """Let the monitor close all that it holds for the process."""
    for key in (process.connection, process.starting, process.key):
        task.link.send(RELEASE, key, flags=1)


def release(task: Task, process: TaskProcess, released: set[int]) -> None:
    """Close the streams of a process that has ended; what a terminal has written is copied before."""
    if process.terminal:
        task.link.send(RELEASE, process.key)
        task.await_released(process.key, released, _DRAINED)
    let_go(task, process)
    end_loggers(process.loggers)
