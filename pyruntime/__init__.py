"""pyruntime: an OCI-spec low-level container runtime.

``Runtime`` and ``State`` are the library of containers (pyruntime.runtime.api), ``ImageStore`` that of images
(pyruntime.images.api); ``errors`` is the tree of everything that it raises.
They are loaded when they are first asked for: the command imports this package too, and each import counts there.
"""

from __future__ import annotations

from pyruntime._version import __version__

__all__ = ["ImageStore", "Runtime", "State", "__version__", "errors"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime import errors
    from pyruntime.images.api import ImageStore
    from pyruntime.runtime.api import Runtime, State


def __getattr__(name: str) -> object:
    if name in ("Runtime", "State"):
        # lazy: so that commands, which import this package too, load only what they need
        from pyruntime.runtime import api

        return getattr(api, name)
    if name == "ImageStore":
        from pyruntime.images.api import ImageStore  # lazy: a library of containers needs no images

        return ImageStore
    if name == "errors":
        import pyruntime.errors  # lazy: as above

        return pyruntime.errors
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
