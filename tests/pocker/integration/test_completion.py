"""The completions of the shells after `pocker`: commands of one and two words, options, and names of all objects."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import BIN
from tests.pocker.integration.command import Pocker

OFFERS = [
    ("pocker net", "network"), ("pocker network ", "connect create disconnect inspect ls prune reload rm"),
    ("pocker network r", "reload rm"), ("pocker builder ", "build prune"), ("pocker system pr", "prune"),
    ("pocker network create --int", "--internal"), ("pocker image ls --no-", "--no-trunc"),
    ("pocker ps --no-", "--no-trunc"), ("pocker stop mybo", "mybox"), ("pocker container stop mybo", "mybox"),
    ("pocker exec mybo", "mybox"), ("pocker rmi busy", "busybox:latest"), ("pocker image rm busy", "busybox:latest"),
    ("pocker run --rm busy", "busybox:latest"), ("pocker network rm bri", "bridge"),
    ("pocker volume rm myda", "mydata"),
    ("pocker volume inspect myda", "mydata"), ("pocker network connect bridge mybo", "mybox"),
    ("pocker inspect myda", "mydata"), ("pocker inspect mybo", "mybox"), ("pocker inspect bri", "bridge")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Pocker]:
    """A container, an image, a network and a volume."""
    made = Pocker(tmp_path_factory.mktemp("completion"), store)
    made.environment["PATH"] = f"{BIN}:{made.environment['PATH']}"
    made.ok("create", "--name", "mybox", "--network", "none", "busybox")
    made.ok("volume", "create", "mydata")
    for shell in ("bash", "zsh", "fish"):
        (made.path / shell).write_text(made.ok("completion", shell) + "\n")
    yield made
    made.ok("rm", "mybox")
    made.ok("volume", "rm", "mydata")


def _bash(world: Pocker, line: str) -> str:
    words = [word for part in line.split(" ") for word in (part.replace(":", " : ").split() if part else [""])]
    body = (f". {world.path}/bash\nCOMP_LINE={shlex.quote(line)} COMP_POINT={len(line)} COMP_TYPE=9\n"
            f"COMP_WORDS=({' '.join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}\n"
            "_pocker pocker x y; printf '%s\\n' \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "-uc", body], capture_output=True, text=True, check=True, env=world.environment)
    assert done.stderr == "", done.stderr
    return done.stdout


def _fish(world: Pocker, line: str) -> str:
    done = subprocess.run(["fish", "--no-config", "-c", f"source {world.path}/fish; complete -C {shlex.quote(line)}"],
                          capture_output=True, text=True, check=True, env=world.environment)
    assert done.stderr == "", done.stderr
    return "\n".join(text.partition("\t")[0] for text in done.stdout.splitlines())


def _zsh(world: Pocker, line: str, directory: Path | str = "/proc/self/fdinfo") -> str:
    """The completions that zsh lists at the end of a line: on a terminal, because they do not work elsewhere."""
    setup = (f"autoload -Uz compinit; compinit -u -D; . {world.path}/zsh; bindkey '^I' list-choices;"
             " zstyle ':completion:*' verbose no; PS1=; cd {directory}; print rea'dy'\n")
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**world.environment, "TERM": "dumb", "COLUMNS": "200"})
    try:
        _until(master, setup, "ready")
        return _until(master, f"{line}\t", None)
    finally:
        os.close(master)
        os.waitpid(pid, 0)


def _until(master: int, text: str, wanted: str | None) -> str:
    """Type a text, and read until ``wanted`` appears, or for None until there is no output for two seconds."""
    import select

    os.write(master, text.encode())
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([master], [], [], 2)[0]:
            seen += os.read(master, 65536)
            if wanted and wanted.encode() in seen:
                break
        elif wanted is None and seen.strip() != text.strip().encode():
            break
    return seen.decode(errors="replace").replace("\r", "")


@pytest.mark.parametrize(("line", "offered"), OFFERS)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_completions(world: Pocker, shell: str, line: str, offered: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    said = (_bash if shell == "bash" else _fish)(world, line).split()
    assert set(offered.split()) <= set(said)
    if offered not in ("bridge", "network"):
        assert set(said) - set(offered.split()) <= {"--help"}, "and nothing else"


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_files_do_not_stand_among_names(world: Pocker, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home directory is full of files. They are offered only for arguments that may be a file."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (world.path / "myfile").touch()
    monkeypatch.chdir(world.path)

    def ask(line: str) -> str:
        return {"bash": _bash, "fish": _fish}[shell](world, line) if shell != "zsh" else _zsh(world, line, world.path)
    said = ask("pocker rm my")
    assert "mybox" in said and "myfile" not in said, said
    if shell != "bash":   # readline adds them by itself
        assert "myfile" in ask("pocker cp myf")


@pytest.mark.parametrize(("line", "offered"), [
    ("pocker network ", "disconnect reload"), ("pocker volume rm my", "mydata"), ("pocker stop my", "mybox"),
    ("pocker image ls --no", "--no-trunc")])
def test_zsh_that_has_sourced_the_script(world: Pocker, line: str, offered: str) -> None:
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    said = _zsh(world, line)
    assert all(word in said for word in offered.split()), said
