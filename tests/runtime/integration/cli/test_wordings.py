"""The phrases of runc that callers match, which pyruntime's longer messages contain. No error leaves anything
behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Bundle, Runtime

Change = Callable[[dict[str, Any]], Any]


def without(*kinds: str) -> Change:
    """The configuration without namespaces of these kinds."""
    def change(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] = [entry for entry in config["linux"]["namespaces"] if entry["type"] not in kinds]
    return change


def put(path: str, value: Any) -> Change:
    """The configuration with a value at a dotted path; None removes the value."""
    def change(config: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            config = config.setdefault(parent, {})
        if value is None:
            config.pop(last, None)
        else:
            config[last] = value
    return change


def both(*changes: Change) -> Change:
    """All of them."""
    def change(config: dict[str, Any]) -> None:
        for one in changes:
            one(config)
    return change


def namespace(**entry: Any) -> Change:
    """The configuration with another namespace."""
    return lambda config: config["linux"]["namespaces"].append(entry)


CREATE: list[tuple[str, Change, str]] = [
    ("cwd", put("process.cwd", ""), "Cwd property must not be empty"),
    ("relative cwd", put("process.cwd", "rel"), "Cwd must be an absolute path"),
    ("args", put("process.args", []), "args must not be empty"),
    ("no args", put("process.args", None), "args must not be empty"),
    ("root", put("root", None), "root must be specified"),
    ("rootfs", put("root.path", "/nonexistent"), "invalid rootfs: "),
    ("rlimit", put("process.rlimits", [{"type": "RLIMIT_BAD", "soft": 1, "hard": 1}]),
     "wrong rlimit value: RLIMIT_BAD"),
    ("namespace", namespace(type="bad"), 'namespace {"bad" ""} does not exist'),
    ("twice", namespace(type="pid"), 'malformed spec file: duplicated ns {"pid" ""}'),
    ("sys without mount", without("mount"), "unable to restrict sys entries without a private MNT namespace"),
    ("hostname", both(without("uts"), put("hostname", "x")),
     "unable to set hostname without a private UTS namespace"),
    ("no mappings", namespace(type="user"), "user namespaces enabled, but no uid mappings found"),
    ("sysctl", put("linux.sysctl", {"kernel.bad": "1"}), 'sysctl "kernel.bad" is not in a separate kernel namespace'),
    ("propagation", put("linux.rootfsPropagation", "bad"), "rootfsPropagation=bad is not supported"),
    ("action", put("linux.seccomp", {"defaultAction": "BAD"}), "string BAD is not a valid action for seccomp"),
    ("device", put("linux.devices", [{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]),
     'invalid device type "z"'),
    ("time", put("linux.timeOffsets", {"monotonic": {"secs": 5}}),
     "time namespace offsets specified, but time namespace isn't enabled in the config"),
    ("memory", put("linux.resources.memory", {"limit": 1024}), "unable to set memory limit to 1024"),
    ("chdir", put("process.cwd", "/etc/passwd"),
     'chdir to cwd ("/etc/passwd") set in config.json failed: not a directory'),
    ("command", put("process.args", ["nosuchcmd"]), 'exec: "nosuchcmd": executable file not found in $PATH'),
    ("path", put("process.args", ["/nosuch"]), 'exec: "/nosuch": stat /nosuch: no such file or directory'),
    ("not executable", put("process.args", ["/etc/passwd"]), 'exec: "/etc/passwd": permission denied'),
    ("hook", put("hooks", {"prestart": [{"path": "/bin/sleep", "args": ["sleep", "9"], "timeout": 1}]}),
     "error running prestart hook #0: hook ran past specified timeout of 1.0s"),
    ("label", put("process.selinuxLabel", "x"),
     "selinux label is specified in config, but selinux is disabled or not supported"),
]


@pytest.mark.parametrize(("change", "phrase"), [case[1:] for case in CREATE], ids=[case[0] for case in CREATE])
def test_create(runtime: Runtime, bundle: Bundle, change: Change, phrase: str) -> None:
    if "selinux" in phrase and Path("/sys/fs/selinux/status").exists():
        pytest.skip("the kernel has SELinux")
    bundle.shell("true")
    change(bundle.config)
    done = runtime("run", "c1", bundle.save())
    assert done.returncode == 1 and phrase in done.stderr, done.stderr
    assert "config.json" in done.stderr
    assert not (runtime.root / "c1").exists()


@pytest.mark.parametrize(("text", "phrase"), [(None, "JSON specification file config.json not found"),
                                              ("null", "config cannot be null"), ("{", "line 1")])
def test_documents(runtime: Runtime, bundle: Bundle, text: str | None, phrase: str) -> None:
    if text is not None:
        (bundle.path / "config.json").write_text(text)
    done = runtime("create", "c1", bundle)
    assert done.returncode == 1 and phrase in done.stderr


def test_commands_in_the_wrong_state(runtime: Runtime, bundle: Bundle) -> None:
    """Every command in every state: performed, or refused with runc's message."""
    phrases = {
        ("created", "start"): "", ("running", "start"): "cannot start an already running container",
        ("paused", "start"): "cannot start a container in the paused state",
        ("stopped", "start"): "cannot start a container that has stopped",
        ("created", "pause"): "", ("running", "pause"): "", ("paused", "pause"): "container not running",
        ("stopped", "pause"): "container not running",
        ("created", "resume"): "container not paused", ("running", "resume"): "container not paused",
        ("paused", "resume"): "", ("stopped", "resume"): "container not paused",
        ("created", "kill"): "", ("running", "kill"): "", ("paused", "kill"): "",
        ("stopped", "kill"): "container not running",
        ("created", "exec"): "", ("running", "exec"): "",
        ("paused", "exec"): "cannot exec in a paused container (use --ignore-paused to override)",
        ("stopped", "exec"): "cannot exec in a stopped container",
        ("created", "delete"): "cannot delete container c1 that is not stopped: created",
        ("running", "delete"): "cannot delete container c1 that is not stopped: running",
        ("paused", "delete"): "cannot delete container c1 that is not stopped: paused", ("stopped", "delete"): "",
        ("created", "update"): "", ("running", "update"): "", ("paused", "update"): "",
        ("stopped", "update"): "container not running",
        ("created", "events"): "", ("running", "events"): "", ("paused", "events"): "",
        ("stopped", "events"): "is not running",
        **{(status, "ps"): "" for status in ("created", "running", "paused", "stopped")},
        **{(status, "create"): "container with given ID already exists"
           for status in ("created", "running", "paused", "stopped")},
    }
    words = {"kill": ["kill", "c1", "0"], "exec": ["exec", "c1", "true"], "events": ["events", "--stats", "c1"],
             "update": ["update", "--pids-limit", "50", "c1"], "create": ["create", "c1", str(bundle)],
             "ps": ["ps", "-f", "json", "c1"]}
    bundle.shell("sleep 1000")
    for (status, command), phrase in phrases.items():
        runtime.ok("create", "c1", bundle)
        if status != "created":
            runtime.ok("start", "c1")
        if status == "paused":
            runtime.ok("pause", "c1")
        if status == "stopped":
            os.kill(runtime.state("c1")["pid"], 9)
            runtime.await_status("c1", "stopped")
        done = runtime(*words.get(command, [command, "c1"]))
        expected = 0 if not phrase else 255 if command == "exec" else 1
        assert (done.returncode, phrase in done.stderr) == (expected, True), (status, command, done.stderr)
        runtime.ok("delete", "--force", "c1")
