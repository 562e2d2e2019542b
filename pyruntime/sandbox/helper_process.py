"""The helper process of sandboxes without root (helper.py): it is root of a user namespace, with mounts of its own,
and forks for each call. Its standard input is the socket to the program that it belongs to."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from contextlib import suppress

from pyruntime.errors import HostError
from pyruntime.images import rootless
from pyruntime.images.store import extract  # noqa: F401  here, and not in each child
from pyruntime.sandbox import snapshot, template, trees  # noqa: F401  likewise
from pyruntime.sandbox.helper import ASK, failure, receive, received
from pyruntime.sandbox.leftovers import settle
from pyruntime.system import kernel
from pyruntime.system.uapi import CLONE_NEWNS, MS_PRIVATE, MS_SLAVE
from pyruntime.system.user_namespace import id_map


def main(entered: int = -1) -> None:
    """Serve until the program ends, or does not want us any more. ``entered``: a descriptor of the user namespace to be
    in; -1: a new one."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(1, 0)   # /dev/null: what is opened later gets no number of a standard stream
    os.chdir("/")   # not to keep the program's directory busy
    os.umask(0o022)   # whatever that of the program
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)   # the program may ignore it
    try:
        settle()
        if entered >= 0:
            rootless.join(entered)
        else:
            rootless.enter()
        # Mounts that the host gets later appear here, not those of ours there.
        kernel.set_propagation(MS_SLAVE)
    except BaseException as error:
        control.send(failure(error))
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)   # nobody waits for the children
    control.send(pickle.dumps((True, (id_map("uid"), id_map("gid")))))
    while True:
        asked, fds = receive(control)
        if not asked:
            return
        with socket.socket(fileno=fds[0]) as sock:
            try:
                child = os.fork()
            except OSError as error:   # a program in a sandbox may have made all the processes that the user may have
                _refuse(sock, error)
                continue
            if child == 0:
                try:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    control.close()
                    _serve(sock)
                finally:
                    os._exit(0)


def _serve(sock: socket.socket) -> None:
    """One call: its descriptors and its pickle; the answer is one byte, with the mount namespace, and the result."""
    _, fds = receive(sock)
    try:
        function, args, based = pickle.loads(received(sock))
        try:
            if based:
                kernel.setns(fds.pop(), CLONE_NEWNS)
            kernel.unshare(CLONE_NEWNS)
            kernel.set_propagation(MS_PRIVATE)
        except OSError as error:
            raise HostError(f"cannot make mounts for a sandbox: {error.strerror}") from None
        answer = pickle.dumps((True, function(*fds, *args)))
    except BaseException as error:
        answer = failure(error)
    _answer(sock, answer)


def _refuse(sock: socket.socket, error: OSError) -> None:
    """Answer a call that cannot be carried out."""
    with suppress(OSError):   # nobody waits for the answer any more
        for fd in receive(sock)[1]:
            os.close(fd)
        received(sock)
        _answer(sock, failure(HostError(f"cannot start a process for a sandbox: {error.strerror}: end other processes"
                                        " of this user, or allow more (RLIMIT_NPROC, pids.max)")))


def _answer(sock: socket.socket, answer: bytes) -> None:
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        socket.send_fds(sock, [ASK], [namespace])
    finally:
        os.close(namespace)
    sock.sendall(answer)
