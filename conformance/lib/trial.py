"""The interface of a case: create containers, check, skip. A case ends at its first failed check."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from conformance.lib import host as facts
from conformance.lib.bundle import Config, base_config, make_rootfs, write_config
from conformance.lib.container import Container, Done, Runtime, wait_until

SLEEP = ("/bin/sleep", "1000")


class Failed(Exception):
    """The runtime violates the requirement."""


class Skipped(Exception):
    """The case cannot run on this host; the message has the exact reason."""


@dataclass
class Trial:
    """``path`` is the case's own directory; ``scale`` multiplies every time limit (for emulated hosts)."""

    runtime: Runtime
    path: Path
    scale: float = 1.0

    @property
    def host(self) -> facts.Host:
        return facts.host()

    # -- creating containers -------------------------------------------------------------------------------------

    def config(self, script: str) -> Config:
        """The base configuration, running a shell script."""
        return base_config("/bin/sh", "-c", script)

    def sleeper(self) -> Config:
        """The base configuration, running a process that only waits."""
        return base_config(*SLEEP)

    def bundle(self, config: Config, name: str = "") -> Path:
        """A new bundle with this configuration and the minimal root filesystem."""
        path = self.path / (name or f"bundle-{uuid.uuid4().hex[:8]}")
        make_rootfs(path / "rootfs")
        write_config(path, config)
        return path

    def container(self, config: Config, *, identifier: str = "") -> Container:
        """A bundle and an unused ID; the runtime has not been called yet."""
        return Container(self.runtime, identifier or self.new_id(), self.bundle(config), config)

    def new_id(self) -> str:
        return f"conf-{uuid.uuid4().hex[:12]}"

    def create(self, config: Config, *options: str) -> Container:
        container = self.container(config)
        self.succeed(container.create(*options), "create")
        return container

    def start(self, config: Config, *options: str) -> Container:
        container = self.create(config, *options)
        self.succeed(container.start(), "start")
        return container

    def run(self, config: Config | str) -> Container:
        """Create, start and wait."""
        container = self.start(self.config(config) if isinstance(config, str) else config)
        container.wait("stopped")
        return container

    def output(self, config: Config | str) -> str:
        """The standard output of a container, stripped; its script must not write to stderr."""
        container = self.run(config)
        if container.stderr.strip():
            raise Failed(f"output of the container on stderr: {container.stderr.strip()}")
        return container.stdout.strip()

    # -- checking ------------------------------------------------------------------------------------------------

    def check(self, good: object, message: str) -> None:
        if not good:
            raise Failed(message)

    def equal(self, actual: object, expected: object, what: str) -> None:
        self.check(actual == expected, f"{what}: expected {expected!r}, got {actual!r}")

    def succeed(self, done: Done, what: str) -> Done:
        self.check(done.status == 0, f"{what} fails (status {done.status}): {done.said}")
        return done

    def fail(self, done: Done, what: str) -> Done:
        """The operation must generate an error; a crash of the runtime is not an error message."""
        self.check(done.status != 0, f"{what} generates no error")
        self.check(done.status > 0, f"{what} ends by signal {-done.status}")
        self.check(done.said, f"{what} fails without a message (status {done.status})")
        return done

    def refused(self, config: Config, what: str) -> Done:
        """``create`` must generate an error, and there must be no container afterwards."""
        container = self.container(config)
        done = self.fail(container.create(), f"create with {what}")
        self.check(container.query().status != 0, f"a container exists after the failed create with {what}")
        return done

    def refused_or_named(self, config: Config, what: str, place: str) -> None:
        """``create`` must generate an error, or print a warning on standard error that names the place, as is customary
        for values that other runtimes accept."""
        container = self.container(config)
        done = container.create()
        named = place in done.stderr + container.stderr
        self.check(done.status != 0 or named, f"create with {what} succeeds without a warning")

    def refused_by_start(self, config: Config, what: str) -> None:
        """``create``, or ``start`` at the latest, must generate an error."""
        container = self.container(config)
        if container.create().status == 0:
            self.fail(container.start(), f"start with {what}")

    def eventually(self, condition: Callable[[], bool], what: str, seconds: float = 5.0) -> None:
        wait_until(condition, seconds * self.scale, what)

    # -- skipping ------------------------------------------------------------------------------------------------

    def skip(self, reason: str) -> NoReturn:
        raise Skipped(reason)

    def skip_unless(self, condition: object, reason: str) -> None:
        if not condition:
            self.skip(reason)

    def need_namespace(self, kind: str) -> None:
        self.skip_unless(facts.has_namespace(kind), f"the kernel has no {kind} namespaces")

    def need_kernel(self, major: int, minor: int, what: str) -> None:
        version = ".".join(map(str, self.host.kernel))
        self.skip_unless(self.host.kernel >= (major, minor), f"{what} needs Linux {major}.{minor}, this is {version}")

    def need_tool(self, name: str) -> str:
        found = facts.tool(name)
        if found is None:
            self.skip(f'the host has no "{name}"')
        return found

    def need_controller(self, name: str) -> None:
        known = " ".join(sorted(self.host.controllers))
        self.skip_unless(name in self.host.controllers, f'no cgroup controller "{name}" (only: {known})')

    def need_v1(self) -> None:
        self.skip_unless(self.host.cgroup in ("v1", "hybrid"), f"needs cgroup v1, this is {self.host.cgroup}")

    def need_v2(self) -> None:
        self.skip_unless(self.host.cgroup == "v2", f"needs cgroup v2 only, this is {self.host.cgroup}")

    def need_capabilities(self, numbers: Iterable[int], what: str) -> None:
        missing = set(numbers) - facts.granted_capabilities()
        self.skip_unless(not missing, f"{what}: the host does not grant capability number {sorted(missing)}")

    # -- cgroups -------------------------------------------------------------------------------------------------

    def cgroup(self, container: Container, controller: str) -> Path:
        """The cgroup directory of the container process, according to the kernel (v1: of that controller)."""
        mounts = facts.cgroup_mounts()
        for line in container.proc("cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if controller in names.split(",") and controller in mounts:
                return mounts[controller] / path.lstrip("/")
            if names == "" and self.host.cgroup == "v2":
                return mounts[""] / path.lstrip("/")
        raise Failed(f'the container process is in no cgroup of controller "{controller}"')

    def cgroup_value(self, container: Container, controller: str, v1: str, v2: str) -> str:
        """A control file of the container's cgroup, under its name in v1 or v2."""
        name = v2 if self.host.cgroup == "v2" else v1
        path = self.cgroup(container, controller) / name
        self.skip_unless(path.exists(), f'the kernel has no "{name}"')
        return path.read_text().strip()
