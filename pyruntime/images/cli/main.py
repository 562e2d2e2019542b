"""``pyimage``: the image tool's commands and global options."""

from __future__ import annotations

import os
import sys

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import SKOPEO, Command, Flag, Parsed
from pyruntime.commandline.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.errors import PyruntimeError
    from pyruntime.images.api import ImageStore
    from pyruntime.images.store.store import Store

GLOBAL = Command(
    "", "[global options] command [command options] [arguments...]",
    "manage container images: registries, the local store and bundles",
    Flag("debug", "bool", "enable debug logging"),
    Flag("log", "str", "append log messages to FILE (default: standard error)", value="FILE"),
    Flag("log-format", "str", "log format: text or json", default="text"),
    Flag("root", "str", "directory of the local store", value="DIR"),
    Flag("version", "bool", "print the version", short="v"),
    stop_at_argument=True)
COMMANDS = {
    "build": "build an image from a Dockerfile",
    "completion": "print the completion script for a shell",
    "copy": "copy an image between registries, layouts, archives, directories and the local store",
    "du": "show the disk usage of the local store",
    "export": "export the root filesystem of an image as a tar archive",
    "history": "show the history of an image",
    "import": "create an image from a tar archive of a root filesystem",
    "inspect": "show detailed information on images",
    "load": "load images from an archive into the local store",
    "login": "log in to a registry",
    "logout": "log out of a registry",
    "ls": "list the images in the local store",
    "mount": "mount the root filesystem of an image or of a bundle",
    "prune": "remove data that no image and no bundle uses",
    "pull": "download images from a registry",
    "push": "upload an image to a registry",
    "repack": "create an image from the changes in a bundle",
    "rm": "remove images",
    "save": "save images to an archive",
    "tag": "add names to an image",
    "tags": "list the tags of a repository",
    "umount": "unmount images and bundles",
    "unpack": "unpack an image into a bundle",
    "verify": "verify the integrity of the local store",
}


class Context:
    """The global options, and the store, which is opened at its first use."""

    def __init__(self, parsed: Parsed) -> None:
        self.program = "pyimage"
        self.root: str = os.path.abspath(parsed["root"]) if parsed["root"] else ""
        self._store: Store | None = None

    @classmethod
    def over(cls, store: Store, program: str) -> Context:
        """A context for a store that another program has opened."""
        context = cls.__new__(cls)
        context.root, context._store, context.program = store.root, store, program
        return context

    @property
    def store(self) -> Store:
        """The local store. A user without root first enters a user namespace."""
        if self._store is None:
            from pyruntime.images.store.store import Store  # lazy: only when the command runs

            if os.geteuid():
                from pyruntime.images.rootless import enter  # lazy: only when the command runs
                enter(self.root, self.debug)   # missing IDs are reported where they are needed
            self._store = Store.open(self.root)
        return self._store

    @property
    def images(self) -> ImageStore:
        """The library over this store, for commands that use no registry."""
        from pyruntime.images.api import ImageStore  # lazy: only when the command runs

        return ImageStore(store=lambda: self.store, warn=self.warn)

    @staticmethod
    def warn(text: str) -> None:
        """Log a warning."""
        LOG.warning(text)

    @staticmethod
    def error(error: PyruntimeError) -> None:
        """Log an error before continuing with the rest."""
        LOG.error(error)

    @staticmethod
    def debug(text: str) -> None:
        """Log a debug message."""
        LOG.debug(text)


def version() -> str:
    """The output of --version."""
    from pyruntime._version import __version__, commit  # lazy: only when the command runs

    return (f"pyimage version {__version__}\ncommit: {commit()}\nimage-spec: 1.1.1\ndistribution-spec: 1.1.1\n"
            f"python: {'.'.join(map(str, sys.version_info[:3]))}\n")


# Not the registry client: TLS must not be part of a snapshot.
AHEAD = ("pyruntime.images.api", "pyruntime.images.bundle", "pyruntime.images.copy", "pyruntime.images.lookup",
         "pyruntime.images.progress", "pyruntime.images.remove", "pyruntime.images.snapshots.overlay",
         "pyruntime.images.store.collect", "pyruntime.images.store.extract", "pyruntime.images.store.store")
PROGRAM = Program("pyimage", GLOBAL, COMMANDS, "pyruntime.images.cli", Context, version, ahead=AHEAD, style=SKOPEO)
main = PROGRAM.main
