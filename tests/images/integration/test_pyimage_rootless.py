"""``pyimage`` and then ``pyruntime run`` without root, with and without IDs in /etc/subuid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import TOP
from tests.containers import Runtime
from tests.images.integration.samples import BUSYBOX, SECOND, Samples, tar

# In a private mount namespace: the test's /etc/subuid and /etc/subgid, the user's home at /mnt, and the programs at
# paths that the user nobody can reach.
OUTSIDE = """
set -e
mount --make-rprivate /
mount --bind "$1/subuid" /etc/subuid
mount --bind "$1/subuid" /etc/subgid
mount --bind "$1/home" /mnt
mount --bind "$2" /srv
mount --bind "$3" /opt
mkdir -p /run/user
mount -t tmpfs -o mode=0755 tmpfs /run/user
mkdir -m 700 /run/user/65534
chown 65534:65534 /run/user/65534
cd /mnt
eval "$7"
exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/mnt XDG_DATA_HOME= PYRUNTIME_STORE= \
    XDG_RUNTIME_DIR=/run/user/65534 PYTHONDONTWRITEBYTECODE=1 PYTHONHOME=/opt PYTHONPATH="/srv:/srv/$4" \
    LD_LIBRARY_PATH=/opt/lib \
    PYTHON="/opt/bin/$5" sh -euc "$6"
"""
INSIDE = """
pyimage() { "$PYTHON" -c 'import sys; from pyruntime.images.cli.main import main; sys.exit(main())' "$@"; }
pyruntime() { "$PYTHON" -c 'import sys; from pyruntime.runtime.cli.main import main; sys.exit(main())' "$@"; }
pocker() { "$PYTHON" -c 'import sys; from pyruntime.pocker.cli.main import main; sys.exit(main())' "$@"; }
"""
IDS = "65534:100000:65536\n"


def run(tmp_path: Path, script: str, ids: str = IDS, *, code: int = 0, root: str = ""
        ) -> subprocess.CompletedProcess[str]:
    """Run a shell script as nobody, in whose home is a layout with "mixed:1" (files of several users) and "plain:1".

    ``root``: what root does before, in a network namespace that is made for it.
    """
    (tmp_path / "subuid").write_text(ids)
    home = tmp_path / "home"
    if not home.exists():
        (home / "layout").mkdir(parents=True)
        made = Samples(home / "layout")
        made.name(made.image(BUSYBOX, SECOND), "plain:1")
        made.name(made.image(BUSYBOX, {"home/": None, "home/user/": None}, User="user"), "user:1")
        (home / "tree.tar").write_bytes(tar(BUSYBOX))
        subprocess.run(["tar", "-C", home, "--owner=5", "--group=6", "-cf", home / "five.tar", "tree.tar"], check=True)
        subprocess.run(["chown", "-R", "65534:65534", home], check=True)
    packages = os.path.relpath(sysconfig.get_path("purelib"), TOP)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    done = subprocess.run(["unshare", "--mount", *(["--net"] if root else []), "sh", "-c", OUTSIDE, "sh", tmp_path, TOP,
                           sys.base_prefix, packages, version, INSIDE + script, root], capture_output=True, text=True,
                          check=False, timeout=120, stdin=subprocess.DEVNULL)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


@pytest.mark.parametrize("ids", [IDS, ""], ids=["ids", "one id"])
def test_load_unpack_run_repack(runtime: Runtime, tmp_path: Path, ids: str) -> None:
    done = run(tmp_path, """
pyimage load -q -i layout
pyimage ls -f '{{.Name}}'
pyimage unpack plain:1 bundle sh -c 'id -u; cat /etc/second; echo written > /etc/written; rm /data/kept'
pyruntime run -b bundle one
cat bundle/rootfs/etc/written
test ! -e bundle/rootfs/data/kept
pyimage repack -q bundle changed:1 > digest
pyimage history -f '{{.CreatedBy}}' changed:1 | head -1
pyimage unpack changed:1 again cat /etc/written
pyruntime run -b again two
pyimage verify
pyimage umount -r bundle again
pyimage rm plain:1 changed:1 user:1 | grep -c untagged
ls -d bundle 2>/dev/null || true
""", ids)
    assert done.stdout.splitlines() == [
        "docker.io/library/plain:1", "docker.io/library/user:1",
        "docker.io/library/plain:1", "docker.io/library/user:1", "0", "2written", "pyimage repack", "written", "3"], (
            done.stdout, done.stderr)
    assert done.stderr == "", "missing IDs are an error only when needed"


def test_another_user_of_the_image(runtime: Runtime, tmp_path: Path) -> None:
    done = run(tmp_path, """
pyimage load -q -i layout
pyimage unpack user:1 bundle sh -c 'id -u; id -G'
pyruntime run -b bundle one
pyimage umount -r bundle
""")
    assert done.stdout.splitlines()[2:] == ["1000", "1000 7"]


def test_files_of_other_users(tmp_path: Path) -> None:
    """Files keep their owners if the IDs are mapped; otherwise the error says what is missing."""
    done = run(tmp_path, """
pyimage import five.tar five:1 --cmd x
pyimage unpack five:1 bundle
stat -c %u:%g bundle/rootfs/tree.tar
pyimage export five:1 | tar -tv --numeric-owner | grep tree.tar
pyimage umount -r bundle
""")
    lines = done.stdout.splitlines()
    assert lines[1] == "100004:100005" and " 5/6 " in lines[2]
    shutil.rmtree(tmp_path / "home")
    done = run(tmp_path, "pyimage import five.tar five:1 --cmd x", "", code=1)
    assert "tree.tar" in done.stderr and "5" in done.stderr and "/etc/subuid" in done.stderr, done.stderr


def test_mounting_needs_root(tmp_path: Path) -> None:
    done = run(tmp_path, "pyimage load -q -i layout; pyimage mount plain:1 place", code=1)
    assert "mounting an image needs root: use `pyimage unpack --driver copy` instead" in done.stderr


def test_a_store_of_its_own(tmp_path: Path) -> None:
    run(tmp_path, """
pyimage load -q -i layout
test -d .local/share/pyruntime/blobs
pyimage --root /mnt/other load -q -i layout
pyimage --root other ls -q | wc -l
pyimage prune -a | tail -1
pyimage login --get-login registry.example 2>&1 | grep 'not logged in'
""")
    done = run(tmp_path, "pyimage --root /etc ls", code=1)
    assert 'store "/etc" belongs to user 0' in done.stderr
