"""The library: what the ``pyimage`` command does, as typed calls.

    from pyruntime import ImageStore

    images = ImageStore()
    images.pull("alpine")
    images.unpack("alpine", "/containers/web", args=["sleep", "60"])
    images.tag("alpine", "registry.example/team/alpine:1")
    images.push("registry.example/team/alpine:1")
    images.remove("alpine")

Every error is one of pyruntime.errors. Images are named as on the command line: NAME[:TAG], NAME@DIGEST, or the first
digits of an ID; ``platform`` is OS/ARCH[/VARIANT], and "" the host's platform.
"""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, ImageError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyruntime.images.copy import Copied
    from pyruntime.images.document import Descriptor
    from pyruntime.images.layers.options import LayerLimits
    from pyruntime.images.lookup import Image
    from pyruntime.images.platform import Platform
    from pyruntime.images.progress import Progress
    from pyruntime.images.registry.registries import Registries
    from pyruntime.images.store.collect import Collected
    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.base import Source
    from pyruntime.images.transports.registry import RegistrySource

ARCHIVES = ("docker-archive", "oci-archive")



class Pulled:
    """The result of a pull: ``name`` with its tag, the root's ``digest``, and ``is_new``: False if the local store had
    the image already."""

    __slots__ = ("digest", "is_new", "name")

    def __init__(self, name: str, digest: str, *, is_new: bool) -> None:
        self.name = name
        self.digest = digest
        self.is_new = is_new


class ImageStore:
    """The images of one local store, and the registries that they are pulled from and pushed to.

    ``root``        the directory of the store; by default the command's
    ``registries``  gives settings and credentials; by default those of the command without options
    ``warn``        called with each warning

    Without root privileges a process can read the store; to unpack layers with the owners of their files it must have
    entered a user namespace (pyruntime.images.rootless.enter), before it has threads.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, *, store: Callable[[], Store] | None = None,
                 registries: Callable[[], Registries] | None = None,
                 warn: Callable[[str], None] = lambda text: None) -> None:
        """``store`` and ``registries`` are called at their first use; ``store`` opens it instead of ``root``."""
        self._root = os.fspath(root) if root else ""
        self._open = store
        self._store: Store | None = None
        self._configure = registries
        self._registries: Registries | None = None
        self.warn = warn

    @property
    def store(self) -> Store:
        """The open store; it is created if it does not exist. Raises HostError, ImageError, UsageError."""
        if self._store is None:
            from pyruntime.images.store.store import Store  # lazy: each call needs few modules

            self._store = self._open() if self._open else Store.open(self._root)
        return self._store

    @property
    def registries(self) -> Registries:
        """How registries are reached."""
        if self._registries is None:
            from pyruntime.images.registry.registries import Registries  # lazy: each call needs few modules

            self._registries = self._configure() if self._configure else Registries(warn=self.warn)
        return self._registries

    # ---- images of the store --------------------------------------------------------------------

    def images(self) -> list[Image]:
        """All images that can be read, each with its names: of an index the image for the host, or its first image. An
        unreadable image is a warning."""
        from pyruntime.images.lookup import Image, every  # lazy: each call needs few modules

        found = []
        for _, _, image in every(self.store):
            if isinstance(image, Image):
                found.append(image)
            else:
                self.warn(str(image))
        return found

    def find(self, name: str, *, platform: str = "") -> Image:
        """An image of the store. Raises NoSuchImage, and ImageError if the digits of an ID are ambiguous."""
        from pyruntime.images.lookup import find  # lazy: each call needs few modules

        return find(self.store, name, _platform(platform))

    def tag(self, name: str, *names: str) -> None:
        """Add names to an image. Raises NoSuchImage, and UsageError for a new name with a digest."""
        from pyruntime.images.lookup import find_root, key  # lazy: each call needs few modules
        from pyruntime.images.reference import Reference

        references = [Reference.parse(text) for text in names]
        for reference in references:
            if reference.digest:
                raise UsageError(f'"{reference}": a tag cannot have a digest; write NAME:TAG')
        with self.store.lease() as lease:
            descriptor, _, _ = find_root(self.store, name)
            lease.add(descriptor.digest)
            self.store.read(descriptor)   # the lease may have come too late to keep it
            for reference in references:
                self.store.tag(key(reference), descriptor)

    def remove(self, name: str, *, force: bool = False,
               user: Callable[[str], str] = lambda path: f'the bundle "{path}"') -> list[str]:
        """Remove a name, or with an ID all names of the image; the removed names. ``prune`` removes its content.

        Raises NoSuchImage, and unless ``force`` ImageError for an image in use or an ID with several names; ``user``
        names the owner of a bundle's path in the message.
        """
        from pyruntime.images.remove import names_of  # lazy: each call needs few modules

        names = names_of(self.store, name, user, force=force)
        for one in names:
            self.store.untag(one)
        return names

    def prune(self, *, everything: bool = False, partial: bool = False, dry_run: bool = False
              ) -> tuple[list[str], Collected]:
        """Remove the images without a tag that no bundle uses, then the blobs and layers that nothing uses; the removed
        names and content.

        ``everything``: images with a tag too. ``partial``: unfinished downloads of any age. ``dry_run``: remove
        nothing.
        """
        from pyruntime.images.remove import unused  # lazy: each call needs few modules

        names = unused(self.store, everything=everything)
        for name in names if not dry_run else ():
            self.store.untag(name)
        return names, self.store.collect(dry_run=dry_run, everything=partial,
                                         without=frozenset(names if dry_run else ()))

    # ---- registries and other places ------------------------------------------------------------

    def pull(self, name: str, *, platform: str = "", all_platforms: bool = False, extract: bool = True,
             limits: LayerLimits | None = None, threads: int = 3, progress: Progress | None = None) -> Pulled:
        """Pull an image. ``extract``: extract its layers now, instead of by the first unpack. Raises RegistryError,
        DigestError, ImageError, LayerError; after an error the store has no new name."""
        from pyruntime.images.lookup import key  # lazy: each call needs few modules
        from pyruntime.images.present import is_present

        wanted_platform = _platform(platform)
        source = self.remote(name)
        try:
            stored = key(source.reference)
            short = stored.partition("@")[0]
            known = self.store.names().get(stored)
            wanted = source.reference.digest or (source.found.digest if source.found else "")
            if known and known.digest == wanted and is_present(
                    self.store, known, wanted_platform, everything=all_platforms, extracted=extract):
                return Pulled(short, wanted, is_new=False)
            from pyruntime.images.receive import receive  # lazy: each call needs few modules

            copied = receive(self.store, source, [stored], platform=wanted_platform, everything=all_platforms,
                             extract=extract, limits=limits, threads=threads, progress=progress, warn=self.warn)
        finally:
            source.close()
        return Pulled(short, copied.root.digest, is_new=True)

    def push(self, name: str, target: str = "", *, platform: str = "", threads: int = 3,
             progress: Progress | None = None) -> str:
        """Push an image to the registry of ``target``, or of its own name; the digest there. ``platform``: only that
        image of an index. Layers that another repository of the registry has, as far as the store knows, are mounted
        from there. Raises RegistryError, NoSuchImage."""
        from pyruntime.images.lookup import find_root  # lazy: each call needs few modules
        from pyruntime.images.reference import Reference

        descriptor, names, _ = find_root(self.store, name)
        destination = Reference.parse((target or name).removeprefix("docker://"))
        siblings = (Reference.parse(text) for text in self.store.names())
        mount_from = next((other.path for other in siblings if other.domain == destination.domain
                           and other.path != destination.path), "")
        return self.push_root(descriptor, names, str(destination), platform=platform, mount_from=mount_from,
                              threads=threads, progress=progress).root.digest

    def push_root(self, root: Descriptor, names: list[str], target: str, *, platform: str = "", mount_from: str = "",
                  threads: int = 3, progress: Progress | None = None) -> Copied:
        """Push a manifest or an index of the store, whether or not it has a name there."""
        from pyruntime.images.copy import copy  # lazy: each call needs few modules
        from pyruntime.images.transports.local import StoreSource
        from pyruntime.images.transports.registry import open_target

        wanted = _platform(platform)
        remote = open_target(self.registries, target, mount_from)
        try:
            return copy(StoreSource(self.store, root, names), remote, platform=wanted, everything=wanted is None,
                        threads=threads, progress=progress, warn=self.warn)
        finally:
            remote.close()

    def copy(self, source: str, target: str, *, platform: str = "", all_platforms: bool = False, threads: int = 3,
             progress: Progress | None = None) -> Copied:
        """Copy an image between docker://REFERENCE, oci:DIR, oci-archive:FILE, docker-archive:FILE, dir:DIR and names
        in the store. Raises what the source and the target raise; an incomplete target is removed."""
        from pyruntime.images.copy import copy  # lazy: each call needs few modules
        from pyruntime.images.lookup import key
        from pyruntime.images.receive import receive
        from pyruntime.images.reference import Reference
        from pyruntime.images.transports.location import Location
        from pyruntime.images.transports.location import target as open_location
        from pyruntime.images.transports.registry import open_target

        location = Location.parse(target)
        wanted = _platform(platform)
        opened = self.source(source)
        try:
            if location.kind == "store":
                return receive(self.store, opened, [key(Reference.parse(location.path))], platform=wanted,
                               everything=all_platforms, threads=threads, progress=progress, warn=self.warn)
            written = open_target(self.registries, location.path) if location.kind == "docker" else \
                open_location(location)
            try:
                copied = copy(opened, written, platform=wanted, everything=all_platforms, threads=threads,
                              progress=progress, warn=self.warn)
                written.close()
            except BaseException:
                written.abandon()
                raise
            return copied
        finally:
            opened.close()

    def inspect(self, location: str, *, platform: str = "") -> Image:
        """The image at a location as in ``copy``; of a registry only manifest and configuration are downloaded."""
        from pyruntime.images.copy import image_of  # lazy: each call needs few modules

        source = self.source(location)
        try:
            return image_of(source, _platform(platform))
        finally:
            source.close()

    def source(self, location: str) -> Source:
        """The image at a location as in ``copy``, to read from; the caller closes it."""
        from pyruntime.images.lookup import find_root  # lazy: each call needs few modules
        from pyruntime.images.transports.local import StoreSource
        from pyruntime.images.transports.location import Location, only

        found = Location.parse(location)
        if found.kind == "docker":
            return self.remote(found.path)
        if found.kind == "store":
            descriptor, names, _ = find_root(self.store, found.path)
            return StoreSource(self.store, descriptor, names)
        return only(found, self.store.layout.below("work"))

    def remote(self, name: str) -> RegistrySource:
        """An image in a registry, to read from; the caller closes it. See Registries.find."""
        from pyruntime.images.transports.registry import open_source  # lazy: each call needs few modules

        return open_source(self.registries, name)

    def repository_tags(self, name: str) -> tuple[str, list[str]]:
        """The full name of a repository, and its tags as the registry lists them. Raises RegistryError."""
        reference = self.registries.named(name.removeprefix("docker://"))
        with self.registries.repository(reference) as repository:
            return reference.name, repository.tags()

    # ---- archives -------------------------------------------------------------------------------

    def save(self, names: Sequence[str], file: str = "-", *, format: str = "docker-archive", platform: str = "",
             progress: Progress | None = None) -> None:
        """Write images, with the names given here, to one archive; shared layers are written once. "-" is standard
        output. ``platform``: only that image of an index. Raises NoSuchImage, ImageError; an incomplete file is
        removed."""
        from pyruntime.images.copy import copy  # lazy: each call needs few modules
        from pyruntime.images.lookup import find_root
        from pyruntime.images.transports.archive import ArchiveTarget
        from pyruntime.images.transports.local import StoreSource

        if format not in ARCHIVES:
            raise UsageError(f'format "{format}": write {" or ".join(ARCHIVES)}')
        roots = [find_root(self.store, text) for text in names]
        wanted = _platform(platform)
        target = ArchiveTarget(file, docker=format == "docker-archive")
        try:
            for descriptor, found, name in roots:
                target.name = name.partition("@")[0]
                copy(StoreSource(self.store, descriptor, found), target, platform=wanted, everything=wanted is None,
                     progress=progress, warn=self.warn)
            target.close()
        except BaseException:
            target.abandon()
            raise

    def load(self, path: str, *, platform: str = "", extract: bool = True, limits: LayerLimits | None = None,
             progress: Progress | None = None, loaded: Callable[[list[str], Copied], None] = lambda names, copied: None
             ) -> None:
        """Load all images of an archive or of the directory of an image layout; "-" is standard input. ``loaded`` is
        called with the names and the result of each. Raises ImageError, DigestError, LayerError."""
        from pyruntime.images.receive import receive  # lazy: each call needs few modules
        from pyruntime.images.transports.location import Location, sources

        wanted = _platform(platform)
        found = sources(Location("oci" if os.path.isdir(path) else "docker-archive", path),
                        self.store.layout.below("work"))
        try:
            for source in found:
                names = _loaded_names(source.names)
                loaded(names, receive(self.store, source, names, platform=wanted, everything=wanted is None,
                                      extract=extract, limits=limits, progress=progress, warn=self.warn))
        finally:
            for source in found:
                source.close()

    def import_archive(self, path: str, name: str = "", *, changes: dict[str, object] | None = None,
                       platform: str = "", created: str = "", created_by: str = "", compression: str = "gzip",
                       limits: LayerLimits | None = None) -> Descriptor:
        """Create an image from the tar archive of a root filesystem ("-" is standard input); its manifest's descriptor.

        ``name`` is as for `tag`; "": none. ``changes`` are members of the image's configuration, ``created`` a time in
        RFC 3339 format. Raises UsageError, ImageError, LayerError for an archive that cannot be extracted; the store
        then has no new name.
        """
        from pyruntime.images.lookup import by_manifest, key  # lazy: each call needs few modules
        from pyruntime.images.make import checked_time, timestamp
        from pyruntime.images.platform import Platform
        from pyruntime.images.reference import Reference
        from pyruntime.images.repack import import_tree
        from pyruntime.images.store.extract import Talk

        tag = key(Reference.parse(name)) if name else ""
        host = _platform(platform) or Platform.host()
        created = checked_time(created) if created else timestamp()
        try:
            fd = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f'"{path}": {error.strerror}') from None
        try:
            with self.store.lease():
                descriptor = import_tree(
                    self.store, lambda count: os.read(fd, count), created=created, created_by=created_by,
                    platform=host.document(), changes=changes or {}, compression=compression)
                # The extraction verifies the archive: only then does the image get its name.
                self.store.extract_layers(by_manifest(self.store, descriptor.digest).layers(),
                                          talk=Talk(warn=self.warn), limits=limits)
                if tag:
                    self.store.tag(tag, descriptor)
                self.store.keep(descriptor)
        except (ImageError, ConfigError):
            self.store.collect()
            raise
        finally:
            os.close(fd)
        return descriptor

    # ---- root filesystems -----------------------------------------------------------------------

    def unpack(self, name: str, bundle: str | os.PathLike[str], *, args: Sequence[str] = (), driver: str = "",
               platform: str = "", entrypoint: str = "", env: Sequence[str] = (), user: str = "", workdir: str = "",
               hostname: str = "", terminal: bool = False, readonly: bool = False, host_network: bool = False,
               volumes: str = "bind", limits: LayerLimits | None = None) -> str:
        """Unpack an image into a bundle for Runtime; the name of the storage driver. ``args`` replace the image's Cmd,
        ``entrypoint`` its Entrypoint. Raises NoSuchImage, ImageError, HostError, UsageError; no bundle is left then.
        """
        from pyruntime.images.bundle import unpack  # lazy: each call needs few modules
        from pyruntime.images.runtime_config import Wishes
        from pyruntime.images.store.extract import Talk

        rootless = os.geteuid() != 0
        image = self.find(name, platform=platform)
        wishes = Wishes(args=list(args), entrypoint=[entrypoint] if entrypoint else None, env=list(env), user=user,
                        workdir=workdir, hostname=hostname, terminal=terminal, readonly=readonly,
                        host_network=host_network, rootless=rootless)
        return unpack(self.store, image, os.fspath(bundle), driver=driver, wishes=wishes, volumes=volumes,
                      talk=Talk(warn=self.warn), limits=limits)

    def mount(self, name: str, directory: str | os.PathLike[str], *, platform: str = "") -> None:
        """Mount an image read-only at a directory, which is created if it does not exist. Raises HostError without
        root."""
        from pyruntime.images.mounts import mount  # lazy: each call needs few modules

        mount(self.store, self.find(name, platform=platform), os.path.abspath(directory))

    def mount_bundle(self, bundle: str | os.PathLike[str]) -> str:
        """Mount the root filesystem of a bundle again, for example after a reboot; its path."""
        from pyruntime.images.bundle import Bundle  # lazy: each call needs few modules

        found = Bundle(self.store, os.fspath(bundle))
        found.mount()
        return found.rootfs

    def unmount(self, path: str | os.PathLike[str], *, remove: bool = False) -> None:
        """Unmount a bundle, or a directory with a mounted image. ``remove``: remove the bundle and its changes, or what
        a killed unpack left. Raises HostError, ImageError."""
        from pyruntime.images.bundle import Bundle, undo  # lazy: each call needs few modules
        from pyruntime.images.mounts import unmount

        path = os.fspath(path)
        if unmount(self.store, path) or (remove and undo(path)):
            return
        bundle = Bundle(self.store, path)
        if remove:
            bundle.remove()
        else:
            bundle.unmount()


def _platform(text: str) -> Platform | None:
    if not text:
        return None
    from pyruntime.images.platform import Platform  # lazy: each call needs few modules

    return Platform.parse(text)


def _loaded_names(found: list[str]) -> list[str]:
    """The names of a loaded image: all full names of an archive of Docker's, or the first name of a layout."""
    from pyruntime.images.lookup import key  # lazy: each call needs few modules
    from pyruntime.images.reference import Reference

    full = [name for name in found if "/" in name or ":" in name] or [f"localhost/{name}" for name in found[:1]]
    return list(dict.fromkeys(key(Reference.parse(name)) for name in full))
