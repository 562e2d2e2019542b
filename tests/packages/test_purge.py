"""The Debian package's purge, in a mount namespace with a /run of its own."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.conftest import TOP

PURGE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/pyruntime/ended /run/pocker/containers/web /run/source
touch /run/source/kept
eval "$0"
tools/package/postrm purge
ls -d /run/pyruntime /run/pocker /run/source/kept || true
"""


def purge(before: str) -> tuple[list[str], str]:
    """What is left after a purge, and its messages."""
    done = subprocess.run(["unshare", "--mount", "sh", "-c", PURGE, before], cwd=TOP, capture_output=True, text=True,
                          check=False, timeout=60, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), "".join(line for line in done.stderr.splitlines(True) if not line.startswith("ls: "))


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def test_nothing_of_this_boot_is_left() -> None:
    assert purge("") == (["/run/source/kept"], "")


@pytest.mark.parametrize("mount", ["--bind /run/source", "-t tmpfs tmpfs"])
def test_a_mount_is_named_and_left(mount: str) -> None:
    left, said = purge(f"mount {mount} /run/pocker/containers/web")
    assert left == ["/run/pocker", "/run/pyruntime", "/run/source/kept"]
    assert said.splitlines() == [
        "pyruntime: something is mounted at /run/pocker/containers/web",
        "pyruntime: /run/pyruntime and /run/pocker are left: umount it and remove them, or restart the host"]


def test_the_state_of_a_container_is_left() -> None:
    left, said = purge("touch /run/pyruntime/ended/state.json")
    assert (left, said) == (["/run/pocker", "/run/pyruntime", "/run/source/kept"], "")
