"""pyruntime in a container of pocker, as CI runners and development containers have it: with privileges and without."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import BIN, COMMAND
from tests.hosts.integration.hosts import COMMANDS, SANDBOX, USER, Host, Room

# The container has the host's programs, and the interpreter and the package.
PLACES = {"/usr": "/usr", "/usr/lib": "/lib", "/usr/lib64": "/lib64", "/etc/ld.so.cache": "/etc/ld.so.cache",
          sys.base_prefix: sys.base_prefix, str(COMMAND.parents[2]): str(COMMAND.parents[2]), "/mnt": "/mnt"}
VOLUMES = " ".join(f"-v {source}:{target}" for source, target in PLACES.items())
FORBIDDEN = "user namespaces are forbidden here: in a chroot, and by the seccomp profile"


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with tempfile.TemporaryDirectory(prefix="pyruntime-nested-") as name:
        yield Room(Path(name))


@pytest.mark.parametrize(("flags", "command", "words"), [
    ("--privileged", "run", ""),
    ("--privileged", "sandbox", ""),
    ("", "run", "the cgroups are mounted read-only, as in a container without privileges"),
    ("", "without cgroups", "this process has no CAP_SYS_ADMIN, as root in a container without privileges"),
    ("", "sandbox", "cannot use a sandbox: unshare: Operation not permitted: it needs CAP_SYS_ADMIN"),
    (f"--user {USER}", "run", FORBIDDEN),
    (f"--user {USER}", "unpack", FORBIDDEN),
    (f"--user {USER}", "sandbox", FORBIDDEN),
    (f"--privileged --user {USER}", "sandbox", ""),
])
def test_inside_a_container(room: Room, flags: str, command: str, words: str) -> None:
    if not Path("/usr/lib64").exists() or not Path("/lib").is_symlink():
        pytest.skip("the host's programs are not all below /usr")
    bundles = "/mnt/home" if "user" in flags else "/mnt/root"
    without = COMMANDS["run"].replace("pyruntime", "pyruntime --cgroup-manager=disabled")
    scripts = {**COMMANDS, "without cgroups": without}
    (room.path / "sandbox.py").write_text(SANDBOX)
    script = scripts[command].replace('-c "$sandbox"', "/mnt/sandbox.py")
    (room.path / "nested.sh").write_text(
        f"export PATH={BIN}:/usr/sbin:/usr/bin:/bin HOME=/tmp PYRUNTIME_STORE= python={BIN}/python limit=\n"
        f"cd {COMMAND.parents[2] if command == 'sandbox' else bundles}\n{script}\n")
    done = room.run(Host("nested"), [f"pocker run --rm --network none {flags} --tmpfs /tmp:mode=1777,exec {VOLUMES} box"
                                     " sh /mnt/nested.sh"], user=False)[0]
    if words:
        assert done.status != 0 and words in done.err and "Traceback" not in done.err, done
    else:
        assert (done.status, done.out) == (0, "fine\n"), done
    assert done.left == []
