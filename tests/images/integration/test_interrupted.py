"""Ctrl-C during ``pull`` and ``push``: the command ends at once, whatever its threads wait for, and keeps downloads.

The registry never answers what it is asked for, so a command that waited for its threads would not end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.commands import BIN
from tests.images.integration import registries as fakes_
from tests.images.integration.registries import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, FakeRegistry, sha256
from tests.pocker.integration.command import Pocker

COUNT = 3   # layers: the number of parallel transfers
LAYERS = [bytes([number]) * 300_000 for number in range(COUNT)]
PROGRAMS = {"pyimage": [BIN / "pyimage"], "pocker": [BIN / "pocker"]}


@pytest.fixture
def fake(fake: FakeRegistry) -> FakeRegistry:
    """A registry with an image of three layers."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {
        "type": "layers", "diff_ids": [sha256(layer) for layer in LAYERS]}}).encode()
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                "config": {"mediaType": OCI_CONFIG, "digest": sha256(config), "size": len(config)},
                "layers": [{"mediaType": OCI_LAYER, "digest": sha256(one), "size": len(one)} for one in LAYERS]}
    fake.blobs |= {sha256(data): data for data in (config, *LAYERS)}
    fake.add_manifest("app", "1", OCI_MANIFEST, json.dumps(manifest).encode())
    return fake


def interrupted(process: subprocess.Popen[str], begun: Callable[[], bool], what: str) -> str:
    """Press Ctrl-C as soon as the command has begun; its messages."""
    try:
        Pocker.eventually(lambda: begun() or process.poll() is not None, what)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=40)   # the timeouts for a silent registry are longer
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    assert said[0] == "" and not any(word in said[1] for word in ("Traceback", "error", "trying")), said
    return said[1]


def start(path: Path, program: str, *words: object, before: Sequence[object] = ()) -> subprocess.Popen[str]:
    """A command with its own directories; ``before``: a program that runs it."""
    environment = {**os.environ, "HOME": str(path), "XDG_RUNTIME_DIR": str(path),
                   "PYRUNTIME_STORE": str(path / "store"), "POCKER_ROOT": str(path / "root"),
                   "POCKER_RUN": str(path / "run")}
    return subprocess.Popen([*map(str, before), *PROGRAMS[program], *map(str, words)], env=environment, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_interrupted_pull_is_resumed(program: str, fake: FakeRegistry, tmp_path: Path) -> None:
    for layer in LAYERS:
        fake.fault("GET", f"blobs/{sha256(layer)}", fakes_.stall(200_000))
    partial = [tmp_path / "store/ingest" / sha256(layer).replace(":", "-") for layer in LAYERS]
    interrupted(start(tmp_path, program, "pull", f"{fake.host}/app:1"),
                lambda: all(one.exists() and one.stat().st_size for one in partial), "three downloads are under way")
    sizes = [one.stat().st_size for one in partial]
    done = start(tmp_path, program, "pull", "-q", "--no-extract", f"{fake.host}/app:1")
    said = done.communicate(timeout=60)
    assert done.returncode == 0, said
    asked = [fake.asked("GET", f"blobs/{sha256(layer)}")[-1].get("Range") for layer in LAYERS]
    assert asked == [f"bytes={size}-" for size in sizes], "the second command requested only the rest"
    assert list((tmp_path / "store/leases").iterdir()) == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_pull_without_a_response_is_interrupted(program: str, fake: FakeRegistry, tmp_path: Path) -> None:
    fake.fault("GET", "blobs/", lambda handler: fakes_.idle(handler)
               if handler.path.rpartition("/")[2] in map(sha256, LAYERS) else handler.serve(), times=99)
    asked = [f"blobs/{sha256(layer)}" for layer in LAYERS]
    interrupted(start(tmp_path, program, "pull", f"{fake.host}/app:1"),
                lambda: all(fake.asked("GET", one) for one in asked), "three layers have been asked for")
    assert list((tmp_path / "store/ingest").iterdir()) == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_interrupt_during_name_resolution(program: str, tmp_path: Path) -> None:
    """The C library's resolver continues after a signal, until its retries of a silent server are exhausted."""
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\noptions timeout:30 attempts:3\n")
    silent = "ip link set lo up; ip route add 192.0.2.1 dev lo; mount --bind $0 /etc/resolv.conf; exec \"$@\""
    process = start(tmp_path, program, "pull", "registry.example/app:1",
                    before=["unshare", "-mn", "sh", "-ec", silent, tmp_path / "resolv.conf"])
    interrupted(process, lambda: "010200C0:0035" in Path(f"/proc/{process.pid}/net/udp").read_text(),
                "the name server has been asked")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("where", ["pull", "pull before the first answer"])
def test_an_interrupt_between_two_attempts(program: str, where: str, fake: FakeRegistry, tmp_path: Path) -> None:
    method, part = ("GET", "blobs/sha256") if where == "pull" else ("HEAD", "manifests")
    fake.fault(method, part, fakes_.status(503, {"Retry-After": "200"}), times=99)
    process = start(tmp_path, program, "pull", f"{fake.host}/app:1")
    assert process.stderr
    first = process.stderr.readline()
    assert "trying again in 200.0 seconds, attempt 2 of 5" in first
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 130


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_interrupted_push(program: str, fake: FakeRegistry, tmp_path: Path,
                                             fakes: Callable[[], FakeRegistry]) -> None:
    pulled = start(tmp_path, program, "pull", "-q", "--no-extract", f"{fake.host}/app:1")
    assert pulled.communicate(timeout=60) and pulled.returncode == 0
    there = fakes()
    last = sha256(LAYERS[-1]).partition(":")[2]
    there.fault("PUT", last, fakes_.idle, times=9)
    interrupted(start(tmp_path, program, "push", f"{fake.host}/app:1", f"{there.host}/app:1"),
                lambda: bool(there.asked("PUT", last)) and sha256(LAYERS[0]) in there.blobs, "a layer is there")
    assert not there.asked("DELETE"), "the upload is not cancelled: the command does not wait"
    there.faults.clear()
    pushed = start(tmp_path, program, "push", "-q", f"{fake.host}/app:1", f"{there.host}/app:1")
    said = pushed.communicate(timeout=60)
    assert pushed.returncode == 0, said
    assert len(there.asked("PUT", sha256(LAYERS[0]).partition(":")[2])) == 1, "the layer was sent once"
