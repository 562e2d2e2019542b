"""pyruntime: containers as a library, and the commands `pyruntime`, `pyimage` and `pocker`.

``Runtime`` and ``State`` are the OCI low-level runtime (pyruntime.runtime.api), ``ImageStore`` the image library
(pyruntime.images.api), ``Builder`` builds Dockerfiles (pyruntime.builder.api), ``Engine`` is the engine of `pocker`
(pyruntime.pocker.api), ``Sandbox`` and ``run_sandboxed`` run programs that are not trusted (pyruntime.sandbox.api);
``errors`` is the tree of the exceptions that they raise. Each is loaded when it is first used: the commands import this
package too, and every import costs start-up time.
"""

from __future__ import annotations

from pyruntime._version import __version__

__all__ = ["AsyncPool", "AsyncSandbox", "BuildRequest", "Builder", "Done", "Engine", "HostMount", "ImageStore",
           "Limits", "Pool", "Runtime", "Sandbox", "State", "Template", "__version__", "errors", "run_sandboxed",
           "run_sandboxed_async"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime import errors
    from pyruntime.builder.api import Builder
    from pyruntime.builder.request import BuildRequest
    from pyruntime.images.api import ImageStore
    from pyruntime.pocker.api import Engine
    from pyruntime.runtime.api import Runtime, State
    from pyruntime.sandbox.api import Done, HostMount, Limits, Sandbox
    from pyruntime.sandbox.asynchronous import AsyncPool, AsyncSandbox, run_sandboxed_async
    from pyruntime.sandbox.one_shot import run_sandboxed
    from pyruntime.sandbox.pool import Pool
    from pyruntime.sandbox.template import Template


def __getattr__(name: str) -> object:
    if name in ("Runtime", "State"):
        # lazy: so that commands, which import this package too, load only what they need
        from pyruntime.runtime import api

        return getattr(api, name)
    if name in ("Done", "Limits", "HostMount", "Sandbox"):
        from pyruntime.sandbox import api as sandbox  # lazy: as above

        return getattr(sandbox, name)
    if name in ("AsyncPool", "AsyncSandbox", "run_sandboxed_async"):
        from pyruntime.sandbox import asynchronous  # lazy: as above, and asyncio

        return getattr(asynchronous, name)
    if name == "Template":
        from pyruntime.sandbox.template import Template  # lazy: as above

        return Template
    if name == "Pool":
        from pyruntime.sandbox.pool import Pool  # lazy: as above

        return Pool
    if name == "run_sandboxed":
        from pyruntime.sandbox.one_shot import run_sandboxed  # lazy: as above

        return run_sandboxed
    if name == "Engine":
        from pyruntime.pocker.api import Engine  # lazy: as above

        return Engine
    if name == "Builder":
        from pyruntime.builder.api import Builder  # lazy: as above

        return Builder
    if name == "BuildRequest":
        from pyruntime.builder.request import BuildRequest  # lazy: as above

        return BuildRequest
    if name == "ImageStore":
        from pyruntime.images.api import ImageStore  # lazy: as above

        return ImageStore
    if name == "errors":
        import pyruntime.errors  # lazy: as above

        return pyruntime.errors
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """For completion: also what has not been loaded yet."""
    return sorted({*globals(), *__all__})
