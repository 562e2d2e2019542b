"""``pocker``: the front end's commands and global options."""

from __future__ import annotations

import os
import sys

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import DOCKER, Command, Flag, Parsed
from pyruntime.commandline.program import Program, say
from pyruntime.pocker.api import Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.cli.main import Context as ImageContext
    from pyruntime.pocker.containers.container import Container
    from pyruntime.pocker.directories import Directories

LATEST = "--latest"   # in the place of a container's name: the container that was created last

GLOBAL = Command(
    "", "[global options] command [command options] [arguments...]", "run containers and build images without a daemon",
    Flag("debug", "bool", "print debug messages"),
    Flag("log", "str", "append messages to FILE instead of standard error", value="FILE"),
    Flag("log-format", "str", "format of messages: text or json", default="text"),
    Flag("root", "str", "directory of the containers, networks and volumes", value="DIR"),
    Flag("run-root", "str", "directory of state that does not survive a reboot", value="DIR"),
    Flag("storage-driver", "str", "storage driver: overlay, btrfs or copy (default: the first one that works)",
         value="NAME"),
    Flag("store", "str", "directory of the local store of images, shared with pyimage", value="DIR"),
    Flag("version", "bool", "print version information", short="v"),
    stop_at_argument=True)
COMMANDS = {
    "attach": "attach to the standard streams of a running container",
    "build": "build an image from a Dockerfile",
    "builder": "manage the build cache",
    "buildx": "build images and manage the build cache, by Buildx's names",
    "commit": "create an image from a container's changes",
    "completion": "print the completion script for a shell",
    "container": "manage containers",
    "cp": "copy files between a container and the host",
    "create": "create a container from an image",
    "diff": "list changes to the files of a container",
    "events": "show events of containers, images, networks and volumes",
    "exec": "run a command in a running container",
    "export": "export a container's filesystem as a tar archive",
    "history": "show the history of an image",
    "image": "manage images",
    "images": "list images",
    "import": "create an image from a tar archive of a root filesystem",
    "info": "show system-wide information",
    "inspect": "show detailed information about containers, images, networks and volumes",
    "kill": "kill containers or send them a signal",
    "load": "load images from an archive",
    "login": "log in to a registry",
    "logout": "log out of a registry",
    "logs": "show the logs of a container",
    "network": "manage networks",
    "pause": "pause all processes of containers",
    "port": "list the published ports of a container",
    "ps": "list containers",
    "pull": "pull images from a registry",
    "push": "push an image to a registry",
    "rename": "rename a container",
    "restart": "restart containers",
    "rm": "remove containers",
    "rmi": "remove images",
    "run": "create a container from an image and run it",
    "save": "save images to an archive",
    "search": "search Docker Hub or another registry for images",
    "start": "start stopped containers",
    "stats": "show the resource usage of containers",
    "stop": "stop running containers",
    "system": "show disk usage, events and information; remove unused data",
    "tag": "add a tag to an image",
    "top": "list the processes of a container",
    "unpause": "resume paused containers",
    "update": "update the resource limits and the restart policy of containers",
    "version": "show version information",
    "volume": "manage volumes",
    "wait": "wait until containers stop, then print their exit statuses",
}


class PockerContext:
    """The global options that commands use."""

    def __init__(self, parsed: Parsed) -> None:
        if parsed["store"]:   # inherited by the commands that the monitor runs
            os.environ["PYRUNTIME_STORE"] = os.path.abspath(parsed["store"])
        self.driver: str = parsed["storage-driver"] or os.environ.get("POCKER_STORAGE_DRIVER", "")
        self.engine = Engine(parsed["root"], parsed["run-root"], driver=self.driver, warn=self.warn)

    @property
    def places(self) -> Directories:
        """The engine's directories. Without root, the first use enters a user namespace, which must be done before
        there are threads. `version` and `completion` use no directory, so they also work where that fails."""
        return self.engine.places

    def find(self, name: str) -> Container:
        """The container of a name, an ID, the beginning of an ID, or --latest. Raises NoSuchContainer, UsageError."""
        from pyruntime.pocker.containers.container import find, newest  # lazy: commands of images need no container

        return newest(self.places) if name == LATEST else find(self.places, name)

    @property
    def images(self) -> ImageContext:
        """The context of pyimage's commands, which work on the same local store."""
        from pyruntime.images.cli.main import Context as ImageContext  # lazy: only for commands of images

        return ImageContext.over(self.places.store, "pocker")

    @staticmethod
    def say(text: str) -> None:
        """Print a message that is not part of the result."""
        say(text)

    @staticmethod
    def warn(text: str) -> None:
        """Log a warning."""
        LOG.warning(text)


def version() -> str:
    """The output of --version."""
    from pyruntime._version import __version__, commit  # lazy: only for the version

    return f"pocker version {__version__}, commit {commit()}, python {'.'.join(map(str, sys.version_info[:3]))}\n"


# Not modules for rare options or errors, nor what imports more than it is worth (dateutil, subprocess).
AHEAD = ("encodings.ascii", "pyruntime.commandline.template", "pyruntime.images.progress", "pyruntime.images.remove",
         "pyruntime.images.snapshots.overlay", "pyruntime.images.store.collect", "pyruntime.images.store.extract",
         "pyruntime.images.store.usage", "pyruntime.networks.directories", "pyruntime.networks.site",
         "pyruntime.pocker.containers.commit", "pyruntime.pocker.containers.exec_streams",
         "pyruntime.pocker.containers.health", "pyruntime.pocker.containers.logs", "pyruntime.pocker.containers.wait",
         "pyruntime.pocker.directories", "pyruntime.pocker.options.addresses", "pyruntime.pocker.options.network",
         "pyruntime.pocker.options.ports", "pyruntime.runtime.cgroups.oom", "pyruntime.runtime.cgroups.scope",
         "pyruntime.runtime.cgroups.stats", "pyruntime.runtime.compiler.sections.seccomp_filter",
         "pyruntime.runtime.lifecycle.events", "pyruntime.runtime.lifecycle.exec", "pyruntime.runtime.lifecycle.life",
         "pyruntime.runtime.lifecycle.pause", "pyruntime.runtime.lifecycle.subgroups", "pyruntime.system.kernel",
         "pyruntime.system.roots", "signal")
PROGRAM = Program("pocker", GLOBAL, COMMANDS, "pyruntime.pocker.cli", PockerContext, version, hidden=("monitor",),
                  ahead=AHEAD, rehearsal="pyruntime.pocker.cli.rehearsal", style=DOCKER)
main = PROGRAM.main
