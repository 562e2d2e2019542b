"""The open descriptors of init while other processes can inspect it: none leads to the host."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import TOP
from tests.containers import PATIENCE, Bundle, Runtime

PTRACE = {name: ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"] for name in ("bounding", "effective", "permitted")}


def test_a_created_container_has_no_descriptors_of_the_host(runtime: Runtime, bundle: Bundle) -> None:
    # A container that joins its pid namespace with CAP_SYS_PTRACE can follow /proc/PID/fd (CVE-2024-21626).
    bundle.config["linux"]["namespaces"] = [*(entry for entry in bundle.config["linux"]["namespaces"]
                                              if entry["type"] != "cgroup"), {"type": "cgroup"}]
    bundle.shell("true")
    runtime.ok("create", "c1", bundle)
    fds = f"/proc/{runtime.state('c1')['pid']}/fd"
    held = sorted({os.readlink(f"{fds}/{fd}").partition("[")[0] for fd in os.listdir(fds) if int(fd) > 2})
    assert held == ["/", "socket:"]
    root = next(fd for fd in os.listdir(fds) if os.readlink(f"{fds}/{fd}") == "/")
    assert os.path.samefile(f"{fds}/{root}", bundle.config["root"]["path"])


def test_a_start_container_hook_finds_no_way_out_through_init(runtime: Runtime, bundle: Bundle) -> None:
    look = "for at in /proc/1/fd/*; do ls -d $at/[0-9]* $at/cgroup.procs; done 2>/dev/null; echo $?"
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", look]}]}
    bundle.shell("true", process__capabilities=PTRACE)
    assert runtime.ok("run", "c1", bundle) == "1\n"


def test_root_of_a_user_namespace_cannot_inspect_init(runtime: Runtime, bundle: Bundle) -> None:
    # Init's memory belongs to the host's user namespace until execve, regardless of the container's capabilities.
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["hooks"] = {"startContainer": [
        {"path": "/bin/sh", "args": ["sh", "-c", "ls /proc/1/fd/ 2>/dev/null | grep -v :; true"]}]}
    bundle.shell("true", process__capabilities=PTRACE, linux__uidMappings=mapping, linux__gidMappings=mapping)
    assert runtime.ok("run", "c1", bundle) == ""


def test_a_label_is_written_after_the_hosts_procfs_is_closed(runtime: Runtime, bundle: Bundle) -> None:
    # Not every kernel has a security module: another file of the process replaces its attribute.
    bundle.shell("cat /proc/self/oom_score_adj", process__selinuxLabel="label")
    script = """
import sys
from pyruntime.runtime.lifecycle import create
from pyruntime.runtime.compiler.sections import process
original, read_host = process._label, create.read_host
def host(*arguments, **options):
    found = read_host(*arguments, **options)
    found.selinux = True
    return found
process._label = lambda setup, node, path, data: original(setup, node, "self/oom_score_adj", "321")
create.read_host = host
from pyruntime.runtime.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
    done = subprocess.run([sys.executable, "-c", script, "--root", runtime.root, "run", "c1", bundle.path], cwd=TOP,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, "321\n"), done.stderr
