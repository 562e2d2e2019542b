"""The cost of importing the client before a connection is made."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import TOP

DEAR = {"json", "re", "enum", "typing", "subprocess", "argparse", "dataclasses", "pathlib", "tempfile", "concurrent",
        "asyncio", "http", "email", "ssl", "socket", "urllib", "tomllib", "datetime", "base64", "hashlib"}


def test_expensive_modules_are_imported_late() -> None:
    modules = ("client", "settings", "credentials", "login", "certificates", "proxy", "auth", "session")
    code = (f"import sys; sys.path.insert(0, {str(TOP)!r}); import pyruntime.images.platform; "
            + "; ".join(f"import pyruntime.images.registry.{module}" for module in modules) + "; print(*sys.modules)")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & DEAR, loaded & DEAR
