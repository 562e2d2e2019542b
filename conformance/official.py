"""The official validation programs: build them with the Go toolchain, run a program, parse its TAP output.

The module ``github.com/opencontainers/runtime-tools`` is not vendored: the Go toolchain downloads it through the
configured module proxy, and the built programs are cached together with the files that they expect in their working
directory: ``runtimetest`` (copied to each bundle) and ``rootfs-<arch>.tar.gz``.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from conformance.outcome import Program
from conformance.sandbox import Ended, RuntimeCommand, Workplace, supervise, workplace
from conformance.tap import parse

MODULE = "github.com/opencontainers/runtime-tools"
VERSION = "v0.9.1-0.20251205004911-5e639034dcdc"  # the first commit that uses runtime-spec 1.3.0
# The names of the programs' cgroups: see cgroups/cgroups.go and delete_only_create_resources.go of the module.
CGROUPS = ("cgrouptest", "testdir")
TIMEOUT = 120.0
_INSIDE = "runtimetest"
_GOARCH = {"x86_64": "amd64", "i386": "386", "i686": "386"}


class SuiteError(Exception):
    """The official suite cannot be built or used; the message has the remedy."""


def cache_folder(version: str = VERSION) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "pyruntime-conformance", version)


def rootfs_archive() -> str:
    machine = platform.machine()
    if machine not in _GOARCH:
        raise SuiteError(f'the official suite has no root filesystem for "{machine}" (only {", ".join(_GOARCH)})')
    return f"rootfs-{_GOARCH[machine]}.tar.gz"


def install(version: str = VERSION) -> Path:
    """Build the programs unless they are cached; return their directory."""
    folder = cache_folder(version)
    if folder.exists():
        return folder
    if not shutil.which("go"):
        raise SuiteError(
            'the official suite is built with Go and "go" is not installed: install it, or use --suite-dir'
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix="build-"))
    try:
        (work / "src").mkdir()
        (work / "out").mkdir()
        (work / "src/go.mod").write_text(f"module suite\n\ngo 1.21\n\nrequire {MODULE} {version}\n")
        downloaded = json.loads(_go(work / "src", "mod", "download", "-json", f"{MODULE}@{version}"))
        packages = [f"{MODULE}/validation/...", f"{MODULE}/cmd/{_INSIDE}"]
        _go(work / "src", "build", "-trimpath", "-tags", "netgo osusergo", "-o", f"{work}/out/", *packages)
        shutil.copy(Path(downloaded["Dir"], rootfs_archive()), work / "out")
        (work / "out").rename(folder)
    finally:
        shutil.rmtree(work)
    return folder


def _go(folder: Path, *arguments: str) -> str:
    environment = dict(os.environ, CGO_ENABLED="0", GOFLAGS="-mod=mod -buildvcs=false", GOWORK="off")
    done = subprocess.run(["go", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SuiteError(f"go {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def programs(folder: Path) -> list[str]:
    """The names of the validation programs in a directory of :func:`install`."""
    if not (folder / _INSIDE).exists():
        raise SuiteError(f'"{folder}" does not contain the official suite: no "{_INSIDE}"')
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_file() and os.access(entry, os.X_OK) and entry.name != _INSIDE and "." not in entry.name
    )


def run(folder: Path, name: str, runtime: RuntimeCommand, *, timeout: float, unmount: tuple[str, ...] = ()) -> Program:
    """Run one program with a runtime in its own workplace."""
    with workplace(runtime, unmount=unmount, known_cgroups=CGROUPS) as place:
        out, err = place.path / "stdout", place.path / "stderr"

        def execute() -> int:
            os.chdir(folder)
            os.environ["RUNTIME"] = str(place.wrapper)
            os.execv(folder / name, [name])

        ended = supervise(place, execute, timeout, out, err)
        texts = out.read_text(errors="replace"), err.read_text(errors="replace")
    return judge(name, ended, *texts, place=place, timeout=timeout)


def judge(name: str, ended: Ended, stdout: str, stderr: str, *, place: Workplace, timeout: float) -> Program:
    """Turn the output and the exit of a program into a result."""
    stream = parse(stdout)
    stopped = stream.fault
    if ended.status is None:
        stopped = f"timeout after {timeout:.0f} s"
    elif ended.status < 0:
        stopped = f"killed by signal {-ended.status}"
    elif ended.status > 0:
        stopped = f"exit status {ended.status}: {_last_words(stderr)}"
    note = "" if stream.subtests or stopped else _note(stdout)
    leftovers = tuple(place.leftovers)
    return Program(name, stream.subtests, stopped, ended.seconds, stderr, leftovers=leftovers, note=note)


def _note(stdout: str) -> str:
    """Eight programs print no result line: no output is success, a YAML "error" is a failure.

    Neither counts as ok or not ok, so that the totals are those of the suite itself.
    """
    for line in stdout.splitlines():
        if line.strip().startswith('"error":'):
            complaint = line.split(":", 1)[1].strip().strip('",').split("\\n")[0]
            if complaint:
                return f"prints no result, but an error: {complaint}"
    return "prints no result and no error"


def _last_words(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("Refer to:")]
    if lines and lines[-1].startswith("exit status") and len(lines) > 1:
        lines.pop()
    return lines[-1] if lines else "no message"
