"""One container, controlled only through the runtime's command line."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.lib.bundle import Config

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Done:
    """A finished command."""

    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        return (self.stderr.strip() or self.stdout.strip())[:2000]


class RuntimeHangs(Exception):
    """An operation of the runtime did not return in time."""


@dataclass(frozen=True)
class Runtime:
    """A runtime's command; ``seconds`` is the time limit of an operation."""

    command: tuple[str, ...]
    seconds: float

    def call(self, *words: str, cwd: Path | None = None, **streams: Any) -> Done:
        """Run an operation and capture its output; ``streams`` replaces stdin, stdout or stderr."""
        # An empty pipe, not /dev/null: crun changes the owner of its standard streams, even of the host's device.
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
        with subprocess.Popen([*self.command, *words], cwd=cwd, text=True, **streams) as process:
            try:
                out, err = process.communicate(timeout=self.seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise RuntimeHangs(f'"{" ".join(words)}" does not return in {self.seconds:.0f} s') from None
        return Done(process.returncode, out or "", err or "")


@dataclass
class Container:
    """A container. Its standard streams are files beside its bundle."""

    runtime: Runtime
    id: str
    bundle: Path
    config: Config
    said_by_create: str = ""

    @property
    def rootfs(self) -> Path:
        return self.bundle / "rootfs"

    @property
    def stdout_file(self) -> Path:
        return self.bundle.with_name(f"{self.id}.out")

    @property
    def stderr_file(self) -> Path:
        return self.bundle.with_name(f"{self.id}.err")

    def create(self, *options: str, bundle_argument: str | None = None, cwd: Path | None = None) -> Done:
        """``create``: both streams are files, because the container keeps them open after the runtime has exited."""
        words = ["create", *options, "--bundle", bundle_argument or str(self.bundle), self.id]
        with open(self.stdout_file, "ab") as out, open(self.stderr_file, "ab") as err:
            done = self.runtime.call(*words, cwd=cwd, stdout=out, stderr=err)
        self.said_by_create = self.stderr_file.read_text(errors="replace")
        return Done(done.status, self.stdout, self.said_by_create)

    @property
    def stdout(self) -> str:
        return self.stdout_file.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """The output of the container, without the preceding warnings of ``create``."""
        return self.stderr_file.read_text(errors="replace").removeprefix(self.said_by_create)

    def start(self) -> Done:
        return self.runtime.call("start", self.id)

    def kill(self, signal: str = "KILL") -> Done:
        return self.runtime.call("kill", self.id, signal)

    def delete(self) -> Done:
        return self.runtime.call("delete", self.id)

    def query(self) -> Done:
        return self.runtime.call("state", self.id)

    def state(self) -> dict[str, Any]:
        """The parsed state; raises ValueError if the runtime prints none."""
        done = self.query()
        if done.status:
            raise ValueError(f"state fails: {done.said}")
        parsed = json.loads(done.stdout)
        if not isinstance(parsed, dict):
            raise ValueError(f"state is not an object: {done.stdout}")
        return parsed

    @property
    def pid(self) -> int:
        return int(self.state()["pid"])

    def proc(self, *parts: str) -> Path:
        """A path in the directory of the container process in the host's /proc."""
        return Path("/proc", str(self.pid), *parts)

    def status_field(self, name: str) -> str:
        """A field of the container process's /proc/PID/status, for example "Uid"."""
        for line in self.proc("status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return " ".join(value.split())
        raise ValueError(f'/proc/PID/status has no field "{name}"')

    def namespace(self, kind: str) -> str:
        return os.readlink(self.proc("ns", kind))

    def wait(self, status: str = "stopped") -> None:
        """Wait until the state has this status."""
        wait_until(lambda: self.state()["status"] == status, self.runtime.seconds, f'status "{status}"')


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"timeout after {seconds:.0f} s waiting for {what}")
        time.sleep(POLL_SECONDS)
