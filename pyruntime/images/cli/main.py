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
    from pyruntime.images.store.store import Store

GLOBAL = Command(
    "", "[global options] command [command options] [arguments...]", "container images: registries, a store, bundles",
    Flag("debug", "bool", "write debug messages too"),
    Flag("log", "str", "append messages to FILE instead of stderr", value="FILE"),
    Flag("log-format", "str", "of messages: text or json", default="text"),
    Flag("root", "str", "directory of the store", value="DIR"),
    Flag("version", "bool", "print the version", short="v"),
    stop_at_argument=True)
COMMANDS = {
    "build": "build an image from a Dockerfile",
    "completion": "print the completion script of a shell",
    "copy": "copy an image between registries, layouts, archives, directories and the store",
    "du": "show what the store holds",
    "export": "write an image's whole root filesystem as a tar archive",
    "history": "show how an image was made",
    "import": "make an image of a tar archive of a root filesystem",
    "inspect": "show an image's documents",
    "load": "read images from an archive into the store",
    "login": "keep the credentials of a registry",
    "logout": "forget the credentials of a registry",
    "ls": "list the images of the store",
    "mount": "mount an image's root filesystem, or a bundle's again",
    "prune": "remove what no image and no bundle needs",
    "pull": "get images from a registry",
    "push": "send an image to a registry",
    "repack": "make a new image of a bundle's changes",
    "rm": "remove images",
    "save": "write images into an archive",
    "tag": "give an image another name",
    "tags": "list the tags of a repository",
    "umount": "unmount what mount or unpack mounted",
    "unpack": "make a bundle of an image",
    "verify": "check everything in the store",
}


class Context:
    """The global options that commands use. The store is opened when a command asks for it."""

    def __init__(self, parsed: Parsed) -> None:
        self.program = "pyimage"
        self.root: str = os.path.abspath(parsed["root"]) if parsed["root"] else ""
        self._store: Store | None = None

    @classmethod
    def over(cls, store: Store, program: str) -> Context:
        """For a store that is open already, as another program of ours has it."""
        context = cls.__new__(cls)
        context.root, context._store, context.program = store.root, store, program
        return context

    @property
    def store(self) -> Store:
        """The content store. Without root we enter a user namespace first, where its files are ours."""
        if self._store is None:
            from pyruntime.images.store.store import Store

            if os.geteuid():
                from pyruntime.images.rootless import enter
                enter(self.root, self.debug)   # ids that are missing are told of where they are needed
            self._store = Store.open(self.root)
        return self._store

    @property
    def scratch(self) -> str:
        """A directory for large temporary files: in the store, where there is room, and not in /tmp."""
        return self.store.layout.below("work")

    @staticmethod
    def warn(text: str) -> None:
        """Tell of something that is not as it should be, and goes on."""
        LOG.warning(text)

    @staticmethod
    def error(error: PyruntimeError) -> None:
        """Tell of something that could not be done, before going on with the rest."""
        LOG.error(error)

    @staticmethod
    def debug(text: str) -> None:
        """For those who look for the reason of something."""
        LOG.debug(text)


def version() -> str:
    """What --version prints."""
    from pyruntime._version import __version__

    return (f"pyimage version {__version__}\nimage-spec: 1.1.1\ndistribution-spec: 1.1.1\n"
            f"python: {'.'.join(map(str, sys.version_info[:3]))}\n")


PROGRAM = Program("pyimage", GLOBAL, COMMANDS, "pyruntime.images.cli", Context, version, style=SKOPEO)
main = PROGRAM.main
