"""Containers of an unprivileged user, in that user's state directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundles.build import busybox_rootfs
from pyruntime.runtime.config.template import template
from tests.commands import COMMAND
from tests.containers import PATIENCE, REACHABLE

USER = 12345
AS_USER = REACHABLE + """
set -e
hidden=$0/hidden
reachable "$1" "$2"
cd "$0"; export XDG_RUNTIME_DIR="$0/run" HOME="$0"
shift 2
exec setpriv --reuid USER --regid USER --clear-groups "$@"
""".replace("USER", str(USER))


class Unprivileged:
    """The command line as an ordinary user, with a bundle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = template(rootless=True, uid=USER, gid=USER, unified=False)
        self.config["process"]["terminal"] = False
        self.config["process"]["rlimits"] = []
        busybox_rootfs(path / "bundle/rootfs")
        (path / "run").mkdir()
        for directory in (path, *list(path.parents)[:2]):
            directory.chmod(0o755)
        subprocess.run(["chown", "-R", f"{USER}:{USER}", path], check=True)

    def save(self, *args: str) -> None:
        self.config["process"]["args"] = list(args)
        (self.path / "bundle/config.json").write_text(json.dumps(self.config))

    def __call__(self, *words: str) -> str:
        script = " && ".join(f'"$0" --root "$1/state" {line}' for line in words)
        done = subprocess.run(["unshare", "--mount", "sh", "-c", AS_USER, self.path, sys.base_prefix,
                               COMMAND.parents[2], "sh", "-c", script, COMMAND, self.path], capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def user(tmp_path: Path) -> Unprivileged:
    return Unprivileged(tmp_path)


def test_exec_before_start(user: Unprivileged) -> None:
    user.save("sleep", "100")
    look = "c1 sh -c 'echo $$; grep -c . /proc/1/environ'"
    said = user("create -b bundle c1", f"exec {look} || true", "exec c1 id -u", "state c1", "start c1",
                "exec c1 id -u", "delete -f c1")
    assert said.startswith("2\n") and said.count("\n0\n") >= 1
    assert '"status": "created"' in said


def test_init_is_hidden_again_after_exec(user: Unprivileged) -> None:
    user.save("sleep", "100")
    said = user("create -b bundle c1", "exec c1 true", "exec c1 sh -c 'ls /proc/1/fd 2>&1 || true'", "delete -f c1")
    assert "Permission denied" in said


def test_the_callers_cgroup_is_shown_without_a_cgroup_of_the_container(user: Unprivileged) -> None:
    if not any(os.path.isdir(f"/sys/fs/cgroup/{name}") for name in ("pids", "memory")):
        pytest.skip("without cgroup v1")
    user.config["mounts"] = [mount for mount in user.config["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
    user.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                                  "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]})
    user.save("sh", "-c", "ls /sys/fs/cgroup; ls /sys/fs/cgroup/pids")
    said = user("run -b bundle c1").split()
    assert "pids" in said and "cgroup.procs" in said
