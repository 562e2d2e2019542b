"""Make the sample bundles runnable: ``python -m bundles.build DIRECTORY [NAME...]``.

Each gets its config.json and a root filesystem: the distribution's static busybox (Debian: busybox-static) with a link
for each applet, or the static program hello.c of our own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUSYBOX = "/bin/busybox"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
GROUP = "root:x:0:\nuser:x:1000:\n"


def names() -> list[str]:
    """The sample bundles, sorted."""
    return sorted(path.parent.name for path in HERE.glob("*/config.json"))


def busybox_rootfs(rootfs: Path) -> None:
    """A small root filesystem around busybox."""
    if not os.path.exists(BUSYBOX):
        raise SystemExit(f"{BUSYBOX} is missing: apt-get install busybox-static")
    for directory in ("bin", "dev", "etc", "home/user", "proc", "root", "run", "sys", "tmp", "var/tmp"):
        (rootfs / directory).mkdir(parents=True, exist_ok=True)
    os.chmod(rootfs / "tmp", 0o1777)
    shutil.copy(BUSYBOX, rootfs / "bin/busybox")
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for applet in applets:
        link = rootfs / "bin" / applet
        if not os.path.lexists(link):
            link.symlink_to("busybox")
    (rootfs / "etc/passwd").write_text(PASSWD)
    (rootfs / "etc/group").write_text(GROUP)


def hello_rootfs(rootfs: Path) -> None:
    """A root filesystem that holds one static program."""
    rootfs.mkdir(parents=True, exist_ok=True)
    for directory in ("dev", "proc"):
        (rootfs / directory).mkdir(exist_ok=True)
    subprocess.run(["gcc", "-static", "-Os", "-s", "-Wall", "-Werror", "-o", str(rootfs / "hello"),
                    str(HERE / "hello/hello.c")], check=True)


def build(directory: Path, name: str) -> Path:
    """Make the bundle ``name`` below ``directory``; return its path."""
    bundle = directory / name
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir(parents=True)
    for path in (HERE / name).iterdir():
        if path.suffix in (".json", ".sh"):
            shutil.copy(path, bundle / path.name)
    (hello_rootfs if name == "hello" else busybox_rootfs)(bundle / "rootfs")
    if name == "userns":
        # Its root maps to host uid 100000, which must be able to write there.
        for path in [bundle / "rootfs", *(bundle / "rootfs").rglob("*")]:
            os.chown(path, 100000, 100000, follow_symlinks=False)
    return bundle


def main(arguments: list[str]) -> int:
    """The command line."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    for name in arguments[1:] or names():
        print(build(Path(arguments[0]), name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
