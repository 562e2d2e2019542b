"""The parent of a container's processes, which starts the stub and waits for it and for init (CLONE_PARENT).

Usually that is the runtime. A caller that must be able to end without them, as containerd's shim, gives another parent,
which starts the processes for it.
"""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Parent:
    """This process. A subclass whose processes are those of another process overrides `spawn` and `wait`."""

    def spawn(self, program: int, words: list[str], descriptors: Sequence[tuple[int, int]]) -> int:
        """Start a program, given by a descriptor, without an environment; return its pid. ``descriptors``: a descriptor
        of this process, and its number in the new one. Raises OSError."""
        # First moved above their final numbers, so that none is overwritten before it is moved there.
        above = max((target for _, target in descriptors), default=2) + 1
        parked: list[int] = []
        try:
            for fd in (program, *(fd for fd, _ in descriptors)):
                parked.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above))
            actions = [(os.POSIX_SPAWN_DUP2, fd, target)
                       for fd, (_, target) in zip(parked[1:], descriptors, strict=True)]
            return os.posix_spawn(f"/proc/self/fd/{parked[0]}", words, {}, file_actions=actions)
        finally:
            for fd in parked:
                os.close(fd)

    def program(self, make: Callable[[], int]) -> int:
        """A descriptor of the stub's program, which the caller closes; ``make`` makes a copy of it."""
        return make()

    def wait(self, pid: int) -> int:
        """Wait for the end of a process that `spawn` has started, or of its sibling; return its wait status (wait(2)).
        Raises ChildProcessError if there is none."""
        return os.waitpid(pid, 0)[1]

    def let_end(self, pid: int) -> None:
        """Wait for a process that is about to end by itself, and whose wait status is of no interest."""
        try:
            self.wait(pid)
        except ChildProcessError:
            return   # a program that ignores SIGCHLD has no statuses of its children (wait(2))


THIS_PROCESS = Parent()
