"""The monitors and the proxy, built with AddressSanitizer and UndefinedBehaviorSanitizer, in the tests that use them.

The programs are mounted over those of this tree, in a mount namespace of the test's own. A sanitizer reports to a file,
because a monitor's messages go to /dev/null; a report is a failure, whatever the tests say.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

from pyruntime._version import commit
from tests.conftest import TOP, compile_c
from tests.shim.client import SHIM

pytestmark = pytest.mark.root
PROGRAMS = TOP / "pyruntime/native"
# Linked into the program: the proxy gets no environment. No LeakSanitizer: it needs ptrace(2), which the proxy forbids.
OPTIONS = """
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{{
	return "log_path={directory}/report:detect_leaks=0:abort_on_error=1";
}}
"""
FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer",
         f'-DCOMMIT="{commit()}"')
INSIDE = 'mount --make-rprivate / && mount --bind "$1" "$2" && shift 2 && exec "$@"'


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory for the program and its reports: the proxy runs as the user nobody, who cannot enter pytest's
    directory."""
    path = Path(mkdtemp(prefix="pyruntime-sanitizers-"))
    path.chmod(0o777)
    yield path
    rmtree(path)


def build(directory: Path, sources: list[Path]) -> Path:
    options = directory / "options.c"
    options.write_text(OPTIONS.format(directory=directory))
    return compile_c(directory / "program", [*sources, options], *FLAGS)


def reports(directory: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(directory.glob("report*")))


@pytest.mark.parametrize("fault", ["argv[0][argc + 100000] = 1", "argc += 0x7fffffff", "argc <<= 40 + argc"])
def test_faults_are_reported(directory: Path, fault: str) -> None:
    source = directory / "fault.c"
    source.write_text(f"int main(int argc, char **argv)\n{{\n\t{fault};\n\treturn argc + **argv;\n}}\n")
    done = subprocess.run([build(directory, [source])], capture_output=True, text=True, check=False, env={})
    assert done.returncode != 0
    assert re.search("ERROR: AddressSanitizer|runtime error: ", reports(directory) + done.stderr)


# The program, the sources that it shares, where it is installed, its tests, those of them that are run.
RUNS = [
    ("monitor", "arguments/*.c", PROGRAMS / "monitor/monitor", "pocker/integration/test_streams.py",
     "attach or log or terminal", 8),
    ("proxy", "arguments/*.c", PROGRAMS / "proxy/proxy", "pocker/integration/test_network.py", "port", 3),
    ("shim", "front/[pfr][yie][tls][hest]*.c", SHIM, "shim/integration/test_service.py", "not descriptors", 12),
    ("shim", "front/[pfr][yie][tls][hest]*.c", SHIM, "shim/integration/test_service_streams.py", "test", 7),
    ("shim", "front/[pfr][yie][tls][hest]*.c", SHIM, "shim/integration/test_service_restart.py", "test", 9),
    ("shim", "front/[pfr][yie][tls][hest]*.c", SHIM, "shim/integration/test_parameters.py", "not score", 15),
    ("shim", "front/[pfr][yie][tls][hest]*.c", SHIM, "shim/integration/test_info.py", "info", 4)]


@pytest.mark.parametrize(("name", "shared", "installed", "tests", "keywords", "least"), RUNS,
                         ids=[f"{run[0]}-{Path(run[3]).stem}" for run in RUNS])
def test_programs_run_without_a_report(directory: Path, name: str, shared: str, installed: Path, tests: str,
                                       keywords: str, least: int) -> None:
    program = build(directory, [*(PROGRAMS / name).glob("*.c"), *PROGRAMS.glob(shared)])
    done = subprocess.run(["unshare", "--mount", "sh", "-c", INSIDE, "sh", program, installed,
                           sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp",
                           directory / "t", TOP / "tests" / tests, "-k", keywords], cwd=TOP, capture_output=True,
                          text=True, check=False, env={**os.environ, "PYTEST_ADDOPTS": ""})
    assert reports(directory) == ""
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0 and passed and int(passed[1]) >= least, done.stdout[-6000:]
