"""Terminals, attach, detach keys, logs, exec."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands import BIN
from tests.pocker.integration.command import Pocker
from tests.terminal import Terminal


class PockerTerminal(Terminal):
    """A pocker command on a terminal of its own."""

    def __init__(self, pocker: Pocker, *words: str) -> None:
        super().__init__([BIN / "pocker", *words], pocker.environment)


NONE = ("--network", "none")


def test_tty_is_a_terminal_in_the_container(pocker: Pocker) -> None:
    terminal = PockerTerminal(pocker, "run", "--rm", "-it", *NONE, "busybox", "sh")
    terminal.type(b"tty; stty -echo; echo rea''dy\n")
    terminal.expect(b"/dev/pts/0")
    terminal.expect(b"ready")
    terminal.type(b"exit 5\n")
    assert terminal.status() == 5
    pocker.check()


def test_the_terminal_has_the_size_of_the_callers(pocker: Pocker) -> None:
    import fcntl
    import struct
    import termios

    terminal = PockerTerminal(pocker, "run", "--rm", "-it", *NONE, "busybox", "sh", "-c",
                              "trap 'stty size' WINCH; echo begun; while :; do sleep 0.1; done")
    terminal.expect(b"begun")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    terminal.expect(b"33 99")
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.status()


def test_detach_keys_and_attach_again(pocker: Pocker) -> None:
    terminal = PockerTerminal(pocker, "run", "-it", "--name", "shell", *NONE, "busybox", "sh")
    terminal.type(b"X=kept; echo on''e\n")
    terminal.expect(b"one")
    terminal.type(b"\x10\x11")
    assert terminal.status() == 0
    assert pocker.statuses() == {"shell": "running"}
    again = PockerTerminal(pocker, "attach", "--detach-keys", "ctrl-a,d", "shell")
    again.type(b"echo is-$X\n")
    again.expect(b"is-kept")
    again.type(b"\x01d")
    assert again.status() == 0
    last = PockerTerminal(pocker, "attach", "shell")
    last.type(b"exit 9\n")
    assert last.status() == 9
    assert pocker.ok("wait", "shell") == "9"


def test_keys_that_are_half_typed_arrive(pocker: Pocker) -> None:
    terminal = PockerTerminal(pocker, "run", "--rm", "-it", *NONE, "busybox", "sh", "-c",
                              "stty raw -echo; echo begun; head -c 3 | od -An -tx1")
    terminal.expect(b"begun")
    terminal.type(b"\x10\x10x")
    terminal.expect(b"10 10 78")
    assert terminal.status() == 0


def test_output_without_a_client_is_in_the_log(pocker: Pocker) -> None:
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


def test_exec_flags(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "box", "-e", "A=1", *NONE, "busybox", "sleep", "1000")
    assert pocker.ok("exec", "-e", "B=2", "-w", "/tmp", "-u", "1:2", "box", "sh", "-c",
                     "echo $A$B $PWD $(id -u):$(id -g)") == "12 /tmp 1:2"
    assert pocker("exec", "-i", "box", "cat", input="text").stdout == "text"
    assert pocker("exec", "box", "cat", input="text").stdout == ""
    pocker.ok("exec", "-d", "box", "touch", "/tmp/made")
    pocker.eventually(lambda: pocker("exec", "box", "test", "-e", "/tmp/made").returncode == 0, "it was made")
    terminal = PockerTerminal(pocker, "exec", "-it", "box", "sh", "-c", "tty; exit 3")
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


def test_exec_passes_no_file_of_the_caller(pocker: Pocker, tmp_path: Path) -> None:
    """A container could reopen an open file through /proc/self/fd, to read it or to overwrite it."""
    pocker.ok("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "1000")
    log = tmp_path / "log"
    log.write_text("kept\n")
    words = [str(BIN / "pocker"), "exec", "-i", "box", "sh", "-c",
             "echo said; for fd in 0 1 2; do cat /proc/self/fd/$fd >/tmp/got & echo planted >/proc/self/fd/$fd; done"]
    with log.open("a") as out, (tmp_path / "log").open() as into:
        done = subprocess.run(words, stdin=into, stdout=out, stderr=out, env=pocker.environment, check=False,
                              timeout=60)
    assert done.returncode == 0 and log.read_text().startswith("kept\nsaid\n"), log.read_text()
    terminal = PockerTerminal(pocker, "exec", "box", "sh", "-c", "for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done")
    assert terminal.status() == 0
    null, *others = terminal.seen.decode().split()
    assert null == "/dev/null" and all(other.startswith("pipe:") for other in others), terminal.seen


def test_exec_passes_all_input_and_output(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "1000")
    text = "".join(f"{number}\n" for number in range(300_000))
    assert pocker("exec", "-i", "box", "cat", input=text).stdout == text
    done = pocker("exec", "-u", "33", "box", "sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr; exit 4")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 4)
    # exec does not wait for background processes that hold its output, nor read on when its own reader has ended, nor
    # send input to a program that has exited.
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


def test_a_log_has_complete_lines_after_a_full_disk(pocker: Pocker) -> None:
    """Lines that did not fit are lost; later ones are not appended to half a line."""
    pocker.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", pocker.root], check=True)
    try:
        pocker.ok("run", "-d", "--name", "it", "--network", "none", "busybox", "sh", "-c",
                  "cat /dev/zero >/fill; i=0; while [ $i -lt 3000 ]; do echo line $i is not so short; i=$((i+1)); done;"
                  " rm /fill; echo there is room; sleep 0.1; echo last")
        assert pocker.ok("wait", "it") == "0"
        # A busy monitor reads a full buffer, which may end within a line: a beginning (P), and the rest (F).
        log = re.sub(r" P (.*)\n\S+Z stdout F ", r" F \1", (pocker.directory("it") / "log").read_text())
        lines = log.split("\n")
        whole = re.compile(r"\S+Z stdout F (line \d+ is not so short|there is room|last)")
        assert lines.pop() == "" and [line for line in lines if not whole.fullmatch(line)] == []
        assert lines[-1].endswith(" F last") and pocker.ok("logs", "--tail", "1", "it") == "last"
        pocker.ok("rm", "it")
    finally:
        pocker.clear()
        subprocess.run(["umount", pocker.root], check=True)


def test_a_log_has_no_rest_of_a_line_whose_beginning_did_not_fit(pocker: Pocker) -> None:
    """Nor does a line follow the beginning of one whose rest did not fit, as if it were the rest."""
    pocker.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", pocker.root], check=True)
    # With its time and name, the first piece leaves less room in its page than the shortest line needs.
    first = f"{'half of a ':>{4096 - 41 - 10}}"
    script = f"""read step; printf '{first}'; read step; cat /dev/zero >/fill 2>/dev/null; printf 'line\nand '
                 read step; rm /fill; printf 'a half\nanother'; read step; echo ' one'"""
    try:
        with pocker.start("run", "-i", "--name", "it", "--network", "none", "busybox", "sh", "-c", script,
                          stdin=subprocess.PIPE) as running:
            assert running.stdin and running.stdout
            for said in (first, "line\nand ", "a half\nanother", " one\n"):   # the monitor has tried to log it then
                running.stdin.write("step\n")
                running.stdin.flush()
                assert running.stdout.read(len(said)) == said
            running.stdin.close()
            assert running.wait(60) == 0
        log = (pocker.directory("it") / "log").read_text()
        assert [line.split(" ", 2)[2] for line in log.splitlines()] == [f"P {first}", "F ", "P another", "F  one"]
        assert pocker.ok("logs", "it") == f"{first}\nanother one"
        pocker.ok("rm", "it")
    finally:
        pocker.clear()
        subprocess.run(["umount", pocker.root], check=True)


def test_a_program_that_fills_the_disk(pocker: Pocker) -> None:
    """The space for its exit status is allocated before it starts."""
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
    """As with Docker, streams that are not named are not attached; the log has the output of both."""
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


def chatter(pocker: Pocker, *words: str) -> None:
    pocker.ok("run", "-d", "--name", "chatter", *words, *NONE, "busybox", "sh", "-c",
              "trap 'exit 4' TERM; number=0; while :; do number=$((number + 1));"
              " echo $number of many lines; [ $((number % 500)) != 0 ] || sleep 0.02; done")
    pocker.eventually(lambda: bool(pocker.ok("logs", "--tail", "1", "chatter")), "the first line is in the log")


def last_line(pocker: Pocker) -> int:
    return int(pocker.ok("logs", "--tail", "1", "chatter").split()[0])


def test_a_stopped_attach_holds_up_nothing(pocker: Pocker) -> None:
    """Its socket fills at once. Two seconds later the log goes on, and `stop` does not wait for the client."""
    chatter(pocker)
    with pocker.start("attach", "chatter") as watching:
        try:
            assert watching.stdout and watching.stdout.readline()
            watching.send_signal(signal.SIGSTOP)
            time.sleep(3)
            before = last_line(pocker)
            pocker.eventually(lambda: last_line(pocker) > before, "the log goes on")
            started = time.monotonic()
            pocker.ok("stop", "chatter")
            assert time.monotonic() - started < 9, "`stop` waited for the client until its own patience was over"
            assert pocker.ok("wait", "chatter") == "4"
        finally:
            watching.kill()


def test_an_attach_whose_reader_does_not_read_is_dropped(pocker: Pocker) -> None:
    chatter(pocker)
    with pocker.start("attach", "chatter") as watching:
        try:
            before = 0
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:   # until its pipe, its memory and its socket are full
                before, after = last_line(pocker), before
                if before == after:
                    break
                time.sleep(0.5)
            pocker.eventually(lambda: last_line(pocker) > before, "the log goes on")
            started = time.monotonic()
            pocker.ok("rm", "-f", "chatter")
            assert time.monotonic() - started < 9
            said = watching.communicate(timeout=60)[1]
            assert "was not read for two seconds" in said and watching.returncode == 1
        finally:
            watching.kill()


def test_a_stopped_client_in_the_foreground(pocker: Pocker) -> None:
    with pocker.start("run", "--name", "chatter", *NONE, "busybox", "sh", "-c",
                      "trap 'exit 4' TERM; while :; do echo many lines; done") as running:
        try:
            assert running.stdout and running.stdout.readline()
            running.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            started = time.monotonic()
            pocker.ok("stop", "chatter")
            assert time.monotonic() - started < 9
            assert pocker.ok("wait", "chatter") == "4"
            pocker.ok("rm", "chatter")
        finally:
            running.send_signal(signal.SIGCONT)
            running.kill()


def test_a_program_waits_for_the_reader_of_a_foreground_client(pocker: Pocker) -> None:
    """As in `pocker run db dump | slow`: nothing is lost, however long the reader pauses."""
    with pocker.start("run", "--rm", *NONE, "busybox", "seq", "1", "700000") as running:
        time.sleep(6)
        out = running.communicate(timeout=100)[0]
    assert running.returncode == 0 and out == "".join(f"{number}\n" for number in range(1, 700001))


def test_the_end_is_not_kept_by_a_reader_that_rests(pocker: Pocker) -> None:
    with pocker.start("run", "--name", "once", *NONE, "busybox", "sh", "-c", "seq 1 60000; exit 3") as running:
        pocker.eventually(lambda: pocker.statuses().get("once") == "exited", "it exits while its output is not read")
        assert pocker.ok("wait", "once") == "3"
        out = running.communicate(timeout=100)[0]
    assert running.returncode == 3 and out.count("\n") == 60000
    pocker.ok("rm", "once")


@pytest.mark.parametrize("words", [["run", "--rm", "-t", *NONE, "busybox"], ["exec", "-t", "box"]], ids=["run", "exec"])
def test_without_input_the_terminal_is_not_raw(pocker: Pocker, words: list[str]) -> None:
    """Ctrl-C is a signal to the client, which forwards it; other keys are input on the terminal."""
    pocker.ok("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "1000")
    with PockerTerminal(pocker, *words, "sh", "-c", "trap 'exit 5' INT; echo ready; while :; do sleep 0.1; done"
                        ) as terminal:
        terminal.expect(b"ready\r")
        assert not terminal.is_raw()
        terminal.type(b"\x03")
        assert terminal.status() == 5


@pytest.mark.parametrize("words", [["run", "-t", "--name", "deaf", *NONE, "busybox"],
                                   ["run", "--name", "deaf", *NONE, "busybox"], ["exec", "-t", "box"],
                                   ["exec", "box"]], ids=["run-t", "run", "exec-t", "exec"])
def test_three_interrupts_end_a_client_whose_program_ignores_them(pocker: Pocker, words: list[str]) -> None:
    pocker.ok("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "1000")
    with PockerTerminal(pocker, *words, "sh", "-c", "trap '' INT; echo ready; while :; do sleep 0.1; done") as terminal:
        terminal.expect(b"ready\r")
        for _ in range(3):
            terminal.type(b"\x03")
            time.sleep(0.2)
        assert terminal.status() == 1
        assert b"exiting; the program keeps running" in terminal.seen.replace(b"\r\n", b" "), terminal.seen
    name = words[3] if words[:2] == ["run", "-t"] else "deaf" if words[0] == "run" else "box"
    assert pocker.statuses()[name] == "running"


def test_exec_with_a_terminal_and_no_input_has_no_end_of_input(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "1000")
    with PockerTerminal(pocker, "exec", "-t", "box", "timeout", "-s", "KILL", "1", "cat") as terminal:
        assert terminal.status() == 137


def test_exec_forwards_signals_while_its_output_is_not_read(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "1000")
    with pocker.start("exec", "box", "sh", "-c", "trap 'exit 6' TERM; yes & echo; while :; do sleep 0.1; done"
                      ) as running:
        assert running.stdout and running.stdout.readline()
        time.sleep(0.5)
        running.terminate()
        time.sleep(0.5)
        running.terminate()   # without waiting for the rest of the output
        assert running.wait(60) == 6
