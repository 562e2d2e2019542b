"""Options, flags of C programs, and signals, for all tests. The fixtures for containers are in tests/containers.py."""

from __future__ import annotations

import getpass
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

TOP = Path(__file__).resolve().parent.parent
COMMANDS = "PYRUNTIME_TEST_COMMANDS"
NATIVE = TOP / "pyruntime/native/stub"
# The linker puts the segments of a program so far apart, because the kernel's pages may be as large.
PADDING = 65_536 if os.uname().machine == "aarch64" else 0   # bytes
STUB_SOURCES = [*NATIVE.glob("*.c"), *(TOP / "pyruntime/native/arguments").glob("*.c")]
FLAGS = [f"@{TOP}/pyruntime/native/cflags", "-Werror", "-g", "-O1"]
# A process started in the background or by nohup(1) ignores these, and so would all programs that tests run and signal.
for number, action in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL),
                       (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, action)
# A machine whose cores are busy is no fault of an example.
hypothesis.settings.register_profile("shared machine", deadline=None)
hypothesis.settings.load_profile("shared machine")
sys.path.insert(0, str(TOP))   # bundles/ and tests/data are not installed packages
pytest.register_assert_rewrite("tests.containers", "tests.front")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--commands", metavar="DIRECTORY", help="test the commands in DIRECTORY, for example those of an "
                     "installed package [default: .venv/bin, else PATH]")
    importlib.import_module("tests.slow").add_options(parser)
    # Not in pytest_configure: the conftest.py files below are loaded before that, and import tests/commands.py.
    if directory := parser.parse_known_args(sys.argv[1:]).commands:
        os.environ[COMMANDS] = directory


def pytest_configure(config: pytest.Config) -> None:
    """Provide the fixtures of tests/containers.py and tests/front.py, and the hooks of the others."""
    for name in ("containers", "front", "workers", "progress", "slow"):
        config.pluginmanager.register(importlib.import_module(f"tests.{name}"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remove the directories of killed sessions. pytest cannot: it recurses, and some tests make deep trees."""
    if hasattr(session.config, "workerinput"):
        return
    place = Path(os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir(), f"pytest-of-{getpass.getuser()}")
    dead = [lock.parent for lock in place.glob("pytest-*/.lock") if not Path("/proc", lock.read_text()).exists()]
    # What is mounted there stays, and is no reason to stop.
    subprocess.run(["rm", "-rf", "--one-file-system", *dead, *place.glob("garbage-*")], check=False,
                   stderr=subprocess.DEVNULL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests that passed have recorded as their "note": the cases that they skipped."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "note":
                terminalreporter.write_line(str(value))


def compile_c(target: Path, sources: list[Path], *flags: str, compiler: str = "gcc") -> Path:
    """Build a C program for a test; a warning is a failure."""
    if not shutil.which(compiler):
        pytest.fail(f"{compiler} is not installed: run tools/install-deps test")
    done = subprocess.run([compiler, *FLAGS, *flags, f"-I{NATIVE}", "-o", str(target), *map(str, sources)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target
