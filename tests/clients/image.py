"""The image that every client runs: busybox and a user, built without pyimage."""

from __future__ import annotations

import shutil
from pathlib import Path

from bundles.images import Layout

APPLETS = ("sh", "cat", "cut", "dd", "echo", "env", "grep", "head", "id", "kill", "ls", "mount", "nproc", "ps", "pwd",
           "rm", "sleep", "sort", "stat", "stty", "touch", "true", "wc")


# Keeps a pod's namespaces open, like the image pause: waits and reaps zombies.
PAUSE = ["sh", "-c", "trap exit TERM INT; while :; do sleep 1000 & wait $!; done"]


def tree(path: Path, applets: tuple[str, ...] = APPLETS) -> Path:
    """A root filesystem in a new directory."""
    for name in ("bin", "etc", "home/user", "tmp"):
        (path / name).mkdir(parents=True)
    (path / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", path / "bin/busybox")
    for applet in applets:   # hard links: masking one of them must not mask all
        (path / "bin" / applet).hardlink_to(path / "bin/busybox")
    (path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")
    return path


def layout(path: Path) -> Layout:
    """An image layout with two images, box and pause, in a new directory."""
    path.mkdir(exist_ok=True)
    made = Layout(path / "layout")
    layer = made.layer(tree(path / "tree"))
    made.image("box", [layer], Cmd=["sh"], Env=["PATH=/bin", "FROM=image"])
    made.image("pause", [layer], Entrypoint=PAUSE, Env=["PATH=/bin"])
    return made
