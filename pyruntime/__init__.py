"""pyruntime: containers as a library, and the commands `pyruntime`, `pyimage` and `pocker`.

``Runtime`` and ``State`` are the OCI low-level runtime (pyruntime.runtime.api), ``ImageStore`` the image library
(pyruntime.images.api), ``Engine`` the engine of `pocker` (pyruntime.pocker.api), ``Sandbox`` and ``run_sandboxed`` run
programs that are not trusted (pyruntime.sandbox.api); ``errors`` is the tree of the exceptions that they raise. Each is
loaded when it is first used: the commands import this package too, and every import costs start-up time.
"""

from __future__ import annotations

from pyruntime._version import __version__

__all__ = ["AsyncPool", "AsyncSandbox", "Done", "Engine", "HostMount", "ImageStore", "Limits", "Pool", "Runtime",
           "Sandbox", "State", "Template", "__version__", "errors", "run_sandboxed", "run_sandboxed_async"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime import errors
    from pyruntime.images.api import ImageStore
    from pyruntime.pocker.api import Engine
    from pyruntime.runtime.api import Runtime, State
    from pyruntime.sandbox.api import Done, HostMount, Limits, Sandbox
    from pyruntime.sandbox.asynchronous import AsyncPool, AsyncSandbox, run_sandboxed_async
    from pyruntime.sandbox.one_shot import run_sandboxed
    from pyruntime.sandbox.pool import Pool
    from pyruntime.sandbox.template import Template


_MODULES = {
    "AsyncPool": "sandbox.asynchronous", "AsyncSandbox": "sandbox.asynchronous", "Done": "sandbox.api",
    "Engine": "pocker.api", "HostMount": "sandbox.api", "ImageStore": "images.api", "Limits": "sandbox.api",
    "Pool": "sandbox.pool", "Runtime": "runtime.api", "Sandbox": "sandbox.api", "State": "runtime.api",
    "Template": "sandbox.template", "run_sandboxed": "sandbox.one_shot", "run_sandboxed_async": "sandbox.asynchronous"}


def __getattr__(name: str) -> object:
    if name == "errors":
        return __import__("pyruntime.errors", fromlist=[name])
    if name in _MODULES:
        return getattr(__import__(f"pyruntime.{_MODULES[name]}", fromlist=[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """For completion: also what has not been loaded yet."""
    return sorted({*globals(), *__all__})
