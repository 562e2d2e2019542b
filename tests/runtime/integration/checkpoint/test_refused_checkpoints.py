"""checkpoint, restore: refused commands, with runc's messages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.containers import Bundle, Runtime
from tests.runtime.integration.checkpoint.checkpointed import COUNT, grows, script


def test_only_running_containers_can_be_checkpointed(criu: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    criu.ok("create", "c1", bundle.shell("true"))
    for status in ("created", "stopped"):
        done = criu("checkpoint", "--image-path", tmp_path / "image", "c1")
        assert done.returncode == 1 and f"Container cannot be checkpointed in {status} state" in done.stderr
        if status == "created":
            criu.ok("start", "c1")
            criu.await_status("c1", "stopped")
    assert not (tmp_path / "image").exists()
    done = criu("checkpoint", "nobody")
    assert done.returncode == 1 and "container does not exist" in done.stderr


@pytest.mark.parametrize(("words", "phrase"), [
    (["--parent-path", "/abs"], "--parent-path must be relative"),
    (["--parent-path", "none", "--image-path", "image"], "invalid --parent-path: stat "),
    (["--page-server", "nonsense"], "Use --page-server ADDRESS:PORT to specify page server"),
    (["--page-server", "host:99999"], "Use --page-server ADDRESS:PORT to specify page server"),
    (["--manage-cgroups-mode", "bad"], 'Invalid manage-cgroups-mode value: "bad"'),
    (["--empty-ns", "mount"], 'namespace "mount" is not supported'),
    (["--image-path", "/proc/none"], '--image-path "/proc/none"'),
    (["--work-path", "/proc/none"], '--work-path "/proc/none"'),
    (["--status-fd", "x"], "invalid value"),
])
def test_wrong_options(criu: Runtime, counter: Path, tmp_path: Path, words: list[str], phrase: str) -> None:
    done = criu("checkpoint", *words, "c1", cwd=tmp_path)
    missing = "CRIU is missing features: mem_track" if "none" in words else phrase   # no parent without tracking
    assert done.returncode == 1 and (phrase in done.stderr or missing in done.stderr), done.stderr
    assert criu.state("c1")["status"] == "running"
    grows(counter)


def test_criu_is_missing_or_too_old(runtime: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    old = script(tmp_path / "old/criu", "echo 'Version: 3.17.1'")
    cases = [({"PATH": str(tmp_path)}, [], 'need CRIU 4.0 or later: "criu" is not in PATH; install'),
             ({}, ["--criu", "/nowhere"], 'need CRIU 4.0 or later: "/nowhere" is not a program; install'),
             ({"PATH": f"{old.parent}:{os.environ['PATH']}"}, [],
              f'CRIU version 3.17.1 must be 4.0 or higher: "{old}"; install'),
             ({}, ["--criu", "/bin/true"], '"/bin/true --version" does not print a CRIU version')]
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text("[]")
    for env, words, phrase in cases:
        for command in (["checkpoint", "--image-path", tmp_path / "image", "c1"],
                        ["restore", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c2"]):
            done = runtime(*words, *command, env=env)
            assert done.returncode == 1 and phrase in done.stderr, done.stderr
    assert runtime.state("c1")["status"] == "running"


def test_a_directory_without_a_checkpoint(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """A failed restore leaves nothing behind (checked by the fixture)."""
    def failed(*words: object) -> str:
        done = criu("restore", "-d", "--bundle", own_bundle, *words)
        assert done.returncode == 1, done.stdout
        return done.stderr

    assert "not a checkpoint" in failed("--image-path", tmp_path, "c2")
    image = tmp_path / "image"
    criu.ok("checkpoint", "--leave-running", "--image-path", image, "c1")
    assert "container with given ID already exists" in failed("--image-path", image, "c1")
    grows(counter)
    criu.ok("delete", "--force", "c1")
    core = next(image.glob("core-1.img"))
    whole = core.read_bytes()
    core.write_bytes(whole[:20])
    said = failed("--image-path", image, "c1")
    assert "criu failed: type RESTORE errno" in said and f"log file: {image}/restore.log" in said
    core.write_bytes(whole)
    (image / "descriptors.json").write_text('{"no": "list"}')
    assert "is not a list of names" in failed("--image-path", image, "c1")
    (image / "descriptors.json").write_text("[")
    assert "descriptors.json: " in failed("--image-path", image, "c1")


def test_a_mount_that_the_bundle_lacks(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    own_bundle.add_mount("/data", "bind", str(tmp_path), "bind")
    criu.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    own_bundle.config["mounts"].pop()
    done = criu("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle.save(), "c1")
    assert done.returncode == 1 and "criu failed: type RESTORE errno 0: No mapping for" in done.stderr


def test_a_hook_that_fails(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    own_bundle.save(hooks={"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo no; exit 3"]}]})
    done = criu("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert done.returncode == 1 and "error running createRuntime hook #0" in done.stderr and "output: no" in done.stderr
    own_bundle.save(hooks={})
    done = criu("restore", "-d", "--image-path", tmp_path / "image", "--pid-file", "/nowhere/pid", "--bundle",
                own_bundle, "c1")
    assert done.returncode == 1 and '--pid-file "/nowhere/pid"' in done.stderr


def test_terminals_without_a_receiver(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    words = ["restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1"]
    own_bundle.save(process__terminal=True)
    assert "cannot allocate tty if pyruntime will detach without setting console socket" in criu(*words).stderr
    own_bundle.save(process__terminal=False)
    assert "cannot use console socket if pyruntime will not detach or allocate tty" in criu(
        *words[:1], "--console-socket", tmp_path / "none", *words[1:]).stderr
    done = criu(*words[:1], "--lsm-mount-context", "system_u:object_r:x", "--lsm-profile", "nothing", *words[1:])
    assert done.returncode == 1 and '--lsm-profile "nothing": write apparmor:NAME' in done.stderr


def test_without_root(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    done = criu("--rootless", "true", "checkpoint", "--image-path", tmp_path / "image", "c1")
    assert done.returncode == 1 and "cannot checkpoint a rootless container" in done.stderr
    done = criu("--rootless", "true", "restore", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c2")
    assert done.returncode == 1 and "cannot restore a rootless container" in done.stderr
