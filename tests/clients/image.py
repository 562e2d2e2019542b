"""The image that every client runs: busybox and a user, made without any tool of ours."""

from __future__ import annotations

import shutil
from pathlib import Path

from bundles.images import Layout

APPLETS = ("sh", "cat", "cut", "dd", "echo", "env", "grep", "head", "id", "kill", "ls", "mount", "nproc", "ps", "pwd",
           "sleep", "sort", "stat", "stty", "touch", "true", "wc")


def layout(path: Path) -> Layout:
    """An image layout with one image, box, in a new directory."""
    tree = path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "home/user").mkdir(parents=True)
    (tree / "tmp").mkdir()
    (tree / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    for applet in APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    (tree / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")
    made = Layout(path / "layout")
    made.image("box", [made.layer(tree)], Cmd=["sh"], Env=["PATH=/bin", "FROM=image"])
    return made
