"""Images for sandboxes of ordinary users: the root filesystem is unpacked once, below STORE/sandboxes.

The owners of its files are the user and the user's subordinate IDs (subuid(5)), which only a process without threads
can set: `pyimage` unpacks. In the sandbox, where one ID is mapped, files of others than root belong to nobody.
"""

from __future__ import annotations

import os
import subprocess

from pyruntime.errors import ImageError, NoSuchImage
from pyruntime.system.locks import Lock
from pyruntime.system.processes import own_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.api import ImageStore


def unpacked(name: str, images: ImageStore) -> str:
    """The bundle of an image, which is pulled if it is missing. Raises ImageError, HostError."""
    root = images.store.root
    try:
        image = images.find(name)
    except NoSuchImage:
        _pyimage(root, "pull", "--quiet", name)
        image = images.find(name)
    place = f"{root}/sandboxes"
    os.makedirs(place, 0o700, exist_ok=True)
    bundle = f"{place}/{image.id.partition(':')[2]}"
    with Lock(f"{place}/lock"):
        if not os.path.exists(f"{bundle}/complete"):
            _pyimage(root, "umount", "--remove", bundle, check=False)   # of a program that was killed
            _pyimage(root, "unpack", "--driver", "copy", "--volumes", "none", name, bundle)
            open(f"{bundle}/complete", "x").close()
    return bundle


def _pyimage(root: str, *words: str, check: bool = True) -> None:
    command = [*own_program("commandline/__main__.py"), "pyimage", "--root", root, *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          check=False)
    if check and done.returncode:
        raise ImageError(done.stderr.strip().removeprefix("error: ") or f"pyimage {words[0]}: {done.returncode}")
