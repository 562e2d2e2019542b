"""The store and its root filesystems without root, with and without IDs in /etc/subuid."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import TOP

# In a private mount namespace: the host's /etc/subuid does not change, and the programs are at paths that the user
# nobody can reach, wherever this checkout and the tests' directories are.
OUTSIDE = """
set -e
mount --make-rprivate /
mount --bind "$1/subuid" /etc/subuid
mount --bind "$1/subuid" /etc/subgid
mount --bind "$1/home" /mnt
mknod "$1/fuse" c 10 229   # open to everybody on most machines
chmod 666 "$1/fuse"
mount --bind "$1/fuse" /dev/fuse
mount --bind "$2" /srv
mount --bind "$3" /opt
cd /srv
exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/mnt XDG_DATA_HOME= PYRUNTIME_STORE= \
    PYTHONDONTWRITEBYTECODE=1 PYTHONHOME=/opt PYTHONPATH="/srv:/srv/$4" LD_LIBRARY_PATH=/opt/lib \
    "/opt/bin/$5" -c "$6"
"""
INSIDE = """
import os, sys
from pathlib import Path
from pyruntime.images import rootless
from pyruntime.system.user_namespace import id_map, privileged
from pyruntime.images.snapshots.choose import choose
from pyruntime.images.snapshots import overlay
from pyruntime.images.snapshots.overlay import OverlayDriver
from pyruntime.images.store.layout import default_root
from pyruntime.images.store.store import Store
from tests.images.integration.store_images import Image, archive, listing, pull

warnings = []
def enter():
    rootless.enter(default_root(), warnings.append)
    assert (os.geteuid(), os.getegid()) == (0, 0) and not privileged()
    store = Store.open()
    assert store.root == "/mnt/.local/share/pyruntime" and store.layout.overlay == "user."
    return store
"""


def run(tmp_path: Path, script: str, ids: str = "65534:100000:65536\n") -> str:
    """Run a script as nobody, whose home is /mnt; its output."""
    (tmp_path / "subuid").write_text(ids)
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    subprocess.run(["chown", "65534:65534", home], check=True)
    packages = os.path.relpath(sysconfig.get_path("purelib"), TOP)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", OUTSIDE, "sh", tmp_path, TOP, sys.base_prefix, packages,
                           version, INSIDE + script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


PULL = """
image = Image(archive(("etc/", None), ("etc/passwd", b"root"), ("gone", b""), ("dir/", None), ("dir/old", b""), uid=5,
                      root=True),
              archive((".wh.gone", b""), ("dir/", None), ("dir/.wh..wh..opq", b""), ("dir/new", b"")),
              archive(("etc/more", b"")))
expected = {".", "etc", "etc/passwd", "etc/more", "dir", "dir/new"}
store = enter()
made = pull(store, image, "x")
os.makedirs("/mnt/bundle/rootfs")
target, private = "/mnt/bundle/rootfs", "/mnt/bundle/private"
"""


@pytest.mark.parametrize("driver", ["overlay", "copy"])
def test_pull_and_unpack(tmp_path: Path, driver: str) -> None:
    out = run(tmp_path, PULL + f"""
driver = choose({driver!r}, store, target)
driver.prepare(made, target, private)
found = listing(target)
assert set(found) == expected, found
assert found["etc"][1] == 5 and found["dir/new"][1] == 0, found
Path(target, "dir/mine").touch()
driver.remove(target, private)
assert os.listdir("/mnt/bundle") == [] and store.verify() == [] and warnings == []
assert choose("", store, target).name == "copy" and choose("", store, target, lasting=False).name == "overlay"
store.untag("x")
assert store.collect().size > 0 and store.usage().blobs == store.usage().layers == 0
print(os.stat("/mnt").st_uid, id_map("uid"))
""")
    assert out == "0 [(0, 65534, 1), (1, 100000, 65536)]\n"
    store = tmp_path / "home/.local/share/pyruntime"
    assert store.stat().st_uid == 65534 and store.stat().st_mode & 0o777 == 0o700


def test_fuse_without_kernel_support(tmp_path: Path) -> None:
    run(tmp_path, PULL + """
def refuse(*_):
    raise OSError(1, "fsopen: overlay: Operation not permitted")
overlay.mount_by_settings = refuse
driver = OverlayDriver(store)
if not overlay._fuse_overlayfs():
    reason = driver.usable(target)
    assert "install fuse-overlayfs" in reason, reason
    sys.exit()
assert driver.usable(target) == "", driver.usable(target)
driver.prepare(made, target, private)
assert "fuse" in next(line for line in open("/proc/self/mountinfo") if f" {target} " in line)
assert set(listing(target)) == expected, set(listing(target))
Path(target, "mine").touch()
assert Path(private, "upper/mine").exists()
driver.remove(target, private)
""")


def test_one_id_alone(tmp_path: Path) -> None:
    """Without subordinate IDs only the user is mapped: root's files work, other files are an error with the reason."""
    run(tmp_path, """
from pyruntime.errors import PyruntimeError
store = enter()
assert len(warnings) == 1 and "usermod --add-subuids" in warnings[0], warnings
assert id_map("uid") == [(0, 65534, 1)]
made = pull(store, Image(archive(("etc/", None), ("etc/x", b""), root=True)), "x")
os.makedirs("/mnt/rootfs")
driver = choose("", store, "/mnt/rootfs", lasting=False)
driver.prepare(made, "/mnt/rootfs", "/mnt/private")
assert driver.name == "overlay" and os.path.exists("/mnt/rootfs/etc/x")
driver.remove("/mnt/rootfs", "/mnt/private")
try:
    pull(store, Image(archive(("etc/", None), ("etc/x", b""), uid=5)), "y")
except PyruntimeError as error:
    assert "etc" in str(error) and "5" in str(error), error
    print(error)
else:
    raise AssertionError
assert store.verify() == []
""", ids="")


def test_a_store_of_root_is_refused(tmp_path: Path) -> None:
    run(tmp_path, """
from pyruntime.errors import HostError
try:
    rootless.enter("/etc")
except HostError as error:
    assert 'store "/etc" belongs to user 0, not to 65534' in str(error), error
else:
    raise AssertionError
""")


def test_other_ids_are_reported(tmp_path: Path) -> None:
    """The error includes newuidmap's message."""
    run(tmp_path, """
from pyruntime.errors import HostError
rootless.subordinate_ids = lambda *_: [(500000, 65536)]
try:
    rootless.enter()
except HostError as error:
    assert "newuidmap" in str(error) and "/etc/subuid" in str(error), error
else:
    raise AssertionError
""")


def test_no_user_namespaces(tmp_path: Path) -> None:
    run(tmp_path, """
from pyruntime.errors import HostError
from pyruntime.system import kernel
def refuse(kind):
    raise OSError(28, "unshare: No space left on device")
kernel.unshare = refuse
try:
    rootless.enter()
except HostError as error:
    assert "sysctl user.max_user_namespaces" in str(error), error
else:
    raise AssertionError
""")
