"""Checkpoints that cannot be made, and directories that are not restored."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pyruntime import HostMount, Limits, Sandbox, errors
from pyruntime.runtime.lifecycle.restore import Revival
from pyruntime.sandbox import restore
from pyruntime.sandbox.api import PIPE
from pyruntime.sandbox.checkpoint_record import SandboxRecord
from pyruntime.sandbox.container import SandboxContainer
from pyruntime.sandbox.settings import NOBODY
from tests.containers import PATIENCE
from tests.sandbox.checkpoints import WHO, ask, interpreter, saved, start
from tests.sandbox.integration.test_rootless import home, user

__all__ = ["home", "saved"]   # fixtures


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="the host has no /dev/fuse")
def test_what_criu_cannot_save(saved: Path) -> None:
    """An open device; afterwards the program goes on. The device and an own filter are there after a restore."""
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}
    with Sandbox.host(checkpointable=True, user=WHO, devices=["/dev/fuse"], seccomp=seccomp) as box:
        process = interpreter(box, "import os; fuse = os.open('/dev/fuse', os.O_RDWR)")
        with pytest.raises(errors.CriuError, match="Can't dump file"):
            box.checkpoint(saved)
        assert os.listdir(saved.parent) == [] and ask(process, "os.close(fuse); print('closed')") == "closed"
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        assert ask(box.processes[0], "print(os.open('/dev/fuse', os.O_RDWR) > 2)") == "True"
        assert "state" in ask(box.processes[0], "exec('try: os.mkdir(\"/tmp/x\")\\nexcept OSError as e: print(e)')")


def test_what_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Sandbox.host() as box, pytest.raises(errors.StateError, match="checkpointable=True"):
        box.checkpoint(saved)
    for options in ({"network": "default"}, {"interpreter": "python3"}):
        with pytest.raises(errors.UsageError, match="leave out"):
            Sandbox.host(checkpointable=True, user=WHO, **options)  # type: ignore[arg-type]
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        with pytest.raises(errors.UsageError, match="no terminals"):
            box.popen(["true"], terminal=True)
        with (tmp_path / "file").open("w") as file, pytest.raises(errors.UsageError, match="give PIPE"):
            box.popen(["true"], stdout=file)
        with pytest.raises(errors.StepError, match="executable file not found"):
            box.run(["no-such-program"])
        process = interpreter(box, "x = 1")
        saved.mkdir()
        with pytest.raises(errors.UsageError, match="exists: remove it"):
            box.checkpoint(saved)
        saved.rmdir()
        for directory, words in ((tmp_path / "missing", "No such file"), (tmp_path / "file", "Not a directory")):
            with pytest.raises(errors.UsageError, match=f'"{directory}": {words}.*make it'):
                box.checkpoint(directory / "saved")
        for program, kind, words in ((None, errors.HostError, "install the package criu"),
                                     ("case $1 in --version) echo Version: 4.1;; esac", errors.CriuError,
                                      "criu failed: type DUMP")):
            place = tmp_path / f"bin-{program is None}"
            place.mkdir()
            if program:
                (place / "criu").write_text(f"#!/bin/sh\n{program}\n")
                (place / "criu").chmod(0o755)
            monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
            with pytest.raises(kind, match=words):
                box.checkpoint(saved)
            assert os.listdir(saved.parent) == []
            assert ask(process, "print(x)") == "1"


def test_what_is_not_a_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.UsageError, match="not a checkpoint of a sandbox"):
        Sandbox.restore(saved)
    saved.mkdir(0o700)
    with pytest.raises(errors.UsageError, match="not a checkpoint of a sandbox"):
        Sandbox.restore(saved)
    saved.rmdir()
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        interpreter(box, "x = 1")
        box.checkpoint(saved)
    record = (saved / "sandbox.json").read_bytes()
    for damage, words in ((record[:-20], "is damaged"), (b"{}", "is missing"), (b'{"version":9}', "has format 9"),
                          (record.replace(b'"checkpointable":true', b'"checkpointable":false'), "is damaged"),
                          (record.replace(b'"data":"', b'"data":"?'), "is damaged"),
                          (record.replace(b'"image":[]', b'"image":["/one"]'), "expected a store and an ID"),
                          (record.replace(b'"seconds":null', b'"seconds":"5"'), "seconds '5'"),
                          (record.replace(b'"writable":', b'"writeable":'), "options: expected checkpointable"),
                          (record.replace(b'"disk"', b'"risk"').replace(b'"limits":null', b'"limits":{"risk":1}'),
                           "is damaged")):
        (saved / "sandbox.json").write_bytes(damage)
        with pytest.raises(errors.RecordError, match=words):
            Sandbox.restore(saved)
    (saved / "sandbox.json").write_bytes(record.replace(b'"number":', b'"number":7'))
    with pytest.raises(errors.StateError, match="has not been restored"):
        Sandbox.restore(saved)
    (saved / "sandbox.json").write_bytes(record)
    for mode in (0o770, 0o701, 0o755):
        saved.chmod(mode)
        with pytest.raises(errors.UsageError, match=r"others may read or change it.*chmod 700"):
            Sandbox.restore(saved)
    saved.chmod(0o700)
    for path in (saved, saved / "image", saved / "image/pstree.img", saved / "sandbox.json"):
        os.chown(path, NOBODY, NOBODY)
        with pytest.raises(errors.UsageError, match=f'"{path}" belongs to user {NOBODY}'):
            Sandbox.restore(saved)
        os.chown(path, 0, 0)
    for path in (saved / "image/pstree.img", saved / "sandbox.json"):
        path.rename(saved / "elsewhere")
        path.symlink_to("../elsewhere" if path.parent != saved else "elsewhere")
        with pytest.raises(errors.UsageError, match=f'"{path}" is not a regular file'):
            Sandbox.restore(saved)
        (saved / "elsewhere").rename(path)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/usr/bin:/bin")
        with pytest.raises(errors.HostError, match="install the package criu"):
            Sandbox.restore(saved)
    pages = next((saved / "image").glob("pstree.img"))
    pages.rename(saved / "pstree")
    with pytest.raises(errors.CriuError, match="criu failed: type RESTORE"):
        Sandbox.restore(saved)
    (saved / "pstree").rename(pages)
    with Sandbox.restore(saved) as box:
        assert ask(box.processes[0], "print(x)") == "1"


@pytest.mark.parametrize(("owner", "name"), [
    (SandboxRecord, "parse"), (restore, "copied"), (Revival, "bring_back"), (Revival, "_open_image")])
def test_a_checkpoint_that_is_exchanged_meanwhile(saved: Path, monkeypatch: pytest.MonkeyPatch, owner: object,
                                                  name: str) -> None:
    """By a user who may rename directories above it: what has been checked is what is restored."""
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        process = interpreter(box, "x = 1")
        box.write("/work/file", "checked")
        box.checkpoint(saved, leave_running=True)
        assert ask(process, "x = 2; print(x)") == "2"
        box.write("/work/file", "another")
        box.checkpoint(saved.parent / "again")
    real = getattr(owner, name)

    def exchanged(*args: Any) -> Any:
        saved.rename(saved.parent / "away")
        (saved.parent / "again").rename(saved)
        return real(*args)

    monkeypatch.setattr(owner, name, exchanged)
    with Sandbox.restore(saved) as box:
        assert box.read("/work/file") == b"checked" and ask(box.processes[0], "print(x)") == "1"
    saved.rename(saved.parent / "again")
    (saved.parent / "away").rename(saved)


def test_a_root_filesystem_that_is_gone(saved: Path, rootfs: Path, tmp_path: Path) -> None:
    shutil.copytree(rootfs, tmp_path / "rootfs", symlinks=True)
    with Sandbox(tmp_path / "rootfs", checkpointable=True, user=WHO) as box:
        start(box, ["sleep", "1000"])
        box.checkpoint(saved)
    (tmp_path / "rootfs").rename(tmp_path / "away")
    with pytest.raises(errors.UsageError, match="is not there: put it back"):
        Sandbox.restore(saved)
    (tmp_path / "away").rename(tmp_path / "rootfs")
    with Sandbox.restore(saved) as box:
        assert box.processes[0].returncode is None


def test_limits_without_room_for_criu(saved: Path) -> None:
    with Sandbox.host(checkpointable=True, user=WHO, limits=Limits(pids=3)) as box:
        start(box, ["sleep", "1000"])
        box.checkpoint(saved)
    with pytest.raises(errors.CriuError, match="room for 4 processes"):
        Sandbox.restore(saved)


def test_without_root(home: Path) -> None:
    found = user(home, """
try:
    Sandbox.host(checkpointable=True)
except errors.HostError as error:
    found["error"] = str(error)
""")
    assert found["error"] == ("checkpointable sandboxes need root: CRIU saves processes with the rights of the host's"
                              " root")


def test_a_stopped_process(saved: Path) -> None:
    """CRIU would wait for it for ever if it is frozen by cgroup v1."""
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        process = start(box, ["sh", "-c", "sleep 1000 & kill -STOP $!; echo $!; read line; echo $line"], stdin=PIPE,
                        text=True)
        assert process.stdin and process.stdout
        stopped = process.stdout.readline().strip()
        while "State:\tT" not in str(box.run(["cat", f"/proc/{stopped}/status"], text=True).stdout):
            time.sleep(0.02)
        if any("freezer" in key.split(",") for key in box._container.entrance._cgroup):
            with pytest.raises(errors.StateError, match="has been stopped by a signal"):
                box.checkpoint(saved)
            assert os.listdir(saved.parent) == [] and process.returncode is None
            box.run(["kill", "-CONT", stopped], check=True)
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        assert box.processes[0].communicate("line\n", timeout=PATIENCE) == ("line\n", "")


def test_programs_that_are_killed_meanwhile(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their deadline, or by another thread: they end when they have been saved."""
    dump = SandboxContainer.dump

    def slow(*args: Any) -> None:
        killer.start()
        while time.monotonic() < deadline + 0.5:
            time.sleep(0.01)
        dump(*args)

    monkeypatch.setattr(SandboxContainer, "dump", slow)
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        killed, other = start(box, ["sleep", "1000"]), start(box, ["sleep", "2000"])
        killer = threading.Thread(target=killed.kill)
        deadline = time.monotonic() + 1
        late = start(box, ["sleep", "3000"], timeout=1)
        box.checkpoint(saved, leave_running=True)
        killer.join()
        assert killed.wait(PATIENCE) == -9 and killed.done.reason == "signal"
        assert late.wait(PATIENCE) == -9 and late.done.timed_out and other.returncode is None
    with Sandbox.restore(saved) as box:
        killed, other, late = box.processes
        assert late.wait(PATIENCE) == -9 and late.done.timed_out
        assert killed.returncode is None and other.returncode is None


@pytest.mark.parametrize("how", ["open", "mapped", "executed"])
def test_files_of_writable_mounts(saved: Path, tmp_path: Path, how: str) -> None:
    """CRIU would open them again by their names, which may be links then."""
    place = tmp_path / "has a blank"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    (place / "file").write_bytes(bytes(4096))
    shutil.copy2("/bin/sleep", place / "sleep")
    script = {
        "open": "file = open('file')",
        "mapped": "file = mmap.mmap(os.open('file', os.O_RDONLY), 4096, prot=mmap.PROT_READ); os.closerange(3, 99)",
        "executed": "os.execv('./sleep', ['sleep', '1000'])"}[how]
    code = ("import mmap, os\nprint('begins', flush=True)\n"
            f"{script}\nprint('open', flush=True)\ninput()\ndel file\ninput()")
    below, mount = "/work/a b", HostMount(str(place), "/work/a b/in", writable=True)
    with Sandbox.host(checkpointable=True, user=WHO, mounts=[mount]) as box:
        process = start(box, ["python3", "-c", code], cwd=f"{below}/in", stdin=PIPE, text=True)
        assert process.stdin and process.stdout and process.stdout.readline() == "begins\n"
        if how == "executed":
            while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
                time.sleep(0.01)
        else:
            assert process.stdout.readline() == "open\n"
        box.run(["mv", below, "/work/renamed"], check=True)
        with pytest.raises(errors.StateError, match=r'has "/work/renamed/in/.* in a writable mount of the host'):
            box.checkpoint(saved)
        assert process.returncode is None and os.listdir(saved.parent) == []
        if how != "executed":   # the working directory may be there
            box.run(["mv", "/work/renamed", below], check=True)
            process.stdin.write("\n")
            while any("a b" in os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(
                    f"/proc/{process.pid}/fd")) or "in/file" in Path(f"/proc/{process.pid}/maps").read_text():
                time.sleep(0.01)
            box.checkpoint(saved)
    if how != "executed":
        with Sandbox.restore(saved) as box:
            assert box.processes[0].communicate("\n", timeout=PATIENCE)[0] == "" and box.processes[0].returncode == 0


def test_two_last_checkpoints(saved: Path) -> None:
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        process = start(box, ["sleep", "1000"])
        failures: list[Exception] = []

        def save(path: Path) -> None:
            try:
                box.checkpoint(path)
            except errors.StateError as error:
                failures.append(error)

        threads = [threading.Thread(target=save, args=(saved.parent / name,)) for name in ("saved", "again")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failures) == 1 and len(os.listdir(saved.parent)) == 1
        assert process.wait(PATIENCE) == -9 and process.done.reason == "cancelled"


def test_a_sandbox_whose_init_has_been_killed() -> None:
    with Sandbox.host() as box:
        os.kill(box._container.entrance.pid, signal.SIGKILL)
        while box.alive:
            time.sleep(0.01)
        with pytest.raises(errors.StateError, match="the sandbox has ended: its init has been killed"):
            box.run(["true"])
