"""Overlays by mount(2): for kernels before 6.8, whose overlayfs does not take layers one by one (``lowerdir+``)."""

from __future__ import annotations

import errno
import os

from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE = 4096   # of options: mount(2)


def mount_by_descriptors(source: str, target: str, layers: Sequence[str], options: Sequence[str], flags: int) -> None:
    """Mount an overlay of these layers, the topmost first, at ``target``. The layers are named by descriptors, of which
    a page holds two hundred, however long their paths are. ``options`` are the others, ``flags`` are MS_*. OSError."""
    opened: list[int] = []
    try:
        for path in layers:
            opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        text = ",".join(["lowerdir=" + ":".join(f"/proc/self/fd/{fd}" for fd in opened), *options])
        if len(os.fsencode(text)) >= _PAGE:
            raise OSError(errno.E2BIG, f"overlay: {len(opened)} layers are too many for a kernel before 6.8")
        kernel.mount(source, target, "overlay", flags, text)
    finally:
        for fd in opened:
            os.close(fd)
