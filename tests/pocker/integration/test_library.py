"""``from pyruntime import Engine``: pocker as a typed library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyruntime import Engine
from pyruntime.errors import ContainerExists, NoSuchContainer, NoSuchImage, PyruntimeError, StateError, UsageError
from pyruntime.pocker.settings import (
    ContainerSettings,
    LogSettings,
    MountPoint,
    NetworkAttachment,
    Resources,
    RestartPolicy,
)
from tests.pocker.integration.command import Pocker

NONE = [NetworkAttachment(name="none")]


@pytest.fixture
def engine(pocker: Pocker, capfd: pytest.CaptureFixture[str]) -> Iterator[Engine]:
    """An engine of the command's directories, which prints nothing."""
    yield Engine(str(pocker.root), str(pocker.run), pocker.environment["PYRUNTIME_STORE"])
    assert capfd.readouterr() == ("", "")


def shell(line: str, **values: object) -> ContainerSettings:
    return ContainerSettings(networks=NONE, args=["sh", "-c", line]).replace(**values)


def test_a_whole_life(engine: Engine, pocker: Pocker, tmp_path: Path) -> None:
    settings = shell("echo begun; echo wrong >&2; exec sleep 1000", labels={"a": "b"}, stop_signal="KILL",
                     resources=Resources(memory=64 << 20, pids_limit=50))
    web = engine.create("busybox", settings, name="web")
    assert engine.list() == [] and [found.state for found in engine.list(all=True)] == ["created"]
    with pytest.raises(ContainerExists):
        engine.create("busybox", settings, name="web")
    assert engine.start("web") and not engine.start(web[:12])
    (found,) = engine.list()
    assert (found.id, found.name, found.state, found.labels) == (web, "web", "running", {"a": "b"})
    assert found.pid in engine.top("web")
    done = engine.exec("web", ["sh", "-c", "cat; echo $A $(pwd) >&2; exit 3"], env=["A=1"], workdir="/etc", input=b"in")
    assert (done.status, done.stdout, done.stderr) == (3, b"in", b"1 /etc\n")
    assert engine.exec("web", ["id", "-u"], user="1000").stdout == b"1000\n"
    document = engine.inspect("web")
    assert document["HostConfig"]["Memory"] == 64 << 20 and document["State"]["Running"]
    engine.update("web", Resources(memory=96 << 20), RestartPolicy(name="on-failure", limit=2))
    changed = engine.settings("web")
    assert changed.resources == Resources(memory=96 << 20, pids_limit=50) and changed.restart.limit == 2
    usage = engine.stats("web")
    assert usage is not None and usage.limit == 96 << 20 and usage.pids >= 1
    engine.pause("web")
    with pytest.raises(StateError, match="paused"):
        engine.exec("web", ["true"])
    engine.unpause("web")
    with pytest.raises(StateError, match="not paused"):
        engine.unpause("web")
    (tmp_path / "file").write_text("from the host")
    assert engine.copy_in("web", str(tmp_path / "file"), "/etc/file") == 13
    assert engine.diff("web") == [("C", "/etc"), ("A", "/etc/file")]
    engine.rename("web", "old")
    assert engine.stop("old") and not engine.stop("old")
    assert engine.wait("old") == 137 and engine.stats("old") is None
    assert {(entry.stream, entry.text) for entry in engine.logs("old")} == {("stdout", b"begun\n"),
                                                                           ("stderr", b"wrong\n")}
    engine.restart("old")
    engine.kill("old")
    assert [event["Action"] for event in engine.events(since=0, follow=False) if event["Action"] in (
        "create", "start", "pause", "unpause", "rename", "stop", "restart")] == [
            "create", "start", "pause", "unpause", "rename", "stop", "start", "restart"]
    with pytest.raises(StateError, match="not running"):
        engine.kill("old")
    assert engine.remove("old") == "old"
    with pytest.raises(NoSuchContainer):
        engine.inspect("old")


def test_files_of_a_stopped_container(engine: Engine, pocker: Pocker, tmp_path: Path) -> None:
    """The files are mounted in another mount namespace, and the caller stays in its own."""
    before = os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/thread-self/ns/mnt")
    job = engine.run("busybox", shell("echo text > /made; exit 4"))
    assert engine.wait(job) == 4
    assert engine.copy_out(job, "/made", str(tmp_path / "made")) == 5
    assert (tmp_path / "made").read_text() == "text\n"
    archive = bytearray()
    engine.export(job, archive.extend)
    assert b"made" in archive
    image = engine.commit(job, changes=["CMD cat /made"])
    again = engine.run(image, ContainerSettings(networks=NONE))
    assert engine.wait(again) == 0 and [entry.text for entry in engine.logs(again)] == [b"text\n"]
    assert (os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/thread-self/ns/mnt")) == before
    assert set(engine.prune()) == {job, again} and engine.list(all=True) == []
    pocker.ok("rmi", image)


def test_volumes_and_networks(engine: Engine) -> None:
    volume = engine.create_volume("data", labels={"a": "b"})
    assert [found.name for found in engine.volumes()] == ["data"] and volume.labels == {"a": "b"}
    settings = shell("echo kept > /data/file", remove=True,
                     mounts=[MountPoint(kind="volume", source="data", target="/data")])
    engine.wait(engine.run("busybox", settings))
    keeper = engine.run("busybox", shell("cat /data/file", mounts=settings.mounts))
    assert engine.wait(keeper) == 0 and [entry.text for entry in engine.logs(keeper)] == [b"kept\n"]
    with pytest.raises(StateError, match="is in use by"):
        engine.remove_volume("data")
    engine.remove(keeper)
    engine.remove_volume("data")
    network = engine.create_network("back", internal=True)
    assert network.internal and "back" in [found.name for found in engine.networks()]
    engine.remove_network("back")
    with pytest.raises(UsageError, match="not a valid name"):
        engine.create_volume("/etc")


def test_errors_are_typed_and_leave_nothing(engine: Engine) -> None:
    with pytest.raises(NoSuchImage):
        engine.run("nothing")
    with pytest.raises(PyruntimeError) as caught:
        engine.run("busybox", ContainerSettings(networks=NONE, args=["/nothing"], remove=True))
    assert "/nothing" in str(caught.value) and engine.list(all=True) == []
    silent = engine.run("busybox", shell("true", logging=LogSettings(driver="none")))
    with pytest.raises(StateError, match="keeps no log"):
        engine.logs(silent)
    engine.wait(silent)
    engine.remove(silent)


def zombies() -> set[str]:
    """The children of this process that have ended and were not waited for."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {pid for pid in children if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"}


def test_calls_from_several_threads(engine: Engine) -> None:
    """Each thread gets its own output, and no monitor is left as a zombie."""
    def whole(number: int) -> tuple[bytes, int]:
        name = f"life{number}"
        engine.run("busybox", shell("exec sleep 1000"), name=name)
        done = engine.exec(name, ["sh", "-c", f"cat; exit {number}"], input=b"%d" % number * 100_000)
        engine.stop(name, signal="KILL")
        engine.remove(name)
        return done.stdout, done.status

    before = zombies()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(whole, range(8))) == [(b"%d" % number * 100_000, number) for number in range(8)]
    assert engine.list(all=True) == []
    assert zombies() <= before
