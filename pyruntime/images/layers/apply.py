"""Extracts a layer's archive into a directory in overlay form (layer.md#applying-changesets).

extract    bytes of a blob -> an empty directory, independently of other layers
complete   then what depends on the layers below (pyruntime.images.layers.complete)

Overlay form is that of overlayfs's upper directory: a whiteout is a character device 0:0, a directory that hides the
directory below has the attribute overlay.opaque. Every byte of a layer is untrusted and this process is root, so:

* paths are resolved by pyruntime.images.layers.places, files created with O_EXCL and O_NOFOLLOW in a known directory
* owner, attributes, mode, times in that order: chown(2) clears set-user-ID and security.capability, and every write
  changes the times. Directories get theirs at the end, the deepest first: mode 0555 excludes the directory's owner
* an attribute or a device node with a meaning for overlayfs is never created
* a failure raises an error that names the entry; the caller removes the directory

The order of entries matters only for a path that occurs twice (the last entry wins). Whiteouts hide files of lower
layers, never of this layer, wherever they are in the archive.
"""

from __future__ import annotations

import _hashlib
import os
from errno import EPERM

from pyruntime.errors import LayerError
from pyruntime.images.layers import content, names, xattrs
from pyruntime.images.layers.complete import complete
from pyruntime.images.layers.compression import Inflater
from pyruntime.images.layers.options import Extracted, ExtractOptions, LayerLimits, system_error
from pyruntime.images.layers.pax import about, shown
from pyruntime.images.layers.places import LayerDirectories, LayerDirectory
from pyruntime.images.layers.stream import Ahead, LayerStream
from pyruntime.images.layers.tar import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, LINK, SYMLINK, Reader, TarEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ExtractOptions", "Extracted", "LayerLimits", "complete", "extract"]
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL = 64 << 10                 # bytes of a file that is written in one call
_INLINE = 1 << 20                 # bytes of archive below which a thread costs more than it saves
_SPECIAL = {CHARACTER: 0o020000, BLOCK: 0o060000, FIFO: 0o010000}   # S_IFCHR, S_IFBLK, S_IFIFO


def extract(read: Callable[[int], bytes], directory_fd: int, options: ExtractOptions | None = None,
            limits: LayerLimits | None = None) -> Extracted:
    """Extract a layer into an empty directory that no other process uses.

    ``read(n)`` returns up to n bytes of the blob, compressed or not, b"" at its end; it may be called in another
    thread. Raises LayerError for an invalid layer, HostError if the disk is full.
    """
    options, limits = options or ExtractOptions(), limits or LayerLimits()
    source = Inflater(read, limits.bytes, limits.ratio)
    digest = _hashlib.openssl_sha256()
    first: list[bytes] = []
    while sum(map(len, first)) < _INLINE and (chunk := source.read()):
        first.append(chunk)
    if not first or sum(map(len, first)) < _INLINE:
        waiting = iter(first)
        return _extract(LayerStream(lambda: next(waiting, b""), digest.update), digest, directory_fd, options, limits)
    first.reverse()
    with Ahead(lambda: first.pop() if first else source.read()) as ahead:
        return _extract(LayerStream(ahead.chunk, digest.update), digest, directory_fd, options, limits)


def _extract(stream: LayerStream, digest: _hashlib.HASH, directory_fd: int, options: ExtractOptions, limits: LayerLimits
             ) -> Extracted:
    applier = _Applier(Reader(stream, limits.entries), directory_fd, options, limits)
    try:
        applier.run()
        done = applier.finish()
        done.size = stream.drain()
    finally:
        applier.places.close()
        options.notes_done()
    done.diff_id = f"sha256:{digest.hexdigest()}"
    return done


class _Applier:
    """One extraction."""

    def __init__(self, reader: Reader, directory_fd: int, options: ExtractOptions, limits: LayerLimits) -> None:
        self.reader = reader
        self.options = options
        self.places = LayerDirectories(directory_fd, limits.entries, limits.memory)
        self.done = Extracted()
        self.left = limits.bytes
        self.owners: dict[tuple[int, int], tuple[int, int]] = {}
        self.here = b""
        self.masked, self.mine = self._probe(directory_fd)
        self.make = {FILE: self._file, LINK: self._link, SYMLINK: self._symlink, CHARACTER: self._special,
                     BLOCK: self._special, DIRECTORY: self._directory, FIFO: self._special}

    @staticmethod
    def _probe(directory_fd: int) -> tuple[int, tuple[int, int]]:
        """The mode bits and the owner of new files here.

        They depend on the umask, default ACLs, set-group-ID, mount options and id-mapped mounts, and the umask cannot
        be read without changing it. Knowing them saves fchmod(2) and fchown(2) for most files.
        """
        if os.listdir(directory_fd):
            raise LayerError("the directory to extract a layer into is not empty")
        fd = os.open(b"probe", _CREATE, 0o777, dir_fd=directory_fd)
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
            os.unlink(b"probe", dir_fd=directory_fd)
        return 0o7000 | (0o777 & ~found.st_mode), (found.st_uid, found.st_gid)

    def run(self) -> None:
        """Apply every entry."""
        reader, apply = self.reader, self.apply
        while True:
            entry = reader.next()
            if entry is None:
                return
            self.done.entries += 1
            try:
                apply(entry)
            except LayerError as error:
                raise about(error, entry.name) from None
            except OSError as error:
                raise system_error(error, entry.name) from None

    def apply(self, entry: TarEntry) -> None:
        """Extract one entry."""
        name = names.clean(entry.name)
        places = self.places
        places.trim()   # no descriptor is in use here
        if b".wh." in name and (hidden := names.whiteout(name)) is not None:
            self._whiteout(name, hidden)
            return
        head, _, base = name.rpartition(b"/")
        if base:
            self.make[entry.type](places.at(head), base, entry)
        elif entry.type == DIRECTORY:
            self._explicit(places.root, entry)
        else:
            raise LayerError("the root must be a directory")

    # ---- what there is to make ------------------------------------------------------------------

    def _file(self, parent: LayerDirectory, name: bytes, entry: TarEntry) -> None:
        mode = entry.mode
        plain = not mode & self.masked
        try:
            fd = os.open(name, _CREATE, mode if plain else 0o600, dir_fd=self.places.fd(parent))
        except FileExistsError:
            self.places.vacate(parent, name)
            fd = os.open(name, _CREATE, mode if plain else 0o600, dir_fd=self.places.fd(parent))
        try:
            size = entry.size
            if size <= _SMALL and entry.pieces is None:
                if size:
                    data = self.reader.content(size)
                    if os.write(fd, data) != size:
                        content.write(fd, data, 0)
                    self.done.usage += size + -size % content.BLOCK
            else:
                self.left -= entry.size
                if self.left < 0:
                    raise LayerError("the layer's files exceed the maximum size")
                self.done.usage += content.copy(self.reader, entry, fd)
            owner = self.owner(entry)
            if owner != self.mine:
                os.fchown(fd, *owner)
            if entry.xattrs:
                self._attributes(fd, entry)
            if not plain:
                os.fchmod(fd, mode)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)
        if parent.links:
            parent.links.pop(name, None)

    def _directory(self, parent: LayerDirectory, name: bytes, entry: TarEntry) -> None:
        directory = parent.children.get(name)
        if directory is None:
            directory = self.places.make(parent, name)
            self.done.usage += content.BLOCK
        self._explicit(directory, entry)

    def _explicit(self, directory: LayerDirectory, entry: TarEntry) -> None:
        self.owner(entry)   # may raise: here the error gets this entry's name
        self.places.keep(len(entry.name) + sum(len(key) + len(value) for key, value in (entry.xattrs or {}).items()))
        directory.entry = entry

    def _symlink(self, parent: LayerDirectory, name: bytes, entry: TarEntry) -> None:
        if not entry.link:
            raise LayerError("a symbolic link without a target")
        self._placed(parent, name, lambda fd: os.symlink(entry.link, name, dir_fd=fd))
        self._dress(parent, name, entry)

    def _special(self, parent: LayerDirectory, name: bytes, entry: TarEntry) -> None:
        """A device node or a FIFO."""
        major, minor = entry.device
        if entry.type != FIFO and not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise LayerError(f"device {major}:{minor} does not exist: the maximum is 4095:1048575")
        if entry.type == CHARACTER and major == minor == 0:
            raise LayerError("a character device 0:0, a whiteout for overlayfs, is refused")
        node = os.makedev(major, minor)
        try:
            self._placed(parent, name, lambda fd: os.mknod(name, _SPECIAL[entry.type] | 0o600, node, dir_fd=fd))
        except OSError as error:
            if self.options.privileged or entry.type == FIFO or error.errno != EPERM:
                raise
            self.options.note("device nodes that need root",
                              f'"{shown(entry.name)}": device {major}:{minor} skipped: creating it needs root')
            return
        self._dress(parent, name, entry)
        os.chmod(name, entry.mode, dir_fd=self.places.fd(parent))   # a link is impossible here

    def _placed(self, parent: LayerDirectory, name: bytes, make: Callable[[int], object]) -> None:
        """Create anything but a directory, in place of an earlier entry of this layer."""
        try:
            make(self.places.fd(parent))
        except FileExistsError:
            self.places.vacate(parent, name)
            make(self.places.fd(parent))
        if parent.links:
            parent.links.pop(name, None)

    def _dress(self, parent: LayerDirectory, name: bytes, entry: TarEntry) -> None:
        """Set owner, attributes and times of a file that cannot be opened."""
        fd = self.places.fd(parent)
        owner = self.owner(entry)
        if owner != self.mine:
            os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)
        if entry.xattrs:
            self._attributes(xattrs.own_path(fd, name), entry)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)

    def _link(self, parent: LayerDirectory, name: bytes, entry: TarEntry) -> None:
        """A hard link: to a file of this layer now, to a file below when the lower layers are known."""
        places = self.places
        if not entry.link:
            raise LayerError("a hard link without a target")
        target = names.clean(entry.link)
        above, last = places.find(target)
        if above is parent and last == name:
            raise LayerError("a hard link to itself")
        if not last or (above is not None and last in above.children):
            raise LayerError(f'a hard link to the directory "{shown(entry.link)}"')
        if above is not None:
            target = above.path + b"/" + last if above.path else last
            try:
                if not places.is_whiteout(above, last):
                    self._placed(parent, name, lambda fd: os.link(
                        last, name, src_dir_fd=places.fd(above), dst_dir_fd=fd, follow_symlinks=False))
                    return
            except FileNotFoundError:
                target = (above.links or {}).get(last, target)   # a link to a link that must wait too
        if name in parent.children:
            places.vacate(parent, name)
        else:
            try:
                os.unlink(name, dir_fd=places.fd(parent))
            except FileNotFoundError:
                pass   # the usual case: the name is free
            else:
                places.forget()
        parent.links = parent.links or {}
        parent.links[name] = target
        places.keep(len(name) + len(target))

    def _whiteout(self, name: bytes, hidden: bytes) -> None:
        head = name.rpartition(b"/")[0]
        if not hidden:
            self.options.note("marks of AUFS", f'"{shown(name)}": skipped: metadata of AUFS')
        elif hidden == names.OPAQUE:
            self.places.at(head).opaque = True
        else:
            parent = self.places.at(head)
            if self.places.hide(parent, hidden):
                self.done.whiteouts.append(parent.path + b"/" + hidden if parent.path else hidden)

    # ---- what they have in common ---------------------------------------------------------------

    def owner(self, entry: TarEntry) -> tuple[int, int]:
        """The owner on disk."""
        ids = (entry.uid, entry.gid)
        found = self.owners.get(ids)
        if found is None:
            if len(self.owners) > 4096:   # hostile archives may have any number
                self.owners.clear()
            found = self.owners[ids] = self.options.owner(*ids)
        return found

    def _attributes(self, node: int | bytes, entry: TarEntry) -> None:
        options, name = self.options, shown(entry.name)
        kept = {}
        for key, value in sorted((entry.xattrs or {}).items()):
            if xattrs.admitted(key):
                kept[key] = value
            else:
                options.note("extended attributes that layers may not set",
                             f'"{name}": attribute "{shown(key)}" skipped: layers may not set it')
        xattrs.write(node, kept, lambda key, words: options.note(
            "extended attributes that cannot be set", f'"{name}": attribute "{shown(key)}" skipped: {words}'))

    # ---- at the end -----------------------------------------------------------------------------

    def finish(self) -> Extracted:
        """Set the directories' attributes, and collect what remains to be done."""
        places, done = self.places, self.done
        done.hides_all, places.root.opaque = places.root.opaque, False
        for directory in places.all():
            places.trim()
            if directory.links:
                above = directory.path + b"/" if directory.path else b""
                done.lower_links += [(above + name, target) for name, target in directory.links.items()]
            cut = directory.path in places.cut
            if directory.entry is None and not cut:
                done.implicit.append(directory.path)
            entry = directory.entry or TarEntry(directory.path, DIRECTORY, mode=0o755)
            try:
                self._finish(directory, entry, opaque=directory.opaque or cut)
            except OSError as error:
                raise system_error(error, entry.name) from None
        done.implicit.sort()
        done.lower_links.sort()
        return done

    def _finish(self, directory: LayerDirectory, entry: TarEntry, *, opaque: bool) -> None:
        fd = self.places.fd(directory)
        owner = self.owner(entry)
        if owner != self.mine or directory.parent is None:
            os.fchown(fd, *owner)
        if entry.xattrs:
            self._attributes(fd, entry)
        if opaque:
            os.setxattr(fd, self.options.opaque, b"y")
        os.fchmod(fd, entry.mode)
        os.utime(fd, ns=(entry.mtime, entry.mtime))
