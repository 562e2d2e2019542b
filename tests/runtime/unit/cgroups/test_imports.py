"""The modules that the hot path of create and delete may load."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import TOP

DEAR = {"re", "json", "typing", "dataclasses", "enum", "collections", "functools", "contextlib", "subprocess", "ctypes",
        "_ctypes", "_cffi_backend", "hashlib", "pathlib", "math", "time"}
SCRIPT = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, {str(TOP)!r})
from pyruntime.runtime.cgroups import create, group, host, mounts, paths, resources
from pyruntime.runtime.config.node import Node
found = host.discover()
limits = {{"memory": {{"limit": 1}}, "devices": [{{"allow": False, "access": "rwm"}}]}}
if found.find("memory"):
    config = Node({{"linux": {{"resources": limits}}}})
    place = resources.placement(config, found, "x")
    list(resources.emit(config, found, place, "x", rootless=False, slot=int))
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("pyruntime")))
"""


def test_no_expensive_module_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & DEAR
