"""The sample bundles run, also with a stub with sanitizers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.commands import COMMAND
from tests.conftest import STUB_SOURCES, TOP, compile_c
from tests.containers import Runtime

EXPECTED = {
    "busybox": r"busybox: pid 1, uid 0, \d+ entries in /\n",
    "hello": r"hello from pid 1 of hello, 1 argument\(s\): world\n",
    "userns": r"uid 0 of a user namespace:\n +0 +100000 +65536\n0:0 /tmp/mine\n",
    "readonly": r"/ is read-only\n/tmp is a tmpfs\n/data is read-only\n",
    "seccomp": r"mkdir: can't create directory '/tmp/refused': Operation not permitted\nLinux\nstatus 2\n",
    "hooks": r"startContainer: created\nthe program\n",
}


@pytest.fixture
def open_path(tmp_path: Path) -> None:
    """Allow the mapped root of a user namespace to enter the test's directory."""
    for parent in (tmp_path, *tmp_path.parents):
        if str(parent) != "/" and parent.stat().st_mode & 0o011 != 0o011:
            parent.chmod(parent.stat().st_mode | 0o011)


@pytest.mark.parametrize("name", EXPECTED)
def test_sample(runtime: Runtime, sample: Any, open_path: None, name: str) -> None:
    path = sample(name)
    assert re.fullmatch(EXPECTED[name], runtime.ok("run", "c1", path))
    if name == "hooks":
        assert (path / "hooks.log").read_text().splitlines() == [
            "prestart: created", "createRuntime: creating", "createContainer: creating", "poststart: running",
            "poststop: stopped"]


def test_every_sample_has_expected_output() -> None:
    from bundles.build import names
    assert names() == sorted(EXPECTED)


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stub under AddressSanitizer and UBSan. It is linked to libc, so leaks at exit are not checked."""
    directory = tmp_path_factory.mktemp("asan")
    options = directory / "options.c"
    options.write_text('const char *__asan_default_options(void);\n'
                       'const char *__asan_default_options(void) { return "detect_leaks=0:abort_on_error=1"; }\n')
    return compile_c(directory / "stub", [options, *STUB_SOURCES], "-fsanitize=address,undefined",
                     "-fno-sanitize-recover=all", "-static-libasan", "-static-libubsan")


@pytest.mark.parametrize("name", EXPECTED)
def test_sample_under_sanitizers(runtime: Runtime, sample: Any, open_path: None, sanitized: Path, name: str) -> None:
    script = (f"import sys; sys.path.insert(0, {str(TOP)!r}); from pyruntime.runtime.lifecycle import launch;"
              f" launch.STUB = {str(sanitized)!r}; from pyruntime.runtime.cli.main import main;"
              f" sys.exit(main(['--root', {str(runtime.root)!r}, 'run', 'c1', {str(sample(name))!r}]))")
    python = COMMAND.parent / "python"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert (done.returncode, re.fullmatch(EXPECTED[name], done.stdout) is not None) == (0, True), done.stderr
    assert "runtime error" not in done.stderr and "Sanitizer" not in done.stderr


@pytest.mark.parametrize("name", EXPECTED)
def test_explain_needs_no_root(sample: Any, open_path: None, name: str) -> None:
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(COMMAND), "explain"]
    path = sample(name)
    text = subprocess.run([*command, path], capture_output=True, text=True, check=False)
    if text.returncode == 126 or "Permission denied" in text.stderr:
        pytest.skip(f"the user nobody cannot read this checkout: {text.stderr.strip()}")
    assert text.returncode == 0 and "pivot_root" in text.stdout, text.stderr
    assert "init  execve\n" in text.stdout
