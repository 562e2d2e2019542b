"""``dir:DIR``: skopeo's plain directory, with the manifest and the blobs under their hexadecimal digests."""

from __future__ import annotations

import os

from pyruntime.errors import ImageError
from pyruntime.images.digest import check
from pyruntime.images.document import MAX_DOCUMENT, Descriptor
from pyruntime.images.transports.base import Source, Target
from pyruntime.images.transports.files import DirectoryFiles
from pyruntime.images.transports.layout import MODE, Staged
from pyruntime.system.files import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.transports.base import Body

_VERSION = b"Directory Transport Version: 1.1\n"


def _name(digest: str) -> str:
    return check(digest).partition(":")[2]


class DirectorySource(Source):
    """The image of a directory."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.label = path
        self._files = DirectoryFiles(path)

    def root(self) -> tuple[bytes, str]:
        """manifest.json; its media type is its own mediaType."""
        raw = self._files.read("manifest.json", MAX_DOCUMENT)
        if raw is None:
            raise ImageError(f'"{self.label}" is not a directory of an image: it has no manifest.json')
        return raw, ""

    def open(self, descriptor: Descriptor, offset: int = 0) -> Body:
        """The content of a blob, starting at ``offset``; manifests of an index have a longer file name."""
        name = _name(descriptor.digest)
        return self._files.open(name if self._files.size(name) >= 0 else f"{name}.manifest.json", offset)


class DirectoryTarget(Target):
    """A directory for one image, which is created."""

    def __init__(self, path: str) -> None:
        self.label = path
        self._path = path
        if os.path.isdir(path) and os.listdir(path) and not os.path.exists(os.path.join(path, "version")):
            raise ImageError(f'"{path}" is not empty: name a new or an empty directory')

    def begin(self) -> None:
        """Create the directory."""
        try:
            os.makedirs(self._path, exist_ok=True)
            replace(os.path.join(self._path, "version"), _VERSION, mode=MODE, sync=True)
        except OSError as error:
            raise ImageError(f'cannot write into "{self._path}": {error.strerror}') from None

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is present."""
        path = os.path.join(self._path, _name(descriptor.digest))
        return os.path.exists(path) and os.path.getsize(path) == descriptor.size

    def blob(self, descriptor: Descriptor, source: Source, advance: Callable[[int], None]) -> str:
        """Write a blob."""
        with Staged(os.path.join(self._path, _name(descriptor.digest)), descriptor) as staged:
            source.fetch(descriptor, staged, advance)
        return "copied"

    def document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Write a manifest of an index."""
        replace(os.path.join(self._path, f"{_name(descriptor.digest)}.manifest.json"), raw, mode=MODE, sync=True)

    def finish(self, raw: bytes, descriptor: Descriptor) -> None:
        """Write the root document."""
        replace(os.path.join(self._path, "manifest.json"), raw, mode=MODE, sync=True)
