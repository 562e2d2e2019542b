"""``pocker image``: the images' commands by Docker's longer names."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

_HERE = "pyruntime.pocker.cli"
COMMAND = Group("pocker", "image", "manage images", {
    "build": "build an image from a Dockerfile",
    "history": "show the history of an image",
    "import": "create an image from a tar archive of a root filesystem",
    "inspect": "show detailed information about images",
    "load": "load images from an archive",
    "ls": "list images",
    "prune": "remove unused images",
    "pull": "pull images from a registry",
    "push": "push an image to a registry",
    "rm": "remove images",
    "save": "save images to an archive",
    "tag": "add a tag to an image",
}, _HERE, {"import": f"{_HERE}.import_", "inspect": f"{_HERE}.image_inspect", "ls": f"{_HERE}.images",
           "rm": f"{_HERE}.rmi", "prune": f"{_HERE}.image_prune"}, text="Example:\n  pocker image ls")
run = COMMAND.run
