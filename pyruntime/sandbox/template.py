"""Templates: what sandboxes have in common is prepared once.

    with Template("python:3.12-slim", setup=[["pip", "install", "/wheels/numpy.whl"]]) as template:
        with template.sandbox() as box:
            box.run(["python3", "-c", "import numpy"])

The commands of ``setup`` run in a sandbox whose files are in a place that the template keeps: a tmpfs in a mount
namespace of its own, which nobody else sees and which ends with the template or with this program. The sandboxes of the
template are made in copies of that namespace, with these files as one more layer.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace

from pyruntime.errors import StateError, UsageError
from pyruntime.sandbox.api import Sandbox
from pyruntime.sandbox.host_errors import told
from pyruntime.sandbox.leftovers import place
from pyruntime.sandbox.limits import Limits
from pyruntime.sandbox.private_mounts import bounded_files, call_and_keep
from pyruntime.sandbox.settings import OPTIONS
from pyruntime.sandbox.sources import (
    HostSource,
    Prepared,
    RootSource,
    keep_image,
    overlay,
    source_of,
    writable_directory,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Any

    from pyruntime.images.api import ImageStore
    from pyruntime.images.progress import Progress


class Template:
    """What sandboxes have in common, from the call of the constructor until ``close``.

    ``root``     as for Sandbox; None: the host's own system
    ``setup``    commands that are run once, in a sandbox where everything is writable, one after the other
    ``files``    files that are written before: absolute paths in the sandbox and contents
    ``setup_user``  who runs the commands, and owns the files; by default root, without capabilities
    ``setup_timeout``  seconds of each command; None: no limit
    ``options``  as for Sandbox: limits, mounts, env, cwd, user, writable, network, seccomp, devices, interpreter,
                 require_limits

    What has been written anywhere but to /tmp and /dev/shm is there in each sandbox, also in /work. It takes at most
    ``limits.disk`` bytes of memory once, and each sandbox as much for its own changes. Mounts that the host gets later
    are not visible in the sandboxes.
    """

    @told("make a template of sandboxes")
    def __init__(self, root: str | os.PathLike[str] | RootSource | None = None, *, setup: Sequence[Sequence[str]] = (),
                 files: Mapping[str, bytes | str] | None = None, setup_user: int | tuple[int, int] = 0,
                 setup_timeout: float | None = 600.0, store: ImageStore | None = None,
                 progress: Progress | None = None, **options: Any) -> None:
        """Raises RunFailed if a command of the set-up fails, and what Sandbox raises; then nothing is left."""
        if unknown := sorted(options.keys() - OPTIONS):
            raise UsageError(f"{unknown[0]}: there is no such option of a sandbox: write {', '.join(sorted(OPTIONS))}")
        self._options = options
        self._closed = False
        given = root if isinstance(root, RootSource) else source_of(root, store, progress) if root else HostSource()
        with ExitStack() as undo:
            self._source = given.resolve(undo)
            if setup or files:
                limits: Limits = options.get("limits") or Limits()
                namespace = private_place(_kept(), limits.bytes_of_disk())
                undo.callback(os.close, namespace)
                source = _Setup(self._source, namespace)
                with Sandbox(source, **{**options, "writable": True, "user": setup_user, "interpreter": ""}) as box:
                    for path, data in (files or {}).items():
                        box.write(path, data)
                    for command in setup:
                        box.run(command, timeout=setup_timeout, check=True)
                    self._source = _Layered(box._container.prepared, namespace)
            self._held = undo.pop_all()

    def sandbox(self, **options: Any) -> Sandbox:
        """A new sandbox; ``options`` are those of Sandbox, in addition to the template's, or instead of them. Raises
        StateError if the template is closed, and what Sandbox raises."""
        if self._closed:
            raise StateError("the template is closed")
        return Sandbox(self._source, **{**self._options, **options})

    def close(self) -> None:
        """Forget the files; living sandboxes keep them. May be called more than once."""
        self._closed = True
        self._held.close()

    def __enter__(self) -> Template:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_held"):
            self._held.close()


def _kept() -> str:
    """Where a template's files are, in its own mount namespace."""
    return f"{place()}/template"


def private_place(path: str, size: int) -> int:
    """A mount namespace in which ``path`` is an empty tmpfs of this size, in bytes; it exists while its descriptor is
    open. Raises HostError."""
    return call_and_keep(bounded_files, path, size)[1]


class _Setup(RootSource):
    """The root filesystem of the set-up: its changes are in the template's place."""

    def __init__(self, source: RootSource, namespace: int) -> None:
        self._source = source
        self.namespace = namespace

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """The inner root filesystem."""
        prepared = self._source.prepare(_kept(), user)
        writable_directory(f"{_kept()}/w", 0o755, user)
        prepared.work = f"{_kept()}/w"
        return prepared


class _Layered(RootSource):
    """The root filesystem of a template's sandbox: the layers of the set-up, and its changes as one more layer."""

    def __init__(self, prepared: Prepared, namespace: int) -> None:
        self._prepared = prepared
        self.namespace = namespace

    def resolve(self, held: ExitStack) -> RootSource:
        """Itself; the template's image is kept for the sandbox, too."""
        keep_image(self._prepared, held)
        return self

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """An overlay, and another one for /work."""
        before = self._prepared
        root = overlay([*before.layers, *before.uppers] or [before.rootfs], scratch)
        os.mkdir(f"{scratch}/above", 0o700)
        work = overlay([before.work], f"{scratch}/above")
        os.chown(work.rootfs, *user)
        return replace(before, rootfs=root.rootfs, work=work.rootfs, work_before=before.work,
                       uppers=[*before.uppers, *root.uppers] if before.layers else ())
