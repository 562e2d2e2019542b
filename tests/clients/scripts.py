"""Shell scripts that use a client: run once with each runtime in the same room, with their output compared."""

from __future__ import annotations

import difflib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.room import Room

# Functions for the scripts. A script fails if its output differs from that with the other runtime.
_TOOLS = """
status() { "$@"; echo "status $?"; }
quietly() { "$@" >/dev/null 2>&1; echo "status $?"; }
until_true() { for try in $(seq 300); do eval "$1" >/dev/null 2>&1 && return; sleep 0.1; done; echo "never true: $1"; }
tty() {
  shown=$(script -qec "$*" /dev/null </dev/null); status=$?
  # script(1) shows end of input, also as an empty line; clients then report that they cannot resize the terminal.
  echo "$shown" | sed -e 's/\\r//g' -e 's/\\^@//g' | grep -v -e '^$' -e 'resize pty' -e DEPRECATION
  echo "status $status"
}
facts='while read a b; do case $a in Cap*|NoNew*|Seccomp:) echo $a $b;; esac; done < /proc/self/status'
tree='mount | sort -k 3 | while read a b c d e f; do case $c:$e in
/proc*:proc|/:*|/sys:*|/dev:*|/dev/*|/data:*) echo $c $e $f;; /proc*) echo $c hidden;; esac; done'
"""
_CHANGING = [(re.compile(r"\b[0-9a-f]{64}\b"), "ID"), (re.compile(r"sha256:\w+"), "DIGEST"),
             (re.compile(r"upperdir=[^,)]*|workdir=[^,)]*|lowerdir=[^,)]*"), "overlay"),
             (re.compile(r"OCI runtime exec failed: .*(exec: .*?)(: unknown)?\n( *step \d.*\n)?"), r"\1\n"),
             # The specification requires a warning for each capability that cannot be granted; runc 1.1 prints none.
             (re.compile(r"^warning: config.json: .*\n(  .*\n)?", re.MULTILINE), ""),
             (re.compile(r"\b20\d\d-\d\d-\d\d[T ]\S+( \S+ UTC)?"), "TIME")]

# Errors of runc because of missing privileges on the host.
_RUNC_CANNOT = ("unable to apply caps: operation not permitted",)


def scripts(name: str) -> dict[str, str]:
    """The scripts of a file in this directory: shell text by title, each after a line ``## TITLE``."""
    parts = (Path(__file__).parent / name).read_text().split("\n## ")
    return dict(part.split("\n", 1) for part in parts[1:])


def played(room: Room, prelude: str, script: str, name: str) -> subprocess.CompletedProcess[str]:
    """Run a script; return the result with output that does not change from run to run."""
    done = room.run("sh", "-c", f"{_TOOLS}\nn={name}\n{prelude}\n{script}")
    shown = done.stdout.replace(name, "NAME")
    for pattern, word in _CHANGING:
        shown = pattern.sub(word, shown)
    done.stdout = shown
    return done


def assert_same(play: Callable[[str, str], subprocess.CompletedProcess[str]], number: int) -> None:
    """Play a script with each runtime: ``play(runtime, name)``. Check for the same exit status and output, and no
    timeouts. If they differ, runc's side is played again, at most twice: containerd loses a short program's output now
    and then, with the shim of runc. Ours is played once."""
    ours = play("pyruntime", f"ours-{number}")
    theirs = play("runc", f"runc-{number}")
    for again in (1, 2):
        if (theirs.stdout, theirs.returncode) != (ours.stdout, ours.returncode):
            theirs = play("runc", f"runc-{number}-{again}")
    for reason in _RUNC_CANNOT:
        if reason in theirs.stdout + theirs.stderr:
            pytest.skip(f"runc lacks privileges on this host: {reason}")
    differences = "\n".join(difflib.unified_diff(theirs.stdout.splitlines(), ours.stdout.splitlines(), "runc",
                                                 "pyruntime", lineterm=""))
    if differences or ours.returncode != theirs.returncode or "never true" in ours.stdout:
        pytest.fail(f"statuses {ours.returncode} and {theirs.returncode}\n{differences}\n"
                    f"--- pyruntime printed\n{ours.stdout}--- to standard error\n{_shown(ours.stderr)}"
                    f"--- runc, to standard error\n{_shown(theirs.stderr)}", pytrace=False)


def _shown(errors: str) -> str:
    return "".join(f"{line}\n" for line in errors.splitlines() if "DEPRECATION" not in line)
