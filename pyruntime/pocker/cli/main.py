"""``pocker``: the front end's commands and global options."""

from __future__ import annotations

import os
import sys

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import DOCKER, Command, Flag, Parsed
from pyruntime.commandline.program import Program, say
from pyruntime.pocker.directories import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.cli.main import Context as ImageContext

GLOBAL = Command(
    "", "[global options] command [command options] [arguments...]", "containers of images, without a daemon",
    Flag("debug", "bool", "write debug messages too"),
    Flag("log", "str", "append messages to FILE instead of stderr", value="FILE"),
    Flag("log-format", "str", "of messages: text or json", default="text"),
    Flag("root", "str", "directory of containers, networks and volumes", value="DIR"),
    Flag("run-root", "str", "directory of what does not outlive a reboot", value="DIR"),
    Flag("storage-driver", "str", "how root filesystems are made: overlay, btrfs or copy; default: the first usable",
         value="NAME"),
    Flag("store", "str", "directory of images (pyimage's store)", value="DIR"),
    Flag("version", "bool", "print the version", short="v"),
    stop_at_argument=True)
COMMANDS = {
    "attach": "attach to a container's input and output",
    "build": "build an image from a Dockerfile",
    "builder": "commands about what builds remember",
    "buildx": "commands of the builder, as Docker's plugin has them",
    "commit": "make an image of a container",
    "completion": "print the completion script of a shell",
    "container": "commands about containers",
    "cp": "copy files between a container and this machine",
    "create": "make a container of an image",
    "diff": "show what a container has changed in its files",
    "events": "show what happens to containers, images, networks and volumes",
    "exec": "run another program in a container",
    "export": "write a container's files as a tar archive",
    "history": "show how an image was made",
    "image": "commands about images",
    "images": "list images",
    "import": "make an image of a tar archive of a root filesystem",
    "info": "show how pocker is set up here",
    "inspect": "show everything about containers, images and volumes",
    "kill": "kill containers, or send them a signal",
    "load": "read images from an archive",
    "login": "keep the credentials of a registry",
    "logout": "forget the credentials of a registry",
    "logs": "show what a container has written",
    "network": "manage networks",
    "pause": "stop all processes of containers until unpause",
    "port": "show where a container's ports are published",
    "ps": "list containers",
    "pull": "get images from a registry",
    "push": "send an image to a registry",
    "rename": "give a container another name",
    "restart": "stop containers and start them again",
    "rm": "remove containers",
    "rmi": "remove images",
    "run": "make a container of an image and run it",
    "save": "write images into an archive",
    "search": "search Docker Hub, or another registry, for images",
    "start": "start containers",
    "stats": "show what containers use",
    "stop": "stop containers",
    "system": "what is used, and what could be removed",
    "tag": "give an image another name",
    "top": "show the processes of a container",
    "unpause": "let the processes of paused containers go on",
    "update": "change the limits and the restart policy of containers",
    "version": "show versions",
    "volume": "commands about volumes",
    "wait": "wait until containers have ended, and print their exit statuses",
}


class Context:
    """The global options that commands use."""

    def __init__(self, parsed: Parsed) -> None:
        if parsed["store"]:   # what the monitor calls finds the same
            os.environ["PYRUNTIME_STORE"] = os.path.abspath(parsed["store"])
        self._roots = parsed["root"], parsed["run-root"]
        self._places: Places | None = None
        self.driver: str = parsed["storage-driver"] or os.environ.get("POCKER_STORAGE_DRIVER", "")

    @property
    def places(self) -> Places:
        """Where everything is. Without root we enter the user's namespace first, at the first use: before there are
        threads. `version` and `completion` use nothing, and work wherever that cannot be done."""
        if self._places is None:
            places = Places(*self._roots)
            if os.geteuid():
                from pyruntime.pocker.containers.rootless import enter
                enter(places, self.warn)
            self._places = places
        return self._places

    @property
    def images(self) -> ImageContext:
        """What pyimage's commands get: they work on the same store."""
        from pyruntime.images.cli.main import Context as ImageContext

        return ImageContext.over(self.places.store, "pocker")

    @staticmethod
    def say(text: str) -> None:
        """Tell a person something that is no result."""
        say(text)

    @staticmethod
    def warn(text: str) -> None:
        """Tell of something that is not as it should be, and goes on."""
        LOG.warning(text)


def version() -> str:
    """What --version prints."""
    from pyruntime._version import __version__

    return f"pocker version {__version__}, python {'.'.join(map(str, sys.version_info[:3]))}\n"


PROGRAM = Program("pocker", GLOBAL, COMMANDS, "pyruntime.pocker.cli", Context, version, hidden=("monitor",),
                  style=DOCKER)
main = PROGRAM.main
