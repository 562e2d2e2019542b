"""Overlays by mount(2): for kernels before 6.8, whose overlayfs does not take layers one by one (``lowerdir+``)."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PAGE = 4096   # of options: mount(2)


def mount_by_descriptors(source: str, target: str, layers: Sequence[str], options: Sequence[str], flags: int) -> None:
    """Mount an overlay of these layers, the topmost first, at ``target``. The layers are named by descriptors, of which
    a page holds two hundred, however long their paths are. ``options`` are the others, ``flags`` are MS_*. OSError."""
    with opened(layers) as names:
        text = ",".join([f"lowerdir={names}", *options])
        if len(os.fsencode(text)) >= _PAGE:
            raise OSError(errno.E2BIG, f"overlay: {len(layers)} layers are too many for a kernel before 6.8")
        kernel.mount(source, target, "overlay", flags, text)


@contextmanager
def opened(layers: Sequence[str]) -> Iterator[str]:
    """The value of ``lowerdir`` that names these layers by descriptors, which are open meanwhile. OSError."""
    fds: list[int] = []
    try:
        for path in layers:
            fds.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        yield ":".join(f"/proc/self/fd/{fd}" for fd in fds)
    finally:
        for fd in fds:
            os.close(fd)
