"""config.md#posix-platform-hooks and runtime.md#lifecycle: the six kinds of hooks.

A hook here is the host's /bin/sh, or for startContainer the container's. It reports to a directory of the case,
which is bind-mounted in the container at /report if the hook sees only the container's files.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from conformance.lib.bundle import Config, add_namespace
from conformance.lib.container import Container
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

HOOKS = "config.md#posix-platform-hooks"
LIFECYCLE = "runtime.md#lifecycle"
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
IN_RUNTIME = ("prestart", "createRuntime", "poststart", "poststop")
BY_CREATE = ("prestart", "createRuntime", "createContainer")


class Report:
    """The directory that hooks write to: ``path`` on the host, /report in the container."""

    def __init__(self, t: Trial, config: Config) -> None:
        self.path = t.path / "report"
        self.path.mkdir()
        config["mounts"].append(
            {"destination": "/report", "type": "none", "source": str(self.path), "options": ["bind", "rw"]}
        )

    def seen_by(self, kind: str) -> str:
        return "/report" if kind == "startContainer" else str(self.path)

    def read(self, name: str) -> str:
        path = self.path / name
        return path.read_text() if path.exists() else ""

    def lines(self, name: str) -> list[str]:
        return self.read(name).split("\n")[:-1]


def hook(script: str, **more: Any) -> Config:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]} | more


def live(t: Trial, config: Config) -> Container:
    """The whole lifecycle of a container that exits by itself, up to its deletion."""
    container = t.run(config)
    t.succeed(container.delete(), "delete")
    return container


@requirement(HOOKS, "all six kinds are called, in the order of the lifecycle")
def order_of_kinds(t: Trial) -> None:
    config = t.config("echo process >> /report/order")
    report = Report(t, config)
    config["hooks"] = {kind: [hook(f"echo {kind} >> {report.seen_by(kind)}/order")] for kind in reversed(KINDS)}
    live(t, config)
    expected = [*KINDS[:4], "process", *KINDS[4:]]
    seen = report.lines("order")
    # The process and poststart run at the same time: poststart must only follow the *execution* of the process.
    t.equal([word for word in seen if word != "process"], list(KINDS), "order of the hooks")
    t.check("process" in seen and seen.index("process") > 3, f"order: expected {expected}, got {seen}")


def _listed_order(kind: str) -> None:
    @requirement(HOOKS, f"hooks of one kind are called in the listed order: {kind}", name=f"listed_order_{kind}")
    def case(t: Trial) -> None:
        config = t.config("true")
        report = Report(t, config)
        script = f">> {report.seen_by(kind)}/order"
        config["hooks"] = {
            kind: [hook(f"sleep 0.05; echo 1 {script}"), hook(f"echo 2 {script}"), hook(f"echo 3 {script}")]
        }
        live(t, config)
        t.equal(report.lines("order"), ["1", "2", "3"], f"order of {kind} hooks")


def _stdin_state(kind: str) -> None:
    @requirement(HOOKS, f"the state is passed over stdin: {kind}", name=f"stdin_{kind}")
    def case(t: Trial) -> None:
        config = t.config("true")
        config["annotations"] = {"com.example.key": "value"}
        report = Report(t, config)
        config["hooks"] = {kind: [hook(f"cat > {report.seen_by(kind)}/state")]}
        container = live(t, config)
        state = json.loads(report.read("state"))
        t.equal(state.get("id"), container.id, "id")
        t.equal(state.get("bundle"), str(container.bundle), "bundle")
        t.check(isinstance(state.get("ociVersion"), str), f"ociVersion is {state.get('ociVersion')!r}")
        t.check(isinstance(state.get("status"), str), f"status is {state.get('status')!r}")
        t.equal((state.get("annotations") or {}).get("com.example.key"), "value", "annotation")


def _environment(kind: str) -> None:
    @requirement(HOOKS, f"args and env are the hook's own, and nothing else: {kind}", name=f"environment_{kind}")
    def case(t: Trial) -> None:
        config = t.config("true")
        config["process"]["env"].append("OF_PROCESS=1")
        report = Report(t, config)
        to = report.seen_by(kind)
        script = f'tr "\\0" "\\n" < /proc/self/environ > {to}/env; echo "$0 $1" > {to}/args'
        entry = {"path": "/bin/sh", "args": ["sh", "-c", script, "name", "one"], "env": ["A=b", "PATH=/usr/bin:/bin"]}
        config["hooks"] = {kind: [entry]}
        os.environ["CONFORMANCE_LEAK"] = "leaked"
        live(t, config)
        t.equal(sorted(report.lines("env")), ["A=b", "PATH=/usr/bin:/bin"], "environment")
        t.equal(report.read("args"), "name one\n", "arguments")


def _namespace(kind: str) -> None:
    where = "runtime" if kind in IN_RUNTIME else "container"

    @requirement(HOOKS, f"{kind} hooks are executed in the {where} namespaces", name=f"namespace_{kind}")
    def case(t: Trial) -> None:
        config = t.config("sleep 1000")
        report = Report(t, config)
        kinds = ("mnt", "net", "ipc", "uts")
        script = "; ".join(f"readlink /proc/self/ns/{ns} >> {report.seen_by(kind)}/ns" for ns in kinds)
        config["hooks"] = {kind: [hook(script)]}
        container = t.start(config)
        inside = [container.namespace(ns) for ns in kinds]
        t.succeed(container.kill(), "kill")
        container.wait()
        t.succeed(container.delete(), "delete")
        ours = [os.readlink(f"/proc/self/ns/{ns}") for ns in kinds]
        t.equal(report.lines("ns"), ours if where == "runtime" else inside, f"namespaces {kinds}")


def _path_must_be_absolute(kind: str) -> None:
    @requirement(HOOKS, f"a hook's path must be absolute: {kind}", name=f"absolute_path_{kind}")
    def case(t: Trial) -> None:
        config = t.sleeper()
        config["hooks"] = {kind: [{"path": "bin/true"}]}
        container = t.container(config)
        if container.create().status == 0 and container.start().status == 0:
            t.succeed(container.kill(), "kill")
            container.wait()
            t.fail(container.delete(), f"a {kind} hook with a relative path")


def _timeout(kind: str) -> None:
    @requirement(HOOKS, f"a hook that outlives its timeout is aborted: {kind}", name=f"timeout_{kind}")
    def case(t: Trial) -> None:
        config = t.config("true")
        report = Report(t, config)
        script = f"sleep 10; touch {report.seen_by(kind)}/outlived"
        config["hooks"] = {kind: [hook(f"exec sh -c '{script}'", timeout=1)]}
        container = t.container(config)
        done = container.create()
        if kind in BY_CREATE:
            t.fail(done, f"create with a {kind} hook that exceeds its timeout")
            return
        t.succeed(done, "create")
        done = container.start()
        if kind in ("startContainer", "poststart"):
            t.fail(done, f"start with a {kind} hook that exceeds its timeout")
            return
        container.wait()
        container.delete()
        t.check(not (report.path / "outlived").exists(), "the hook was not aborted")


def _failure_in_create(kind: str) -> None:
    @requirement(
        LIFECYCLE, f"a failing {kind} hook: create generates an error, no container remains", name=f"failure_{kind}"
    )
    def case(t: Trial) -> None:
        config = t.config("touch /report/ran")
        report = Report(t, config)
        config["hooks"] = {kind: [hook("exit 1"), hook(f"touch {report.path}/second")]}
        t.refused(config, f"a failing {kind} hook")
        t.check(not (report.path / "ran").exists(), "the program was run")
        t.check(not (report.path / "second").exists(), "the hook after the failed hook was run")


for _kind in KINDS:
    _listed_order(_kind)
    _stdin_state(_kind)
    _environment(_kind)
    _namespace(_kind)
    _path_must_be_absolute(_kind)
    _timeout(_kind)
for _kind in BY_CREATE:
    _failure_in_create(_kind)


@requirement(LIFECYCLE, "a failing startContainer hook: start generates an error, the program does not run")
def failure_start_container(t: Trial) -> None:
    config = t.config("touch /report/ran; sleep 1000")
    report = Report(t, config)
    config["hooks"] = {"startContainer": [hook("exit 1")]}
    container = t.create(config)
    t.fail(container.start(), "start with a failing startContainer hook")
    t.check(not (report.path / "ran").exists(), "the program was run")
    done = container.query()
    t.check(done.status != 0 or json.loads(done.stdout)["status"] == "stopped", "the container is still running")


@requirement(LIFECYCLE, "a failing poststart hook: start generates an error and the container is stopped")
def failure_poststart(t: Trial) -> None:
    config = t.sleeper()
    config["hooks"] = {"poststart": [hook("exit 1")]}
    container = t.create(config)
    t.fail(container.start(), "start with a failing poststart hook")
    done = container.query()
    t.check(done.status != 0 or json.loads(done.stdout)["status"] == "stopped", "the container is still running")


@requirement(LIFECYCLE, "a failing poststop hook is a warning: delete succeeds and the remaining hooks run")
def failure_poststop(t: Trial) -> None:
    config = t.config("true")
    report = Report(t, config)
    config["hooks"] = {"poststop": [hook("exit 1"), hook(f"touch {report.path}/second")]}
    container = t.run(config)
    t.succeed(container.delete(), "delete with a failing poststop hook")
    t.check((report.path / "second").exists(), "the hook after the failed hook was not run")
    t.check(container.query().status != 0, "the container still exists")


def _poststop_after(kind: str) -> None:
    @requirement(LIFECYCLE, f"after a failing {kind} hook the poststop hooks are called", name=f"poststop_after_{kind}")
    def case(t: Trial) -> None:
        config = t.config("true")
        report = Report(t, config)
        config["hooks"] = {kind: [hook("exit 1")], "poststop": [hook(f"touch {report.path}/poststop")]}
        container = t.container(config)
        t.fail(container.create(), f"create with a failing {kind} hook")
        t.check((report.path / "poststop").exists(), "no poststop hook was called")


for _kind in BY_CREATE:
    _poststop_after(_kind)


@requirement("config.md#prestart", "prestart, createRuntime and createContainer hooks are part of create, not of start")
def part_of_create(t: Trial) -> None:
    config = t.sleeper()
    report = Report(t, config)
    config["hooks"] = {kind: [hook(f"echo {kind} >> {report.path}/order")] for kind in BY_CREATE}
    container = t.create(config)
    t.equal(report.lines("order"), list(BY_CREATE), "hooks called by create")
    t.succeed(container.start(), "start")
    t.equal(report.lines("order"), list(BY_CREATE), "hooks called by create and start")


@requirement("config.md#prestart", "prestart hooks see the container's namespaces, but its root is not set up yet")
def before_pivot_root(t: Trial) -> None:
    config = t.sleeper()
    report = Report(t, config)
    script = (
        f"pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); readlink /proc/$pid/ns/net > {report.path}/net; "
        f"test -e /proc/$pid/root/report && echo pivoted > {report.path}/root || echo not yet > {report.path}/root"
    )
    config["hooks"] = {"createRuntime": [hook(f"tr , '\\n' | ({script})")]}
    container = t.create(config)
    t.equal(report.read("net").strip(), container.namespace("net"), "network namespace seen by the hook")
    t.equal(report.read("root").strip(), "not yet", "root of the process while the hook runs")


def _path_in_runtime(kind: str) -> None:
    @requirement(HOOKS, f"the path of a {kind} hook resolves in the runtime namespace", name=f"runtime_path_{kind}")
    def case(t: Trial) -> None:
        config = t.config("true")
        report = Report(t, config)
        program = t.path / "on-the-host"
        program.write_text(f"#!/bin/sh\necho host > {report.path}/where\n")
        program.chmod(0o755)
        config["hooks"] = {kind: [{"path": str(program)}]}
        live(t, config)
        t.equal(report.read("where"), "host\n", "what the hook wrote")


for _kind in IN_RUNTIME:
    _path_in_runtime(_kind)


@requirement("config.md#createcontainer-hooks", "the path of a createContainer hook resolves in the runtime namespace")
def create_container_path(t: Trial) -> None:
    config = t.sleeper()
    report = Report(t, config)
    program = t.path / "on-the-host"
    program.write_text(f"#!/bin/sh\necho host > {report.path}/where\n")
    program.chmod(0o755)
    config["hooks"] = {"createContainer": [{"path": str(program)}]}
    t.create(config)
    t.equal(report.read("where"), "host\n", "what the hook wrote")


@requirement("config.md#createcontainer-hooks", "createContainer hooks see the container's mounts below its root")
def create_container_mounts(t: Trial) -> None:
    config = t.sleeper()
    report = Report(t, config)
    config["mounts"].append({"destination": "/mnt", "type": "tmpfs", "source": "conf-tmpfs"})
    config["hooks"] = {"createContainer": [hook(f"cat /proc/self/mountinfo > {report.path}/mounts")]}
    t.create(config)
    t.check("conf-tmpfs" in report.read("mounts"), "the tmpfs on /mnt is not mounted when the hook runs")


@requirement("config.md#startcontainer-hooks", "startContainer hooks are part of start, before the program")
def start_container_timing(t: Trial) -> None:
    config = t.config("echo program >> /report/order")
    report = Report(t, config)
    config["hooks"] = {"startContainer": [hook("echo hook >> /report/order")]}
    container = t.create(config)
    t.equal(report.lines("order"), [], "hooks called by create")
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(report.lines("order"), ["hook", "program"], "order")


@requirement("config.md#startcontainer-hooks", "the path of a startContainer hook resolves in the container namespace")
def start_container_path(t: Trial) -> None:
    config = t.config("true")
    report = Report(t, config)
    config["hooks"] = {"startContainer": [{"path": "/bin/only-inside"}]}
    container = t.container(config)
    program = container.rootfs / "bin/only-inside"
    program.write_text("#!/bin/sh\necho inside > /report/where\n")
    program.chmod(0o755)
    t.succeed(container.create(), "create")
    t.succeed(container.start(), "start")
    t.eventually(lambda: report.read("where") == "inside\n", "the hook to run the container's program")


@requirement(
    "config.md#poststart", "poststart hooks are called by start: after the program was executed, before start returns"
)
def poststart_timing(t: Trial) -> None:
    config = t.config("touch /report/program; sleep 1000")
    report = Report(t, config)
    config["hooks"] = {"poststart": [hook(f"sleep 0.3; cat > {report.path}/state")]}
    container = t.create(config)
    t.check(not (report.path / "state").exists(), "the hook has run before start")
    t.succeed(container.start(), "start")
    t.check((report.path / "state").exists(), "start returned before the hook had exited")
    t.equal(json.loads(report.read("state"))["status"], "running", "status given to the hook")


@requirement("config.md#poststop", "poststop hooks are called by delete: after the deletion, before delete returns")
def poststop_timing(t: Trial) -> None:
    config = t.config("true")
    report = Report(t, config)
    config["hooks"] = {"poststop": [hook(f"sleep 0.3; touch {report.path}/poststop")]}
    container = t.run(config)
    t.check(not (report.path / "poststop").exists(), "the hook has run before delete")
    t.succeed(container.delete(), "delete")
    t.check((report.path / "poststop").exists(), "delete returned before the hook had exited")


@requirement("runtime.md#state", "the pid given to hooks of the runtime namespace is the one seen by the runtime")
def pid_in_runtime_hooks(t: Trial) -> None:
    config = t.sleeper()
    report = Report(t, config)
    kinds = ("prestart", "createRuntime", "poststart")
    config["hooks"] = {kind: [hook(f"cat > {report.path}/{kind}")] for kind in kinds}
    container = t.start(config)
    for kind in kinds:
        t.equal(json.loads(report.read(kind)).get("pid"), container.pid, f"pid given to the {kind} hook")


@requirement("runtime.md#state", "the pid given to hooks of the container namespace is the one seen by the container")
def pid_in_container_hooks(t: Trial) -> None:
    config = t.sleeper()
    report = Report(t, config)
    config["hooks"] = {
        "createContainer": [hook(f"cat > {report.path}/createContainer")],
        "startContainer": [hook("cat > /report/startContainer")],
    }
    t.start(config)
    t.eventually(lambda: report.read("startContainer").endswith("}"), "the startContainer hook to report")
    for kind in config["hooks"]:
        t.equal(json.loads(report.read(kind)).get("pid"), 1, f"pid given to the {kind} hook")


@requirement(HOOKS, "a timeout of zero is refused, or treated as no timeout with a warning", level="MUST")
def timeout_zero(t: Trial) -> None:
    config = t.sleeper()
    config["hooks"] = {"createRuntime": [hook("true", timeout=0)]}
    t.refused_or_named(config, "a hook timeout of 0", "createRuntime[0].timeout")


@requirement(HOOKS, "a negative timeout is refused", level="MUST")
def timeout_negative(t: Trial) -> None:
    config = t.sleeper()
    config["hooks"] = {"createRuntime": [hook("true", timeout=-1)]}
    t.refused(config, "a negative hook timeout")


@requirement(HOOKS, "a hook that does not exist fails like one that returns an error")
def missing_program(t: Trial) -> None:
    config = t.sleeper()
    config["hooks"] = {"createRuntime": [{"path": str(Path("/nonexistent/hook"))}]}
    t.refused(config, "a hook that does not exist")


@requirement(HOOKS, "hooks without args and env run")
def without_arguments(t: Trial) -> None:
    config = t.config("true")
    add_namespace(config, "ipc")
    config["hooks"] = {"createRuntime": [{"path": "/bin/true"}], "poststop": [{"path": "/bin/true"}]}
    live(t, config)


@requirement(HOOKS, "a hook that does not read its stdin is not an error, regardless of the size of the state")
def ignores_stdin(t: Trial) -> None:
    config = t.config("true")
    config["annotations"] = {"com.example.large": "x" * 300_000}
    config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in IN_RUNTIME}
    live(t, config)


@requirement(HOOKS, "a large state is passed completely")
def large_state(t: Trial) -> None:
    config = t.config("true")
    config["annotations"] = {"com.example.large": "x" * 300_000}
    report = Report(t, config)
    config["hooks"] = {"createRuntime": [hook(f"cat > {report.path}/state")]}
    t.create(config)
    t.equal(
        len(json.loads(report.read("state"))["annotations"]["com.example.large"]), 300_000, "length of the annotation"
    )


@requirement(HOOKS, "stdin of a hook ends after the state: a hook that reads to the end of file does not block")
def stdin_ends(t: Trial) -> None:
    config = t.config("true")
    report = Report(t, config)
    scripts = {kind: f"cat > /dev/null; echo end > {report.seen_by(kind)}/{kind}" for kind in KINDS}
    config["hooks"] = {kind: [hook(script)] for kind, script in scripts.items()}
    live(t, config)
    for kind in KINDS:
        t.equal(report.read(kind), "end\n", f"what the {kind} hook wrote")


@requirement(HOOKS, "a hook with much output is not an error")
def talkative(t: Trial) -> None:
    config = t.config("true")
    script = "head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' x >&2"
    config["hooks"] = {kind: [hook(script)] for kind in IN_RUNTIME}
    live(t, config)


@requirement(HOOKS, "a hook that is killed by a signal has failed")
def killed_hook(t: Trial) -> None:
    config = t.sleeper()
    config["hooks"] = {"createRuntime": [hook("kill -9 $$")]}
    t.refused(config, "a createRuntime hook that is killed by a signal")
