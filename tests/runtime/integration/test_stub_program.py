"""The stub's program is a copy that a container cannot misuse (CVE-2019-5736), for each way to create the copy."""

from __future__ import annotations

import subprocess

import pytest

from tests.commands import COMMAND
from tests.conftest import NATIVE
from tests.containers import Bundle, Runtime

POLICY = 'echo "$0" >/proc/sys/vm/memfd_noexec || exit 77; exec "$@"'
LIFE = """
set -e
"$@" create --pid-file pid c1 .
stat -Lc '%d:%i' "/proc/$(cat pid)/exe"
"$@" start c1
"$@" exec c1 echo joined
"$@" delete -f c1
"""


@pytest.mark.parametrize("value", ["0", "1", "2"])
@pytest.mark.parametrize("user", [False, True])
def test_containers_start_with_every_memfd_policy(runtime: Runtime, own_bundle: Bundle, value: str,
                                                        user: bool) -> None:
    # The root of a user namespace cannot mount in the host's mount namespace, not even a detached tmpfs.
    inside = ["unshare", "--user", "--map-root-user"] if user else []
    if user:
        own_bundle.without_root()
    own_bundle.shell("sleep 100")
    manager = ["--cgroup-manager=disabled"] if user else []
    done = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", POLICY, value, *inside, "sh", "-c",
                           LIFE, "sh", COMMAND, "--root", runtime.root, *manager],
                          cwd=own_bundle.path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("the kernel has no vm.memfd_noexec")
    assert done.returncode == 0, done.stderr
    copy, said = done.stdout.splitlines()
    installed = (NATIVE / "stub").stat()
    assert said == "joined" and copy != f"{installed.st_dev}:{installed.st_ino}"
