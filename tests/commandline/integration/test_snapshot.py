"""Commands that are restored from a snapshot answer as those that start an interpreter (decision 0024)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TOP

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="snapshots exist on x86-64 only")

PROGRAM = """
import os, signal, sys
from pyruntime.system.processes import interpreter
assert os.path.samefile(interpreter(), sys.executable), (interpreter(), sys.executable)   # /proc/self/exe is the front
sys.stdout.write(repr((sys.argv[1:], sorted(os.environ.items()), os.getcwd(), sys.flags.utf8_mode,
                       signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGINT),
                       signal.getsignal(signal.SIGPIPE), [stream and (stream.encoding, stream.errors,
                       stream.line_buffering) for stream in (sys.stdin, sys.stdout, sys.stderr)])) + "\\n")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, whose commands are in bin/. `pyruntime features` is replaced by PROGRAM."""
    top = tmp_path_factory.mktemp("installed")
    shutil.copytree(TOP / "pyruntime", top / "pyruntime", ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    shutil.copytree(TOP / "spec", top / "pyruntime/spec")
    command = top / "pyruntime/runtime/cli/features.py"
    text = command.read_text()
    head, _, _ = text.partition("def run(")
    body = "".join(f"    {line}\n" for line in PROGRAM.strip().splitlines())
    command.write_text(f"{head}def run(context: RuntimeContext, parsed: Parsed) -> int:\n{body}    return 0\n")
    (top / "bin").mkdir()
    packages = [path for path in sys.path if path.endswith("site-packages")]
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {[str(top), *packages]!r}\n"
                    "from pyruntime.commandline.entry import COMMANDS, write\n"
                    f"for name in COMMANDS: write({str(top / 'bin')!r}, name)"],
                   check=True, cwd=top, env={"PATH": os.environ["PATH"]})
    return top


def execs(place: Path, *words: str) -> int:
    """How many programs a command executes: one if it was restored, two if an interpreter was started."""
    done = subprocess.run(["strace", "-f", "-qq", "-e", "trace=execve", place / "bin" / words[0], *words[1:]],
                          capture_output=True, text=True, check=False)
    return sum(" = 0" in line for line in done.stderr.splitlines() if "execve(" in line)


@pytest.fixture
def restored(place: Path) -> Path:
    assert execs(place, "pyruntime", "--version") == 1
    return place


def run(place: Path, *words: str | bytes, **options: object) -> tuple[int, bytes, bytes]:
    done = subprocess.run([place / "bin" / os.fsdecode(words[0]), *words[1:]], capture_output=True, check=False,
                          **options)   # type: ignore[call-overload]
    return done.returncode, done.stdout, done.stderr


def both(place: Path, *words: str | bytes, **options: object) -> tuple[int, bytes, bytes]:
    """The answer of the restored command, which is that of an interpreter."""
    environment = dict(options.pop("env", os.environ))   # type: ignore[call-overload]
    with_it = run(place, *words, env=environment, **options)
    without = run(place, *words, env={**environment, "PYRUNTIME_SNAPSHOT": "off"}, **options)
    assert with_it == (without[0], own(without[1]), without[2])
    return with_it


def own(out: bytes) -> bytes:
    """Without the variable of the test, and the one that an interpreter adds in the C locale (PEP 538)."""
    for name, value in (("PYRUNTIME_SNAPSHOT", "off"), ("LC_CTYPE", "C.UTF-8")):
        text = f"('{name}', '{value}')".encode()
        out = out.replace(text + b", ", b"").replace(b", " + text, b"").replace(text, b"")
    return out


LINES = [(name, *words) for name, table in {
    "pyruntime": ([], ["--help"], ["create", "--help"], ["state", "no"], ["nonsense"], ["create", "x"], ["list"],
                  ["explain", "/nowhere"], ["--root", "", "list"], ["kill"], ["--version"], [b"\xff"]),
    "pyimage": ([], ["--help"], ["ls"], ["inspect", "no-such-image"], ["pull"], ["--version"]),
    "pocker": ([], ["ps"], ["ps", "-a"], ["images"], ["inspect", "nothing"], ["network", "ls"], ["volume", "ls"],
               ["run"], ["exec", "no", "true"], ["logs", "no"], ["--version"], ["info"]),
}.items() for words in table]


@pytest.mark.parametrize("words", LINES, ids=lambda words: "-".join(map(os.fsdecode, words)).replace("/", ""))
def test_both_answer_alike(restored: Path, words: tuple[str, ...]) -> None:
    both(restored, *words)


@pytest.mark.parametrize("environment", [
    {}, {"A": "1"}, {"LANG": "C"}, {"LC_ALL": "de_DE.ISO-8859-1"}, {"EMPTY": ""}, {b"\xff": b"\xfe"},
    {"PYTHONPATH": "/x", "PYTHONHASHSEED": "0"}, {f"V{number}": "x" * number for number in range(300)}],
    ids=lambda environment: str(len(environment)))
def test_environment(restored: Path, environment: dict[str, str]) -> None:
    status, out, _ = both(restored, "pyruntime", "features", env=environment)
    assert status == 0 and all(repr(os.fsdecode(name)).encode() in out for name in environment)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors(restored: Path, closed: str) -> None:
    command = f'"{restored}/bin/pyruntime" features {closed}; echo $?'
    answers = {own(subprocess.run(["sh", "-c", command], capture_output=True, check=False,
                                  env={"PATH": "/bin", **extra}).stdout)
               for extra in ({}, {"PYRUNTIME_SNAPSHOT": "off"})}
    assert len(answers) == 1 and answers.pop().endswith(b"\n")


def test_ignored_signals_stay_ignored(restored: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    _, out, _ = both(restored, "pyruntime", "features", preexec_fn=ignore)
    assert out.count(b"Handlers.SIG_IGN") == 3, out   # and SIGPIPE


def test_an_interrupt_ends_a_restored_command(restored: Path) -> None:
    with subprocess.Popen([restored / "bin/pocker", "events"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        while b"pocker.snapshot" not in Path(f"/proc/{process.pid}/maps").read_bytes() or \
                Path(f"/proc/{process.pid}/stat").read_text().split()[2] != "S":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def test_a_changed_source_takes_effect_at_once(place: Path) -> None:
    source = place / "pyruntime/_version.py"
    before = source.read_text()
    source.write_text(before + "__version__ = '9.9'\n")
    try:
        assert b"9.9" in run(place, "pyruntime", "--version")[1]      # by an interpreter, which takes a new snapshot
        assert execs(place, "pyruntime", "--version") == 1
        assert b"9.9" in run(place, "pyruntime", "--version")[1]
    finally:
        source.write_text(before)
    assert b"9.9" not in run(place, "pyruntime", "--version")[1]
    assert execs(place, "pyruntime", "--version") == 1


@pytest.mark.parametrize("damage", ["empty", "short", "head", "tables", "long", "owner", "writable"])
def test_a_damaged_snapshot_is_not_restored(restored: Path, damage: str) -> None:
    file = restored / "libexec/pyruntime.snapshot"
    data = file.read_bytes()
    damaged = {"empty": b"", "short": data[:-4096], "head": data[:70] + b"\xff" + data[71:],
               "tables": data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], "long": data + b"\0"}.get(damage, data)
    file.unlink()
    file.write_bytes(damaged)
    if damage == "owner":
        os.chown(file, 12345, 12345)
    if damage == "writable":
        file.chmod(0o666)
    assert both(restored, "pyruntime", "state", "no")[0] == 1
    assert file.stat().st_uid == 0 and file.stat().st_size > 1 << 20, "it was not taken again"
    assert execs(restored, "pyruntime", "--version") == 1


def test_every_word_of_the_tables_is_checked(restored: Path) -> None:
    file = restored / "libexec/pyruntime.snapshot"
    data = file.read_bytes()
    size = int.from_bytes(data[8:16], "little")
    for number in range(20):
        at = number * (size - 1) // 19
        file.unlink()
        file.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1:])
        assert execs(restored, "pyruntime", "--version") > 1, at
        assert file.read_bytes() != data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1:], "it was not taken again"


def test_without_randomized_addresses(restored: Path) -> None:
    done = subprocess.run(["setarch", "-R", restored / "bin/pyruntime", "--version"], capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith(b"pyruntime version")


def test_what_a_killed_writer_left_is_cleared(place: Path) -> None:
    file = place / "libexec/pyimage.snapshot"
    left = place / "libexec/pyimage.snapshot.new"
    (left / "bin").mkdir(parents=True)
    (left / "bin/pyimage").write_text("")
    file.unlink()
    assert run(place, "pyimage", "--version")[0] == 0
    assert file.exists() and not left.exists()
    assert execs(place, "pyimage", "--version") == 1


def test_a_snapshot_that_does_not_work_is_given_up(place: Path) -> None:
    """The trial of a new snapshot fails: commands start an interpreter, and do not try again and again."""
    front = place / "pyruntime/native/front/front"
    program = front.read_bytes()
    file = place / "libexec/pyimage.snapshot"
    file.unlink()
    front.write_bytes(b"#!/bin/false\n")
    try:
        assert run(place, "pyimage", "--version")[0] == 0
        assert 0 < file.stat().st_size < 256 * 1024
        inode = file.stat().st_ino
        assert execs(place, "pyimage", "--version") == 2
        assert file.stat().st_ino == inode, "taken again"
    finally:
        front.write_bytes(program)
    file.unlink()
    assert run(place, "pyimage", "--version")[0] == 0
    assert execs(place, "pyimage", "--version") == 1


def test_modules_with_private_state_are_refused(place: Path) -> None:
    command = place / "pyruntime/images/cli/ls.py"
    before = command.read_text()
    command.write_text(before.replace("from __future__ import annotations\n",
                                      "from __future__ import annotations\nimport threading\n", 1))
    try:
        problem = subprocess.run([sys.executable, "-IS", place / "pyruntime/commandline/__main__.py",
                                  ":".join([str(place), *(path for path in sys.path if path.endswith("-packages"))]),
                                  "snapshot", "pyimage", place / "refused", "usable"], capture_output=True, check=False)
        assert problem.returncode == 1 and b"threading: imported by a command of pyimage" in problem.stderr
        assert not (place / "refused").exists()
    finally:
        command.write_text(before)
