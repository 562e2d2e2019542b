"""Terminals, attach, detach keys, logs, exec."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.pocker.command import BIN, Pocker


class Terminal:
    """A pocker command on a terminal of its own."""

    def __init__(self, pocker: Pocker, *words: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execve(BIN / "pocker", ["pocker", *words], pocker.environment)
        self.seen = b""

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def expect(self, text: bytes, seconds: float = 60) -> bytes:
        """Read until the text comes; what came up to it."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    assert text in self.seen, self.seen
        before, _, self.seen = self.seen.partition(text)
        return before

    def status(self) -> int:
        """Wait for the command."""
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.master)
        return code


NONE = ("--network", "none")


def test_a_terminal_is_one_inside(pocker: Pocker) -> None:
    terminal = Terminal(pocker, "run", "--rm", "-it", *NONE, "busybox", "sh")
    terminal.type(b"tty; stty -echo; echo rea''dy\n")
    terminal.expect(b"/dev/pts/0")
    terminal.expect(b"ready")
    terminal.type(b"exit 5\n")
    assert terminal.status() == 5
    pocker.check()


def test_the_size_of_the_terminal_follows_ours(pocker: Pocker) -> None:
    import fcntl
    import struct
    import termios

    terminal = Terminal(pocker, "run", "--rm", "-it", *NONE, "busybox", "sh", "-c",
                        "trap 'stty size' WINCH; echo begun; while :; do sleep 0.1; done")
    terminal.expect(b"begun")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    terminal.expect(b"33 99")
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.status()


def test_detach_keys_and_attach_again(pocker: Pocker) -> None:
    terminal = Terminal(pocker, "run", "-it", "--name", "shell", *NONE, "busybox", "sh")
    terminal.type(b"X=kept; echo on''e\n")
    terminal.expect(b"one")
    terminal.type(b"\x10\x11")
    assert terminal.status() == 0
    assert pocker.statuses() == {"shell": "running"}
    again = Terminal(pocker, "attach", "--detach-keys", "ctrl-a,d", "shell")
    again.type(b"echo is-$X\n")
    again.expect(b"is-kept")
    again.type(b"\x01d")
    assert again.status() == 0
    last = Terminal(pocker, "attach", "shell")
    last.type(b"exit 9\n")
    assert last.status() == 9
    assert pocker.ok("wait", "shell") == "9"


def test_keys_that_are_half_typed_arrive(pocker: Pocker) -> None:
    terminal = Terminal(pocker, "run", "--rm", "-it", *NONE, "busybox", "sh", "-c",
                        "stty raw -echo; echo begun; head -c 3 | od -An -tx1")
    terminal.expect(b"begun")
    terminal.type(b"\x10\x10x")
    terminal.expect(b"10 10 78")
    assert terminal.status() == 0


def test_output_that_nobody_sees_is_in_the_log(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "talker", *NONE, "busybox", "sh", "-c",
              "for i in 1 2 3; do echo line $i; done; echo wrong >&2; printf half; sleep 0.2; echo ' done';"
              "sleep 0.2; printf 'la'; sleep 0.2; echo st")
    assert pocker.ok("wait", "talker") == "0"
    done = pocker("logs", "talker")
    assert done.stdout == "line 1\nline 2\nline 3\nhalf done\nlast\n"
    assert done.stderr == "wrong\n"
    assert pocker("logs", "--tail", "1", "talker").stdout == "last\n"
    assert pocker("logs", "--tail", "0", "talker").stdout == ""
    stamped = pocker("logs", "-t", "-n", "1", "talker").stdout
    stamp, _, rest = stamped.partition(" ")
    assert rest == "last\n" and stamp.endswith("Z")
    assert pocker("logs", "--since", stamp, "talker").stdout == "last\n"
    assert pocker("logs", "--since", "1h", "talker").stdout.count("\n") == 5
    assert pocker("logs", "--until", "1h", "talker").stdout == ""
    assert "--since" in pocker.fails("logs", "--since", "yesterday", "talker")


def test_following_a_log_ends_with_the_container(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "slow", *NONE, "busybox", "sh", "-c",
              "for i in 1 2 3; do echo $i; sleep 0.3; done")
    assert pocker.ok("logs", "-f", "slow") == "1\n2\n3"


def test_two_can_be_attached(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "-i", "--name", "both", *NONE, "busybox", "sh", "-c", "read line; echo got $line")
    with pocker.start("attach", "--no-stdin", "both") as watching:
        time.sleep(0.3)
        assert pocker("attach", "both", input="word\n").stdout == "got word\n"
        assert watching.communicate(timeout=60)[0] == "got word\n"


def test_a_slow_reader_loses_nothing(pocker: Pocker) -> None:
    with pocker.start("run", "--rm", *NONE, "busybox", "sh", "-c", "seq 1 200000") as running:
        time.sleep(1)
        out = running.communicate(timeout=100)[0]
    assert out == "".join(f"{number}\n" for number in range(1, 200001))


@pytest.mark.parametrize(("words", "status"), [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["nosuch"], 127),
                                               (["/etc/passwd"], 126), (["sh", "-c", "kill -9 $$"], 137)], ids=str)
def test_exec_has_the_status_of_its_program(pocker: Pocker, words: list[str], status: int) -> None:
    pocker.ok("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "1000")
    assert pocker("exec", "box", *words).returncode == status
    assert "has no user" in pocker.fails("exec", "-u", "nosuch", "box", *words, status=126)


def test_exec_as_it_is_asked(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "box", "-e", "A=1", *NONE, "busybox", "sleep", "1000")
    assert pocker.ok("exec", "-e", "B=2", "-w", "/tmp", "-u", "1:2", "box", "sh", "-c",
                     "echo $A$B $PWD $(id -u):$(id -g)") == "12 /tmp 1:2"
    assert pocker("exec", "-i", "box", "cat", input="text").stdout == "text"
    assert pocker("exec", "box", "cat", input="text").stdout == ""
    pocker.ok("exec", "-d", "box", "touch", "/tmp/made")
    pocker.eventually(lambda: pocker("exec", "box", "test", "-e", "/tmp/made").returncode == 0, "it was made")
    terminal = Terminal(pocker, "exec", "-it", "box", "sh", "-c", "tty; exit 3")
    terminal.expect(b"/dev/pts/")
    assert terminal.status() == 3
    pocker.ok("pause", "box")
    assert "is paused" in pocker.fails("exec", "box", "true")
    pocker.ok("unpause", "box")
    pocker.ok("stop", "-t", "0", "box")
    assert "is not running" in pocker.fails("exec", "box", "true")


def test_logs_of_a_program_that_never_stops_writing(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "box", *NONE, "--log-opt", "max-size=50m", "--log-opt", "max-file=3",
              "busybox", "yes")
    try:
        time.sleep(0.5)
        started = time.monotonic()
        assert pocker.ok("logs", "--tail", "2", "box", timeout=60) == "y\ny"
        pocker.ok("logs", "box", timeout=100)
        assert time.monotonic() - started < 100
    finally:
        pocker.ok("rm", "-f", "box")


def test_exec_gives_its_program_none_of_our_files(pocker: Pocker, tmp_path: Path) -> None:
    """What is open could be opened anew by its descriptor, to read it or to write over it."""
    pocker.ok("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "1000")
    log = tmp_path / "log"
    log.write_text("kept\n")
    words = [str(BIN / "pocker"), "exec", "-i", "box", "sh", "-c",
             "echo said; for fd in 0 1 2; do cat /proc/self/fd/$fd >/tmp/got & echo planted >/proc/self/fd/$fd; done"]
    with log.open("a") as out, (tmp_path / "log").open() as into:
        done = subprocess.run(words, stdin=into, stdout=out, stderr=out, env=pocker.environment, check=False,
                              timeout=60)
    assert done.returncode == 0 and log.read_text().startswith("kept\nsaid\n"), log.read_text()
    terminal = Terminal(pocker, "exec", "box", "sh", "-c", "for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done")
    assert terminal.status() == 0
    null, *others = terminal.seen.decode().split()
    assert null == "/dev/null" and all(other.startswith("pipe:") for other in others), terminal.seen


def test_exec_passes_on_everything(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "1000")
    text = "".join(f"{number}\n" for number in range(300_000))
    assert pocker("exec", "-i", "box", "cat", input=text).stdout == text
    done = pocker("exec", "-u", "33", "box", "sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr; exit 4")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 4)
    # Nobody waits for who holds its output, nor goes on reading when our own reader has gone, nor feeds who has ended.
    assert pocker.ok("exec", "box", "sh", "-c", "sleep 1000 & echo said") == "said"
    done = subprocess.run(f"{BIN}/pocker exec box yes | head -n 1", shell=True, env=pocker.environment, check=False,
                          capture_output=True, text=True, timeout=60)
    assert done.stdout == "y\n"
    with open("/dev/zero", "rb") as zeros:
        assert pocker("exec", "-i", "box", "sh", "-c", "exit 5", stdin=zeros).returncode == 5
    assert pocker("exec", "box", "sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 6").returncode == 6
    with pocker.start("exec", "box", "sh", "-c", "trap 'exit 7' INT; echo ready; while :; do sleep 0.1; done"
                      ) as running:
        assert running.stdout and running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 7


def test_a_program_that_fills_the_disk(pocker: Pocker) -> None:
    """The place for its exit status was taken before it began."""
    pocker.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", pocker.root], check=True)
    try:
        pocker.ok("run", "-d", "--name", "full", "--network", "none", "busybox", "sh", "-c",
                  "cat /dev/zero > /fill; exit 7")
        assert pocker.ok("wait", "full") == "7"
        assert pocker.ok("ps", "-a", "--format", "{{.State}} {{.Status}}").startswith("exited Exited (7)")
        pocker.ok("rm", "full")
        assert pocker.leftovers() == [f"mount {pocker.root}"]
    finally:
        pocker.clear()
        subprocess.run(["umount", pocker.root], check=True)


@pytest.mark.parametrize(("flags", "out", "err"), [
    ((), "in\no\n", "e\n"), (("-a", "stdout"), "o\n", ""), (("-a", "stderr"), "o\n", "e\n"),
    (("-a", "STDIN", "-a", "STDOUT"), "in\no\n", ""), (("--attach", "stdout", "--attach", "stderr"), "o\n", "e\n")])
def test_attach_names_the_streams(pocker: Pocker, flags: tuple[str, ...], out: str, err: str) -> None:
    """As with docker, what is not named stays the container's own: its log has everything."""
    program = ("cat; " if "in" in out else "") + "echo o; echo e >&2"
    done = pocker("run", "-i", "--name", "it", *flags, *NONE, "busybox", "sh", "-c", program, input="in\n")
    assert done.returncode == 0, done
    assert (done.stdout, done.stderr) == ("" if flags == ("-a", "stderr") else out, err)
    log = pocker("logs", "it")
    assert (log.stdout, log.stderr) == (out, "e\n")


def test_attach_to_the_input_alone_prints_the_id(pocker: Pocker) -> None:
    done = pocker("run", "-i", "-a", "stdin", "--name", "it", *NONE, "busybox", "cat", input="typed\n")
    assert done.stdout == pocker.ok("inspect", "-f", "{{.Id}}", "it") + "\n"
    assert pocker.ok("logs", "it") == "typed"
    for words, said in ((("run", "-a", "stdx"), "--attach"), (("run", "-d", "-a", "stdout"), "--detach")):
        assert said in pocker.fails(*words, *NONE, "busybox", "true", status=125)
