"""Sandboxes of an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from bundles.images import Layout
from tests.commands import COMMAND
from tests.containers import PATIENCE
from tests.runtime.integration.test_rootless import REACHABLE, USER

BEGIN = "import json, os, sys\nfrom pyruntime import *\nfrom pyruntime import errors\nfound = {}\n"


@pytest.fixture
def home() -> Iterator[Path]:
    """The user's directory, with a root filesystem; not below pytest's, which only root may enter from time to time."""
    with tempfile.TemporaryDirectory(prefix="pyruntime-rootless-") as name:
        home = Path(name)
        busybox_rootfs(home / "rootfs")
        (home / "run").mkdir()
        home.chmod(0o755)
        subprocess.run(["chown", "-R", f"{USER}:{USER}", home], check=True)
        yield home


def user(home: Path, script: str) -> dict[str, Any]:
    """What an ordinary user's program finds; afterwards nothing of its sandboxes is left."""
    code = f"{BEGIN}{script}\nprint(json.dumps(found))"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", REACHABLE, home, sys.base_prefix, COMMAND.parents[2],
                           COMMAND.parent / "python", "-c", code], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE, env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    place = home / "run/pyruntime-sandbox"
    assert list(place.glob("files/*")) == list(place.glob("state/sandbox-*")) == []
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_host_as_a_sandbox(home: Path) -> None:
    found = user(home, """
with Sandbox.host() as box:
    sh = lambda script, **options: box.run(["sh", "-c", script], text=True, **options)
    found["id"] = sh("id -u; pwd; ls /sys/class/net; grep -h -e CapEff -e Seccomp: /proc/self/status").stdout
    found["writes"] = sh("touch /usr/x 2>&1; for d in /work /tmp /dev/shm; do echo x >$d/file && echo ok; done").stdout
    found["host"] = sh(f"ls {os.getcwd()} /root 2>&1").returncode
    box.write("/work/job.py", "print(open('/work/file').read())")
    found["job"] = box.run(["python3", "job.py"], text=True).stdout
    found["read"] = box.read("/work/file").decode()
    found["timeout"] = sh("(setsid sleep 300 &); trap '' TERM; sleep 301", timeout=0.3).reason
    found["left"] = "sleep 30" in sh("ps ax").stdout
    found["disk"] = sh("dd if=/dev/zero of=/work/big bs=1M count=400").stderr
    with box.popen(["sh", "-c", "tty; read x; echo $x"], terminal=True, text=True) as process:
        first = process.stdout.readline()
        process.stdin.write("typed\\n")
        found["terminal"] = first + process.stdout.read()
    found["stream"] = [text for _, text in box.stream(["echo", "x"], text=True)]
    found["unenforced"] = box.unenforced
""")
    assert found["id"].split() == ["0", "/work", "lo", "CapEff:", "0" * 16, "Seccomp:", "2"]
    assert found["writes"].count("ok") == 3 and found["writes"].count("Read-only") >= 1
    assert found["host"] and (found["job"], found["read"]) == ("x\n\n", "x\n")
    assert (found["timeout"], found["left"]) == ("timeout", False)
    assert "No space left" in found["disk"]
    assert found["terminal"].splitlines() == ["/dev/pts/0", "typed", "typed"]
    assert found["stream"] == ["x\n"] and found["unenforced"] == ["memory", "swap", "cpus", "pids"]


def test_a_directory(home: Path) -> None:
    found = user(home, f"""
with Sandbox({str(home / 'rootfs')!r}, mounts=[HostMount({str(home)!r}, "/data")], env={{"A": "1"}}) as box:
    found["out"] = box.run(["sh", "-c", "ls /data; echo $A; rm /bin/sh; touch /data/x"], text=True).stdout
with Pool(Template({str(home / 'rootfs')!r}), 2) as pool:
    found["pool"] = [pool.run(["echo", str(number)], text=True).stdout for number in range(4)]
""")
    assert found == {"out": "hidden\nrootfs\nrun\n1\n", "pool": ["0\n", "1\n", "2\n", "3\n"]}
    names = {path.name for path in (home / "rootfs").iterdir()}
    assert "sh" in os.listdir(home / "rootfs/bin") and not names & {".pyruntime-init", "work", "data"}


def test_an_image(home: Path) -> None:
    layout = Layout(home / "layout")
    tree = home / "tree"
    shutil.copytree(home / "rootfs", tree, symlinks=True)
    (tree / "secret").write_text("x")
    (tree / "secret").chmod(0o600)
    subprocess.run(["chown", "-R", "0:0", tree], check=True)
    layout.image("it", [layout.layer(tree)], Env=["A=from the image"], WorkingDir="/etc", Cmd=["sh"])
    subprocess.run(["chown", "-R", f"{USER}:{USER}", home / "layout"], check=True)
    found = user(home, f"""
import subprocess, time
store = {str(home / 'run/store')!r}
pyimage = lambda *words: subprocess.run([{str(COMMAND.parent / 'pyimage')!r}, "--root", store, *words], text=True,
                                        stdout=subprocess.PIPE, check=True).stdout
pyimage("copy", "-q", "oci:" + {str(home / 'layout')!r} + ":it", "it")
images = ImageStore(store)
found["runs"] = []
for number in range(2):
    with Sandbox("it", store=images) as box:
        done = box.run(["sh", "-c", "pwd; echo $A; cat /secret; rm /bin/sh; id -u"], text=True)
        found["runs"].append(done.stdout.splitlines())
found["times"] = os.stat(store + "/sandboxes").st_nlink
found["verify"] = pyimage("verify")
try:
    Sandbox("localhost:1/none", store=images)
except errors.PyruntimeError as error:
    found["missing"] = str(error)
""")
    assert found["runs"] == [["/etc", "from the image", "x0"]] * 2
    assert (found["times"], found["verify"]) == (3, "") and "localhost:1" in found["missing"]


def test_what_needs_root_is_told(home: Path) -> None:
    found = user(home, f"""
def told(call):
    try:
        call()
    except errors.HostError as error:
        return str(error)
found["limits"] = told(lambda: Sandbox.host(require_limits=True))
found["writable"] = told(lambda: Sandbox({str(home / 'rootfs')!r}, writable=True))
found["template"] = told(lambda: Template(setup=[["true"]]))
with Sandbox.host() as box:
    found["fork"] = told(box.fork)
""")
    assert "limits cannot be enforced" in found["limits"]
    assert "needs root" in found["writable"]
    assert "CAP_SYS_ADMIN" in found["template"] and "need root" in found["fork"]


def test_a_killed_program_leaves_nothing_for_long(home: Path) -> None:
    user(home, """
import signal
child = os.fork()
if child == 0:
    box = Sandbox.host()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
found["left"] = os.listdir(os.environ["XDG_RUNTIME_DIR"] + "/pyruntime-sandbox/files")
with Sandbox.host() as box:
    box.run(["true"])
""")
