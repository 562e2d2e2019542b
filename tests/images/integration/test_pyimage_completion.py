"""Completion scripts, in their shells."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.commands import BIN
from tests.conftest import TOP
from tests.images.integration.command import Pyimage

ENVIRONMENT = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}


def script(program: str, shell: str) -> str:
    """The script of a program."""
    done = subprocess.run([BIN / program, "completion", shell], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def bash(program: str, line: str) -> list[str]:
    """The completions of bash at the end of a line, split into words by readline, also at colons."""
    words = [word for part in line.split(" ") for word in (part.replace(":", " : ").split() if part else [""])]
    body = (f"{script(program, 'bash')}\nCOMP_LINE={shlex.quote(line)} COMP_POINT={len(line)} COMP_TYPE=9\n"
            f"COMP_WORDS=({' '.join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}\n"
            f"_{program} {program} x y; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    done = subprocess.run(["bash", "-uc", body], capture_output=True, text=True, check=True, env=ENVIRONMENT,
                          timeout=60)
    assert done.stderr == "", done.stderr
    return done.stdout.split()


def test_bash(loaded: Pyimage) -> None:
    store = f"pyimage --root {loaded.store}"
    assert bash("pyimage", "pyimage un") == ["unpack"]
    assert bash("pyimage", "pyimage --ro") == ["--root"]
    assert bash("pyimage", "pyimage --root ") == [], "files, by readline itself"
    assert set(bash("pyimage", "pyimage unpack --")) >= {"--driver", "--platform", "--volumes", "--help"}
    assert bash("pyimage", f"{store} rm b") == ["busy:1"]
    assert bash("pyimage", f"{store} rm -f docker.io/library/d") == ["docker.io/library/dock:1"]
    assert bash("pyimage", f"{store} rm busy:") == ["1"], "the part after the colon, where readline splits"
    assert bash("pyimage", f"{store} save -o ") == [], "the value of an option is no image"
    assert bash("pyimage", f"{store} save -o x bu") == ["busy:1"]
    assert bash("pyimage", f"{store} pull bu") == [], "an image that is not in the store is not offered"


def test_bash_for_the_runtime() -> None:
    assert bash("pyruntime", "pyruntime st") == ["start", "state"]
    assert "--bundle" in bash("pyruntime", "pyruntime create --b")


@pytest.mark.parametrize("program", ["pyimage", "pyruntime"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_known(program: str, shell: str, loaded: Pyimage) -> None:
    text = script(program, shell)
    helped = subprocess.run([BIN / program, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    commands = [line.split()[0] for line in helped.partition("COMMANDS:\n")[2].partition("\n\n")[0].splitlines()]
    assert "completion" in commands and all(command in text for command in commands)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: the script's syntax is not checked")
    path = loaded.path / f"script.{shell}"
    path.write_text(text)
    subprocess.run([shell, "-n", path], check=True, timeout=60, capture_output=True)


def test_fish(loaded: Pyimage) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed: its completions are not checked")

    def offered(line: str) -> list[str]:
        done = subprocess.run(["fish", "--no-config", "-c", f"source {loaded.path}/script; complete -C"
                               f" {shlex.quote(line)}"], capture_output=True, text=True, check=True, timeout=60,
                              env={**ENVIRONMENT, "HOME": str(loaded.path), "PYRUNTIME_STORE": str(loaded.store)})
        assert done.stderr == "", done.stderr
        return [text.partition("\t")[0] for text in done.stdout.splitlines()]

    (loaded.path / "script").write_text(script("pyimage", "fish"))
    assert offered("pyimage un") == ["unpack"] and offered("pyimage unpack --dr") == ["--driver"]
    assert "docker.io/library/busy:1" in offered("pyimage rm docker.io") and "busy:1" in offered("pyimage rm bu")


def test_manual_pages(loaded: Pyimage) -> None:
    """A page for each program and each of its commands, which groff formats without a warning."""
    subprocess.run([sys.executable, "-m", "docs.man", loaded.path / "man"], check=True, timeout=60, cwd=TOP)
    pages = {path.name: path for path in (loaded.path / "man").iterdir()}
    for program in ("pyimage", "pyruntime"):
        helped = subprocess.run([BIN / program, "--help"], capture_output=True, text=True, check=True).stdout
        commands = [line.split()[0] for line in helped.partition("COMMANDS:\n")[2].partition("\n\n")[0].splitlines()]
        assert {f"{program}.1", *(f"{program}-{command}.1" for command in commands)} <= set(pages)
    assert json.dumps("--driver VALUE")[1:-1] in pages["pyimage-unpack.1"].read_text().replace("\\-", "-").replace(
        "\\fR \\fI", " ").replace("\\fR", "")
    if not shutil.which("groff"):
        pytest.skip("groff is not installed: the pages' syntax is not checked")
    for path in pages.values():
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", path], capture_output=True, check=True, timeout=60)
        assert done.stderr == b"", (path.name, done.stderr)
        text = re.sub(r".\x08|\x1b\[\d*m", "", done.stdout.decode())   # bold letters
        assert "NAME" in text and "SYNOPSIS" in text
