"""The environment of every program in a container: one entry for each name, the last."""

from __future__ import annotations

import json
from pathlib import Path

from tests.containers import Bundle, Runtime

# Read from the kernel: printenv and shells print only one entry of a name. The shell opens its own file and stays
# alive.
ENTRIES = "exec 3</proc/self/environ; tr '\\0' '\\n' <&3; true"


def of(shown: str, name: str) -> list[str]:
    return [line for line in shown.splitlines() if line.startswith(f"{name}=")]


def test_the_last_entry_of_the_configuration_takes_effect(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell(ENTRIES, process__env=["A=1", "PATH=/nowhere", "B=x", "A=", "PATH=/bin:/usr/bin", "A=2"])
    shown = runtime.ok("run", "--bundle", bundle, "c1").splitlines()
    assert [line for line in shown if line[0] in "ABP"] == ["A=2", "PATH=/bin:/usr/bin", "B=x"]


def test_exec_overrides(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(process__args=["sleep", "1000"], process__env=["PATH=/bin:/usr/bin", "FOO=conf", "HOME=/conf"])
    runtime.ok("run", "--detach", "--bundle", bundle, "c1")
    shown = runtime.ok("exec", "-e", "FOO=one", "-e", "FOO=exec", "-e", "HOME=/exec", "-e", "NEW=1", "c1",
                       "sh", "-c", ENTRIES)
    assert (of(shown, "FOO"), of(shown, "HOME"), of(shown, "NEW")) == (["FOO=exec"], ["HOME=/exec"], ["NEW=1"])
    (tmp_path / "process.json").write_text(json.dumps({
        "args": ["sh", "-c", ENTRIES], "cwd": "/", "env": ["PATH=/bin:/usr/bin", "FOO=a", "FOO=b"],
        "user": {"uid": 0, "gid": 0}}))
    assert of(runtime.ok("exec", "--process", tmp_path / "process.json", "c1"), "FOO") == ["FOO=b"]


def test_hooks(runtime: Runtime, own_bundle: Bundle) -> None:
    """Hooks on the host and in the container; a hook without an environment has the program's, without duplicates."""
    rootfs = Path(own_bundle.config["root"]["path"])
    hooks = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"({ENTRIES}) >{place}/{kind}"], "env": env}]
             for kind, place, env in (("createRuntime", rootfs, ["PATH=/bin:/usr/bin", "A=1", "A=2"]),
                                      ("createContainer", rootfs, ["PATH=/bin:/usr/bin", "A=1", "A=2"]),
                                      ("startContainer", "", ["PATH=/bin:/usr/bin", "A=1", "A=2"]))}
    hooks["startContainer"].append({"path": "/bin/sh", "args": ["sh", "-c", f"({ENTRIES}) >/inherited"]})
    own_bundle.config["hooks"] = hooks
    own_bundle.save(process__args=["true"], process__env=["PATH=/bin:/usr/bin", "A=1", "A=2"])
    runtime.ok("run", "--bundle", own_bundle, "c1")
    for name in (*hooks, "inherited"):
        assert of((rootfs / name).read_text(), "A") == ["A=2"], name
