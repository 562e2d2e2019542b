"""The present files of a sandbox: diff, commit and fork."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from pyruntime import ImageStore, Limits, Sandbox, Template
from pyruntime.errors import HostError, StateError

CHANGE = ["sh", "-c", "echo changed >/etc/passwd; rm /bin/ls; mkdir -p /new/dir; echo x >/new/dir/file; ln -s file"
          " /new/dir/link; rm -r /home; mkdir /home; echo w >/work/mine; echo t >/tmp/temporary; chmod 640 /work/mine"]


def test_what_has_changed(rootfs: Path) -> None:
    with Sandbox(rootfs, user=0, writable=True) as box:
        assert box.diff() == []
        box.run(CHANGE, check=True)
        found = dict((path, kind) for kind, path in box.diff())
        assert found["/etc/passwd"] == "C" and found["/bin/ls"] == "D" and found["/new/dir/file"] == "A"
        assert found["/work/mine"] == "A"
        assert not any(path.startswith("/tmp") or path == "/bin/sh" for path in found)
        assert box.run(["true"]).returncode == 0


def test_an_image_of_the_present_files(images: ImageStore) -> None:
    with Sandbox("box", store=images, user=0, writable=True) as box:
        box.run(CHANGE, check=True)
        image_id = box.commit("changed", config={"Env": ["MORE=1"]})
    found = images.find("changed")
    assert found.id == image_id
    with Sandbox("changed", store=images, cwd="/") as box:
        done = box.run(["sh", "-c", "cat /etc/passwd /new/dir/link; echo $OF $MORE; ls /bin/ls"], text=True)
        assert done.stdout == "changed\nx\nthe image 1\n" and "No such file" in str(done.stderr)


def test_an_image_of_a_directory(rootfs: Path, images: ImageStore) -> None:
    with Sandbox(rootfs, user=0, writable=True) as box:
        box.run(CHANGE, check=True)
        box.commit("of-a-directory", store=images)
    with Sandbox("of-a-directory", store=images) as box:
        assert box.run(["cat", "/etc/passwd", "/new/dir/file"]).stdout == b"changed\nx\n"
        assert box.run(["sh", "-c", "ls -a / | grep work"], check=True).stdout == b"work\n"


def test_a_copy(rootfs: Path) -> None:
    with Sandbox(rootfs, user=0, writable=True, env={"A": "1"}) as box:
        box.run(CHANGE, check=True)
        process = box.popen(["sleep", "300"])
        with box.fork() as other:
            script = ("cat /etc/passwd /new/dir/link /work/mine /tmp/temporary; echo $A; stat -c %a /work/mine;"
                      " ls /bin/ls")
            done = other.run(["sh", "-c", script], text=True)
            assert done.stdout == "changed\nx\nw\nt\n1\n640\n" and "No such file" in str(done.stderr)
            assert "sleep 300" not in str(other.run(["ps"], text=True).stdout)
            other.write("/work/mine", "other")
            box.write("/work/mine", "first")
            with other.fork(limits=Limits(pids=9)) as third:
                assert third.read("/work/mine") == b"other" and third.limits.pids == 9
            assert other.diff() == box.diff()
        assert box.read("/work/mine") == b"first" and process.poll() is None
        process.close()


def test_a_copy_outlives_the_first(rootfs: Path) -> None:
    box = Sandbox(rootfs)
    box.write("/work/file", "content")
    copy = box.fork()
    box.close()
    assert copy.read("/work/file") == b"content" and copy.run(["true"]).returncode == 0
    copy.close()


def test_a_copy_of_a_changed_root_of_the_host() -> None:
    with Template(user=0, writable=True) as template, template.sandbox() as box:
        box.run(["sh", "-c", "echo own >/etc/own; rm /etc/hosts"], check=True)
        with box.fork() as other:
            assert other.run(["sh", "-c", "cat /etc/own; ls /etc/hosts /usr/bin/env"], text=True).stdout == (
                "own\n/usr/bin/env\n")


def test_a_copy_of_the_host_and_of_a_template(rootfs: Path) -> None:
    with Sandbox.host() as box:
        box.write("/work/file", "content")
        with box.fork() as other, other.fork() as third:
            assert third.run(["python3", "-c", "print(open('/work/file').read())"], text=True).stdout == "content\n"
        for call in (box.diff, box.commit):
            with pytest.raises(StateError, match="host's own system"):
                call()
    with Template(rootfs, files={"/work/one": "1", "/etc/made": "x"}) as template, template.sandbox() as box:
        box.write("/work/two", "2")
        with box.fork() as other:
            assert other.run(["sh", "-c", "cat /work/one /work/two /etc/made; rm /work/one"]).stdout == b"12x"
            with other.fork() as third:
                assert third.run(["ls", "/work"]).stdout == b"two\n"
            assert [entry for entry in other.diff() if entry[1].startswith("/work/")] == [
                ("D", "/work/one"), ("A", "/work/two")]


def test_a_copy_of_a_template_of_the_host() -> None:
    with Template(files={"/work/one": "1"}) as template, template.sandbox() as box:
        box.write("/work/two", "2")
        with box.fork() as other, other.fork() as third:
            assert third.run(["cat", "one", "two"]).stdout == b"12"


def test_a_copy_that_does_not_fit(rootfs: Path) -> None:
    with Sandbox(rootfs) as box:
        box.write("/work/big", bytes(4 << 20))
        with pytest.raises(HostError, match="larger limit of disk"):
            box.fork(limits=Limits(disk="1m"))
        assert box.run(["true"]).returncode == 0


def test_an_image_of_a_template(images: ImageStore) -> None:
    with Template("box", store=images, setup=[["sh", "-c", "echo t >/made; echo w >/work/kept"]]) as template, \
            template.sandbox(writable=True, user=0) as box:
        box.run(["sh", "-c", "echo s >/own; rm /etc/passwd"], check=True)
        box.commit("all")
    with Sandbox("all", store=images) as box:
        assert box.run(["sh", "-c", "cat /made /own; ls /etc/passwd"]).stdout == b"t\ns\n"


def test_leases_do_not_keep_the_caller_waiting() -> None:
    """The kernel has the opener wait 45 s for the holder of a lease, and the holder stands still."""
    code = "import fcntl, os, signal, time; signal.signal(signal.SIGIO, signal.SIG_IGN)\n" \
           "fd = os.open('/work/data', os.O_RDWR | os.O_CREAT); fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n" \
           "print('leased', flush=True); time.sleep(60)"
    with Sandbox.host() as box, box.popen(["python3", "-c", code], text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "leased\n"
        begun = time.monotonic()
        with pytest.raises(HostError, match='"data": Resource temporarily unavailable: end the program that has'):
            box.fork()
        assert time.monotonic() - begun < 5


def test_files_that_are_being_written(rootfs: Path) -> None:
    """A copy has them whole."""
    size = 8 << 20
    with Sandbox(rootfs) as box:
        box.write("/work/file", bytes(size))
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                box.write("/work/file", bytes(size))

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for _ in range(10):
                with box.fork() as copy:
                    assert len(copy.read("/work/file")) == size
        finally:
            stop.set()
            thread.join()


def test_a_sandbox_whose_init_was_killed(rootfs: Path) -> None:
    """It has nothing to compare any more, and is removed all the same (`nothing_left`)."""
    with Sandbox(rootfs) as box:
        os.kill(box._container.entrance.pid, signal.SIGKILL)
        while box.alive:
            time.sleep(0.01)
        with pytest.raises(StateError, match="container not running"):
            box.diff()
