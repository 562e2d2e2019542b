"""``pocker image``: the images' commands by Docker's longer names."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

_HERE = "pyruntime.pocker.cli"
COMMAND = Group("pocker", "image", "commands about images", {
    "build": "build an image from a Dockerfile",
    "history": "show how an image was made",
    "import": "make an image of a tar archive of a root filesystem",
    "inspect": "show everything about images",
    "load": "read images from an archive",
    "ls": "list images",
    "prune": "remove what no image and no container needs",
    "pull": "get images from a registry",
    "push": "send an image to a registry",
    "rm": "remove images",
    "save": "write images into an archive",
    "tag": "give an image another name",
}, _HERE, {"import": f"{_HERE}.import_", "inspect": f"{_HERE}.image_inspect", "ls": f"{_HERE}.images",
           "rm": f"{_HERE}.rmi", "prune": f"{_HERE}.image_prune"}, text="Example:\n  pocker image ls")
run = COMMAND.run
