"""The command ``pocker`` with its own directories, and a check that it leaves nothing behind."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.commands import BIN


class Pocker:
    """The command line; ``path`` holds its root and run directories, ``store`` the images."""

    def __init__(self, path: Path, store: Path) -> None:
        self.path = path
        self.root = path / "root"
        self.run = path / "run"
        self.environment = {**os.environ, "POCKER_ROOT": str(self.root), "POCKER_RUN": str(self.run),
                            "PYRUNTIME_STORE": str(store), "HOME": str(path)}
        self.prefix: list[str] = []   # a program that runs the command elsewhere, for example in a namespace
        self.before = self._host()

    def __call__(self, *words: object, program: str = "pocker", **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
        options.setdefault("timeout", 120)
        environment = {**self.environment, **options.pop("env", {})}
        if options["stdin"] is None:
            del options["stdin"]
        done = subprocess.run([*self.prefix, str(BIN / program), *map(str, words)], capture_output=True,
                              text=True, check=False, env=environment, **options)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def ok(self, *words: object, **options: Any) -> str:
        """The standard output of a command that must succeed, without the last newline."""
        done = self(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout.rstrip("\n")

    def fails(self, *words: object, status: int = 1, **options: Any) -> str:
        """The messages of a command that must fail with ``status``."""
        done = self(*words, **options)
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done.stderr

    def start(self, *words: object, **options: Any) -> subprocess.Popen[str]:
        """A command that runs in the background."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([*self.prefix, str(BIN / "pocker"), *map(str, words)], text=True,
                                env=self.environment, **options)

    def directory(self, name: str) -> Path:
        """A container's directory."""
        return self.root / "containers" / os.readlink(self.root / "names" / name)

    def run_file(self, name: str) -> dict[str, Any]:
        """The record of the container's current run (run.json)."""
        value = json.loads((self.directory(name) / "run.json").read_text())
        assert isinstance(value, dict)
        return value

    def statuses(self) -> dict[str, str]:
        """Each container's name and status."""
        rows = [line.split() for line in self.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()]
        return {row[0]: row[1] for row in rows}

    @staticmethod
    def eventually(true: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Wait until the condition is true; ``what`` describes it in the failure."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, what
            time.sleep(0.02)

    # --- what is left -------------------------------------------------------------------------------------------------

    def _host(self) -> set[str]:
        mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
        found = {f"mount {point}" for point in mounts if point.startswith(str(self.path))}
        own = self._identifiers()   # other tests may run on this host at the same time
        # The usual place, also of v1; scopes of systemd, in a slice. Not by Path.glob(), which fails if another test
        # removes a directory while it is read.
        for pattern in ("pocker-*", "*/pocker-*", "*.slice/*.slice/pocker-*"):
            found |= {f"cgroup {path}" for path in glob.glob(f"/sys/fs/cgroup/{pattern}/")
                      if Path(path).name.removeprefix("pocker-").removesuffix(".scope") in own}
        found |= {f"link {name}" for name in os.listdir("/sys/class/net")}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and str(self.root).encode() in (entry / "cmdline").read_bytes():
                    found.add(f"process {entry.name}")
            except OSError:
                continue   # the process ended in the meantime
        return found

    def _identifiers(self) -> set[str]:
        """The IDs of all containers created by this command, as far as the journal and the directories record them."""
        found = {name.removeprefix("~").partition(".")[0] for name in os.listdir(self.root / "containers")
                 } if (self.root / "containers").is_dir() else set()
        for path in self.run.glob("events*"):
            found |= {json.loads(line)["Actor"]["ID"] for line in path.read_text().splitlines()}
        return found

    def leftovers(self) -> list[str]:
        """What exists now and did not before: on the host, and in the command's directories."""
        files = [path for name in ("containers", "names") if (self.root / name).is_dir()
                 for path in (self.root / name).iterdir() if path.name != ".lock"]
        files += [path for name in ("runtime", "attach") if (self.run / name).is_dir()
                  for path in (self.run / name).iterdir() if not path.name.startswith(".")]
        return sorted(self._host() - self.before) + [f"file {path}" for path in files]

    def check(self) -> None:
        """Fail if something is left; a process that is ending gets ten seconds."""
        deadline = time.monotonic() + 10
        while (left := self.leftovers()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, left

    def clear(self) -> None:
        """Remove all containers, whatever their status."""
        if names := self("ps", "-aq").stdout.split():
            self("rm", "-f", "-v", *names)
