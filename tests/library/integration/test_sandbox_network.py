"""Sandboxes in networks, on a host of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from tests.conftest import TOP
from tests.pocker.integration.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    busybox_rootfs(tmp_path / "rootfs")
    (tmp_path / "lab").mkdir()
    made = Lab(tmp_path / "lab", tmp_path / "store")
    try:
        yield made
        made.clear()
        made.check()
    finally:
        made.close()


def program(lab: Lab, code: str) -> dict[str, Any]:
    """What a program on the lab's host finds."""
    begin = f"import json, os\nfrom pyruntime import *\nfrom pyruntime import errors\nfound = {{}}\n" \
            f"root = {str(lab.path.parent / 'rootfs')!r}\n"
    done = subprocess.run([*lab.prefix, sys.executable, "-c", f"{begin}{code}\nprint(json.dumps(found))"], text=True,
                          capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
                          env={**lab.environment, "PYTHONPATH": str(TOP)})
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_two_sandboxes_in_a_network(lab: Lab) -> None:
    lab.ok("network", "create", "back")
    found = program(lab, """
with Sandbox(root, network="back") as server, Sandbox(root, network="back") as client, Sandbox(root) as alone:
    server.write("/work/page", "served")
    with server.popen(["httpd", "-f", "-p", "8080", "-h", "/work"]):
        wget = ["wget", "-q", "-O-"]
        for _ in range(50):
            by_address = client.run([*wget, f"http://{server.addresses[0]}:8080/page"], text=True)
            if not by_address.returncode:
                break
        found["address"] = by_address.stdout
        found["name"] = client.run([*wget, f"http://{server.name}:8080/page"], text=True).stdout
        found["alone"] = alone.run([*wget, f"http://{server.addresses[0]}:8080/page"], timeout=20).returncode
    found["links"] = client.run(["ls", "/sys/class/net"], text=True).stdout.split()
    with client.fork() as copy:
        found["copy"] = copy.addresses[0] not in (*client.addresses, *server.addresses)
    found["none"] = alone.addresses
""")
    assert found.pop("alone") != 0
    assert found == {"address": "served", "name": "served", "links": ["eth0", "lo"], "copy": True, "none": []}
    lab.ok("network", "rm", "back")


def test_networks_that_do_not_work_leave_nothing(lab: Lab) -> None:
    found = program(lab, """
before = set(os.listdir("/proc/self/fd"))
try:
    Sandbox(root, network="none-such")
except errors.StateError as error:
    found["error"] = str(error)
found["left"] = len(set(os.listdir("/proc/self/fd")) - before)
""")
    assert "none-such" in found["error"] and found["left"] == 0


def test_a_name_server_that_does_not_answer_is_told(lab: Lab) -> None:
    """And nothing is left: no descriptor, no address, no child that has not been waited for."""
    lab.ok("network", "create", "back")
    found = program(lab, """
from pyruntime.sandbox import network
with Sandbox(root, network="back"):
    pass
before = set(os.listdir("/proc/self/fd"))
network.names.answers = lambda gateway: False
try:
    Sandbox(root, network="back")
except errors.HostError as error:
    found["error"] = str(error)
found["left"] = len(set(os.listdir("/proc/self/fd")) - before)
def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
with open(f"/proc/self/task/{os.getpid()}/children") as file:   # the name server, too
    found["ended"] = [pid for pid in file.read().split() if state(pid) == "Z"]
""")
    assert 'network "back": its name server at ' in found["error"]
    assert (found["left"], found["ended"]) == (0, [])
    lab.ok("network", "rm", "back")


def test_a_killed_program_gives_its_address_back(lab: Lab) -> None:
    lab.ok("network", "create", "--subnet", "10.77.0.0/29", "small")   # five addresses besides the gateway's
    for _ in range(4):
        found = program(lab, """
import signal
child = os.fork()
if child == 0:
    boxes = [Sandbox(root, network="small") for _ in range(3)]
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
with Sandbox(root, network="small") as box:
    found["address"] = box.addresses[0]
""")
        assert found["address"].startswith("10.77.0.")
    lab.ok("network", "rm", "small")
