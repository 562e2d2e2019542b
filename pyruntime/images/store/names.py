"""Names of images: a file for each, with the descriptor of its manifest or index, replaced by rename(2).

The file's name is the reference, quoted as in a URL, so that a listing is readable; if that is too long for a file
name, it ends in a hash. The file holds the reference itself.
"""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, ImageError, NoSuchImage, UsageError
from pyruntime.images.digest import check, of
from pyruntime.images.document import Descriptor
from pyruntime.images.store.layout import write_file
from pyruntime.system import files
from pyruntime.system.json import decode, encode
from pyruntime.system.times import timestamp_in_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.layout import Layout

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:@+")
_LONGEST = 200
NAMELESS = "localhost/nameless"   # with the digest: the name of a dangling image
_NAMELESS = (NAMELESS, "localhost/built", "localhost/loaded")   # the others are in stores that version 0.1.0 wrote


def is_nameless(name: str) -> bool:
    """Whether a name stands for a dangling image."""
    return name.partition("@")[0] in _NAMELESS


def file_name(name: str) -> str:
    """The file of a name; raises UsageError for an invalid name."""
    if not name or "\0" in name or "\n" in name:
        raise UsageError(f"{encode(name)} is not a valid image name")
    data = os.fsencode(name)
    quoted = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in data)
    if quoted.startswith("."):   # a hidden file, or ".."
        quoted = "%2E" + quoted[1:]
    return quoted if len(quoted) <= _LONGEST else f"{quoted[:100]}~{of(data)[7:]}"


def read(layout: Layout, file: str) -> tuple[str, Descriptor, str]:
    """Name, descriptor and time of a file in names/; raises ImageError if it is damaged."""
    path = layout.below("names", file)
    try:
        value = decode(files.read(path), path)
        assert isinstance(value, dict)
        members = dict(value["descriptor"])
        found = Descriptor(members.pop("mediaType"), check(members.pop("digest")), int(members.pop("size")), members)
        return str(value["name"]), found, str(value.get("when", ""))
    except (ConfigError, AssertionError, KeyError, TypeError, ValueError, AttributeError):
        raise ImageError(f'"{path}" is damaged: remove it, and pull the image again', path) from None


def names(layout: Layout) -> dict[str, Descriptor]:
    """All names, sorted, and their descriptors."""
    found = []
    for file in os.listdir(layout.below("names")):
        try:
            name, descriptor, _ = read(layout, file)
        except FileNotFoundError:
            continue   # meanwhile removed
        found.append((name, descriptor))
    return dict(sorted(found, key=lambda item: item[0]))


def resolve(layout: Layout, name: str) -> Descriptor:
    """The descriptor of a name; raises NoSuchImage."""
    try:
        stored, descriptor, _ = read(layout, file_name(name))
    except FileNotFoundError:
        raise NoSuchImage(f'no image has the name "{name}": pull it, or look at the list of images', name) from None
    if stored != name:
        raise ImageError(f'"{layout.below("names", file_name(name))}" is damaged: it holds "{stored}": remove it',
                         name)
    return descriptor


def tag(layout: Layout, name: str, descriptor: Descriptor) -> None:
    """Give a name to a stored manifest or index. An image that loses its last name stays as a dangling image.

    The content must be under a lease until this function has returned.
    """
    file = file_name(name)
    _keep_predecessor(layout, name, descriptor.digest)
    plain = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)   # no annotations: they may be long
    data = encode({"name": name, "descriptor": plain.json(), "when": timestamp_in_seconds()}).encode()
    try:
        # The blobs' names first: after a power failure a name must not lead to missing content.
        layout.sync("blobs/sha256", "blobs/sha512")
        with layout.shared():   # the gc must not see the file unlocked
            temporary = layout.work()
            fd = write_file(temporary, data, lock=True)
            try:
                os.rename(temporary, layout.below("names", file))
            finally:
                os.close(fd)
        layout.sync("names")
    except OSError as error:
        raise layout.failure(error, f'writing the name "{name}"') from None
    if not is_nameless(name):
        untag(layout, f"{NAMELESS}@{descriptor.digest}")   # it has a name now


def _keep_predecessor(layout: Layout, name: str, digest: str) -> None:
    """Before ``name`` moves to ``digest``: keep the image that has no other name, as Docker does after a rebuild."""
    known = {} if is_nameless(name) else names(layout)
    previous = known.pop(name, None)
    if previous and previous.digest not in {digest, *(other.digest for other in known.values())}:
        tag(layout, f"{NAMELESS}@{previous.digest}", previous)


def keep(layout: Layout, descriptor: Descriptor) -> None:
    """Keep an image as dangling, unless it has a name."""
    if all(there.digest != descriptor.digest for there in names(layout).values()):
        tag(layout, f"{NAMELESS}@{descriptor.digest}", descriptor)


def untag(layout: Layout, name: str) -> bool:
    """Remove a name; whether it existed. The next garbage collection removes its content."""
    try:
        os.unlink(layout.below("names", file_name(name)))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise layout.failure(error, f'removing the name "{name}"') from None
    return True
