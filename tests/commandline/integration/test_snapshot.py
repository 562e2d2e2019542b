"""Commands that are restored from a snapshot answer as those that start an interpreter (decision 0024)."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import TOP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
DESCRIPTORS = """
print([fd for fd in range(3, 100) if os.path.exists(f"/proc/self/fd/{fd}")])
"""
# Part of the snapshot: memory that is empty in a fork, and the end of a heap that the allocator would give back.
BALLAST = """
import _hashlib   # and with it OpenSSL, whose random generator must not be seeded yet
import mmap
PRIVATE = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
PRIVATE.madvise(18)   # MADV_WIPEONFORK
PRIVATE[:4] = b"seed"
BLOCKS = [bytes(60_000) for _ in range(200)]
del BLOCKS[:20]
"""
STRANGER = 12345   # an ordinary user


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A copy of the package, whose commands are in bin/, for all users. `pyruntime features` executes PROGRAM, or what
    is in place/program; `pyruntime kill` prints its descriptors."""
    with tempfile.TemporaryDirectory(prefix="pyruntime-snapshots-") as top:
        os.chmod(top, 0o755)
        yield _installed(Path(top))


def _installed(top: Path) -> Path:
    shutil.copytree(TOP / "pyruntime", top / "pyruntime", ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    shutil.copytree(TOP / "spec", top / "pyruntime/spec")
    for command, program in ("features", "program"), ("kill", "descriptors"):
        source = top / f"pyruntime/runtime/cli/{command}.py"
        head, _, _ = source.read_text().partition("def run(")
        source.write_text(f"import os\n{head.replace('from __future__ import annotations', '')}"
                          f"def run(context, parsed):\n    with open({str(top / program)!r}) as file:\n"
                          "        exec(file.read(), {'os': os})\n    return 0\n")
    (top / "program").write_text(PROGRAM)
    (top / "descriptors").write_text(DESCRIPTORS)
    (top / "pyruntime/ballast.py").write_text(BALLAST)
    main = top / "pyruntime/runtime/cli/main.py"
    text = main.read_text()
    main.write_text(text.replace('"pwd", "select")', '"pwd", "select", "pyruntime.ballast")'))
    assert main.read_text() != text
    (top / "bin").mkdir()
    packages = [path for path in sys.path if path.endswith("site-packages")]
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {[str(top), *packages]!r}\n"
                    "from pyruntime.commandline.entry import COMMANDS, write\n"
                    f"for name in COMMANDS: write({str(top / 'bin')!r}, name)"],
                   check=True, cwd=top, env={"PATH": os.environ["PATH"]})
    return top


def execs(place: Path, *words: str, prefix: tuple[str, ...] = (), **options: object) -> int:
    """How many programs a command executes: one if it was restored, two if an interpreter was started."""
    done = subprocess.run([*prefix, "strace", "-f", "-qq", "-e", "trace=execve", place / "bin" / words[0], *words[1:]],
                          capture_output=True, text=True, check=False, **options)   # type: ignore[call-overload]
    assert done.returncode == 0, done
    return sum(" = 0" in line for line in done.stderr.splitlines() if "execve(" in line)


def restores(place: Path, *words: str, **options: object) -> bool:
    """Whether a command is restored. In one process of 30,000 an address is taken, and an interpreter started."""
    return any(execs(place, *words, **options) == 1 for _ in range(3))   # type: ignore[arg-type]


@pytest.fixture
def restored(place: Path) -> Path:
    assert restores(place, "pyruntime", "--version")
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


@pytest.fixture
def features(restored: Path) -> Iterator[Callable[..., str]]:
    """Runs a program in the restored process, and again in an interpreter: both must print the same."""
    def perform(program: str, **options: object) -> str:
        (restored / "program").write_text("import os\n" + program)
        status, out, err = both(restored, "pyruntime", "features", **options)
        assert status == 0 and not err, err
        return out.decode()

    yield perform
    (restored / "program").write_text(PROGRAM)


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


def test_a_restored_process_is_complete(features: Callable[..., str]) -> None:
    out = features("""
import atexit, faulthandler, signal, ssl, subprocess, sys, threading, traceback
faulthandler.enable()
def depth(left):
    return 0 if left == 0 else 1 + depth(left - 1)
sys.setrecursionlimit(20_000)
done = []
threads = [threading.Thread(target=done.append, args=[number]) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.environ["MORE"] = "1"
del os.environ["LESS"]
child = os.fork()
if child == 0:
    threading.Thread(target=print).start()
    os._exit(threading.get_native_id() != os.getpid())
print(depth(15_000), len(bytearray(1 << 30)), sorted(done), os.waitpid(child, 0)[1], os.cpu_count(), ssl.RAND_status())
print(threading.get_native_id() == os.getpid(), subprocess.check_output(["sh", "-c", "echo $MORE-$LESS"]))
os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)
try:
    depth("x")
except TypeError:
    print(traceback.format_exc())
atexit.register(print, "at exit")
""", env={"PATH": "/usr/bin:/bin", "LESS": "1"})
    assert "15000" in out and "True b'1-" in out and out.endswith("at exit\n")


def test_local_time_is_that_of_the_caller(features: Callable[..., str]) -> None:
    program = "import time; print(time.tzname, time.strftime('%H %Z', time.localtime(0)))"
    assert "09 JST" in features(program, env={"TZ": "Asia/Tokyo"})
    assert "00 UTC" in features(program, env={"TZ": "UTC"})


def test_the_heap_of_a_snapshot_does_not_shrink(features: Callable[..., str]) -> None:
    """The allocator would take the difference between two heaps for memory that it has given back."""
    features("""
from pyruntime import ballast
ballast.BLOCKS.clear()
blocks = [bytearray(60_000) for _ in range(300)]
for block in blocks: block[:] = b"x" * 60_000
""")


def test_memory_that_forks_find_empty_is_empty(restored: Path) -> None:
    """The state of glibc's random generator (2.41): otherwise restored processes would draw the same numbers."""
    (restored / "program").write_text("""
from pyruntime.ballast import PRIVATE
before, PRIVATE[:4] = PRIVATE[:4], b"mine"
child = os.fork()
if child == 0:
    os._exit(PRIVATE[:4] != bytes(4))
print(before, PRIVATE[:4], os.waitpid(child, 0)[1])
""")
    try:
        assert run(restored, "pyruntime", "features") == (0, b"b'\\x00\\x00\\x00\\x00' b'mine' 0\n", b"")
    finally:
        (restored / "program").write_text(PROGRAM)


def test_restored_processes_draw_different_numbers(restored: Path) -> None:
    (restored / "program").write_text("""
import random, secrets, ssl, tempfile, uuid
for draw in random.random, secrets.token_hex, uuid.uuid4, tempfile.mktemp:
    print(draw())
print(ssl.RAND_bytes(16), os.urandom(16), sep="\\n")
""")
    try:
        drawn = [line for _ in range(20) for line in run(restored, "pyruntime", "features")[1].splitlines()]
    finally:
        (restored / "program").write_text(PROGRAM)
    assert len(set(drawn)) == len(drawn) == 120


def test_descriptors_of_the_front_are_closed(restored: Path, tmp_path: Path) -> None:
    """execve(2) closes them before an interpreter runs."""
    status, out, _ = both(restored, "pyruntime", "--root", str(tmp_path), "kill", "no")
    assert (status, out) == (0, b"[3]\n")   # 3 is DESCRIPTORS


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "LD_LIBRARY_PATH"])
def test_variables_of_the_dynamic_linker_are_obeyed(restored: Path, variable: str) -> None:
    assert execs(restored, "pyruntime", "--version", env={**os.environ, variable: ""}) == 2


def test_raised_privileges_are_left_to_execve(restored: Path) -> None:
    """A file's capabilities are lost when the interpreter is executed: they are for this program only."""
    readable(restored)
    program = restored / "bin/pyruntime"
    (restored / "program").write_text("print(open('/proc/self/status').read().partition('CapPrm:')[2].split()[0])")
    try:
        assert int(run(restored, "pyruntime", "features", user=STRANGER)[1], 16) == 0
        # struct vfs_cap_data of <linux/capability.h>: revision 2 with the effective bit, CAP_SYS_ADMIN
        os.setxattr(program, "security.capability", struct.pack("<5I", 0x02000001, 1 << 21, 0, 0, 0))
        assert int(run(restored, "pyruntime", "features", user=STRANGER)[1], 16) == 0
    finally:
        os.removexattr(program, "security.capability")
        (restored / "program").write_text(PROGRAM)


def readable(place: Path) -> None:
    """Skip if an ordinary user cannot run the commands, whatever the snapshots."""
    done = run(place, "pyruntime", "--version", user=STRANGER, env={"PYRUNTIME_SNAPSHOT": "off"})
    if done[0]:
        pytest.skip(f"an ordinary user cannot read this checkout or its interpreter: {done[2].decode()}")


def test_ordinary_users_use_the_snapshot_of_root(restored: Path) -> None:
    readable(restored)
    assert restores(restored, "pyruntime", "--version", user=STRANGER)


def test_root_of_a_user_namespace_uses_the_snapshot_of_root(restored: Path) -> None:
    """To whom it belongs to nobody, as does the command."""
    readable(restored)
    alone = ("unshare", "--user", "--map-root-user")
    if subprocess.run([*alone, "true"], user=STRANGER, check=False, capture_output=True).returncode:
        pytest.skip("the host does not let ordinary users create user namespaces")
    assert restores(restored, "pyruntime", "--version", prefix=alone, user=STRANGER)


def test_a_changed_source_takes_effect_at_once(place: Path) -> None:
    source = place / "pyruntime/_version.py"
    before = source.read_text()
    source.write_text(before + "__version__ = '9.9'\n")
    try:
        assert b"9.9" in run(place, "pyruntime", "--version")[1]      # by an interpreter, which takes a new snapshot
        assert restores(place, "pyruntime", "--version")
        assert b"9.9" in run(place, "pyruntime", "--version")[1]
    finally:
        source.write_text(before)
    assert b"9.9" not in run(place, "pyruntime", "--version")[1]
    assert restores(place, "pyruntime", "--version")


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
    assert restores(restored, "pyruntime", "--version")


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


def test_what_a_command_writes_to_is_copied_at_once(restored: Path) -> None:
    trace = restored / "trace"
    refused = ("-e", "inject=madvise:error=EINVAL:when=2+")   # before Linux 5.14; the first call is for BALLAST
    for inject, result in (((), "= 0"), (refused, "EINVAL")):
        subprocess.run(["strace", "-o", trace, "-e", "trace=madvise", *inject, restored / "bin/pyruntime", "--version"],
                       stdout=subprocess.DEVNULL, check=True)
        calls = [line for line in trace.read_text().splitlines() if "MADV_POPULATE_WRITE" in line]
        assert (len(calls) == 1) if inject else len(calls) > 50
        assert all(result in line for line in calls)


def test_pages_of_zeros_are_not_stored(restored: Path) -> None:
    found = (restored / "libexec/pyruntime.snapshot").stat()
    data = (restored / "libexec/pyruntime.snapshot").read_bytes()
    empty = sum(not data[at:at + 4096].strip(b"\0") for at in range(0, len(data), 4096))
    assert empty > 100
    assert found.st_blocks * 512 <= found.st_size - empty * 4096 + 65536


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
    assert restores(place, "pyimage", "--version")


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@pytest.mark.parametrize("caller", [None, ignore_children], ids=["", "without exit statuses"])
def test_a_snapshot_that_does_not_work_is_given_up(place: Path, caller: Callable[[], None] | None) -> None:
    """The trial of a new snapshot fails: commands start an interpreter, and do not try again and again."""
    front = place / "pyruntime/native/front/front"
    program = front.read_bytes()
    file = place / "libexec/pyimage.snapshot"
    file.unlink()
    front.write_bytes(b"#!/bin/false\n")
    try:
        assert run(place, "pyimage", "--version", preexec_fn=caller)[0] == 0
        assert 0 < file.stat().st_size < 256 * 1024
        inode = file.stat().st_ino
        assert execs(place, "pyimage", "--version") == 2
        assert file.stat().st_ino == inode, "taken again"
    finally:
        front.write_bytes(program)
    day = file.stat().st_mtime - 24 * 3600 - 60
    os.utime(file, (day, day))
    assert run(place, "pyimage", "--version")[0] == 0
    assert restores(place, "pyimage", "--version")


def test_one_process_writes_at_a_time(place: Path) -> None:
    file = place / "libexec/pyimage.snapshot"
    file.unlink()
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        assert run(place, "pyimage", "--version")[0] == 0 and not file.exists()
    finally:
        os.close(directory)
    assert run(place, "pyimage", "--version")[0] == 0 and file.exists()


def test_signals_that_the_writer_ignores_are_not_those_of_others(place: Path) -> None:
    (place / "libexec/pyruntime.snapshot").unlink()
    run(place, "pyruntime", "--version", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert restores(place, "pyruntime", "--version")
    assert b"Handlers.SIG_IGN" in both(place, "pyruntime", "features")[1]   # SIGPIPE


def take(place: Path, file: Path) -> subprocess.CompletedProcess[bytes]:
    packages = ":".join([str(place), *(path for path in sys.path if path.endswith("-packages"))])
    return subprocess.run([sys.executable, "-IS", place / "pyruntime/commandline/__main__.py", packages, "snapshot",
                           "pyimage", file, "usable"], capture_output=True, check=False)


def test_a_source_that_changes_meanwhile_is_noticed(place: Path, tmp_path: Path) -> None:
    """The snapshot would contain the old code and the new time."""
    source = place / "pyruntime/images/cli/ls.py"
    source.touch()
    problem = take(place, tmp_path / "late")   # a directory that was made before
    assert problem.returncode == 1 and f"{source}: changed while the snapshot was taken".encode() in problem.stderr
    tmp_path.touch()
    assert take(place, tmp_path / "taken").returncode == 0


def test_modules_with_private_state_are_refused(place: Path) -> None:
    command = place / "pyruntime/images/cli/ls.py"
    before = command.read_text()
    command.write_text(before.replace("from __future__ import annotations\n",
                                      "from __future__ import annotations\nimport threading\n", 1))
    try:
        problem = take(place, place / "refused")
        assert problem.returncode == 1 and b"threading: imported by a command of pyimage" in problem.stderr
        assert not (place / "refused").exists()
    finally:
        command.write_text(before)
