"""runtime.md#state and #query-state: the state of a container, and when there is no state."""

from __future__ import annotations

import os
import re

from conformance.lib.requirement import requirement
from conformance.lib.trial import SLEEP, Trial

STATE = "runtime.md#state"
QUERY = "runtime.md#query-state"
_SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_WORDS = {"ociVersion": str, "id": str, "status": str, "bundle": str}


@requirement(STATE, "ociVersion is a version of the specification in SemVer format")
def oci_version(t: Trial) -> None:
    version = t.create(t.sleeper()).state().get("ociVersion")
    t.check(isinstance(version, str) and _SEMVER.fullmatch(version), f"ociVersion is {version!r}")


@requirement(STATE, "id is the container's id, status and bundle are strings, pid is a number")
def schema(t: Trial) -> None:
    container = t.create(t.sleeper())
    state = container.state()
    t.equal(state.get("id"), container.id, "id")
    for key, kind in _WORDS.items():
        t.check(type(state.get(key)) is kind, f"{key} is {state.get(key)!r}")
    t.check(type(state.get("pid")) is int, f"pid is {state.get('pid')!r}")


@requirement(STATE, 'status is "created" after create, "running" after start, "stopped" after the exit')
def status_over_life(t: Trial) -> None:
    container = t.create(t.sleeper())
    t.equal(container.state()["status"], "created", "status after create")
    t.succeed(container.start(), "start")
    t.equal(container.state()["status"], "running", "status after start")
    t.succeed(container.kill(), "kill")
    container.wait("stopped")


@requirement(STATE, 'after a process has exited by itself the status is "stopped"')
def stopped_by_itself(t: Trial) -> None:
    t.start(t.config("exit 3")).wait("stopped")


@requirement(STATE, 'a container killed before start is "stopped", not "created"')
def stopped_before_start(t: Trial) -> None:
    container = t.create(t.sleeper())
    t.succeed(container.kill(), "kill")
    container.wait("stopped")


@requirement(STATE, "pid is the container process's while created, and the same while running")
def pid_is_the_process(t: Trial) -> None:
    container = t.create(t.sleeper())
    created = container.pid
    t.check(os.path.exists(f"/proc/{created}"), "no process has the pid of the created container")
    t.succeed(container.start(), "start")
    t.equal(container.pid, created, "pid after start")
    t.eventually(
        lambda: container.proc("cmdline").read_bytes().rstrip(b"\0").split(b"\0") == [w.encode() for w in SLEEP],
        "the pid to run the program of process.args",
    )


@requirement(STATE, "bundle is the absolute path of the bundle")
def bundle_is_absolute(t: Trial) -> None:
    container = t.create(t.sleeper())
    t.equal(container.state()["bundle"], str(container.bundle), "bundle")


@requirement(STATE, "bundle is absolute even if create was called with a relative path")
def bundle_given_relative(t: Trial) -> None:
    container = t.container(t.sleeper())
    done = container.create(bundle_argument=container.bundle.name, cwd=container.bundle.parent)
    t.succeed(done, "create with a relative bundle")
    t.equal(container.state()["bundle"], str(container.bundle), "bundle")


@requirement(STATE, "annotations are those of the configuration")
def annotations_kept(t: Trial) -> None:
    config = t.sleeper()
    config["annotations"] = {"com.example.key": "value", "com.example.empty": ""}
    seen = t.create(config).state().get("annotations") or {}
    for key, value in config["annotations"].items():
        t.equal(seen.get(key), value, f"annotation {key}")


@requirement(STATE, "without annotations the property is absent or an empty map")
def no_annotations(t: Trial) -> None:
    state = t.create(t.sleeper()).state()
    t.check(state.get("annotations") in (None, {}), f"annotations are {state.get('annotations')!r}")


@requirement(STATE, "annotations are kept after the exit: the state of a stopped container has them")
def annotations_when_stopped(t: Trial) -> None:
    config = t.config("true")
    config["annotations"] = {"com.example.key": "value"}
    seen = t.run(config).state().get("annotations") or {}
    t.equal(seen.get("com.example.key"), "value", "annotation of the stopped container")


@requirement(QUERY, "state without a container id generates an error")
def query_without_id(t: Trial) -> None:
    t.fail(t.runtime.call("state"), "state without an id")


@requirement(QUERY, "state of a container that does not exist generates an error")
def query_unknown(t: Trial) -> None:
    t.fail(t.runtime.call("state", t.new_id()), "state of an unknown container")


@requirement(QUERY, "state of a deleted container generates an error")
def query_deleted(t: Trial) -> None:
    container = t.run("true")
    t.succeed(container.delete(), "delete")
    t.fail(container.query(), "state of a deleted container")


@requirement("runtime.md#scope-of-a-container", "every operation works on a container from another working directory")
def any_directory(t: Trial) -> None:
    container = t.container(t.sleeper())
    t.succeed(container.create(cwd=t.path), "create")
    for words in (["state"], ["start"], ["kill", "KILL"], ["delete"]):
        if words == ["delete"]:
            container.wait("stopped")
        operation, *rest = words
        t.succeed(container.runtime.call(operation, container.id, *rest, cwd=container.bundle), operation)
