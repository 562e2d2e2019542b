"""``docker_habits``: every line with docker and with pocker: the same output and exit status."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.docker import CLIENT, DAEMON, SOCKET, Docker
from tests.commands import BIN

_FILE = Path(__file__).parent / "docker_habits"
_SPANS = r"(?:Less than a second|About an? (?:minute|hour)|\d+ (?:second|minute|hour|day|week|month|year)s?)"
_ALIKE = [   # parts that differ from run to run, or by the size of a layer
    (r"\b(sha256:)?[0-9a-f]{64}\b", "ID"), (r"\b[0-9a-f]{12}\b", "SHORT"),
    (rf"(?:Up )?{_SPANS}(?: ago)?", "TIME"), (r"\b20\d\d-\d\d-\d\d[T ]\S+", "TIME"),
    (r"\b[\d.]+ ?[kMG]?B\b", "SIZE"), (r"[ \t]{2,}", "  "), (r" +$", "")]


def sections() -> dict[str, list[str]]:
    """The lines of the file by the titles before them."""
    found: dict[str, list[str]] = {}
    for line in _FILE.read_text().splitlines():
        if line.startswith("## "):
            found[line[3:]] = []
        elif line and not line.startswith("#"):
            found[list(found)[-1]].append(line)
    return found


def alike(text: str) -> str:
    for pattern, word in _ALIKE:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text


class Side:
    """One side: a shell whose ``docker`` is docker or pocker, in a separate directory."""

    def __init__(self, docker: Docker, path: Path, command: str) -> None:
        path.mkdir()
        self.docker = docker
        self.prelude = f"cd {path}; docker() {{ {command} \"$@\"; }}\n"

    def play(self, line: str) -> tuple[str, int, str]:
        """The normalised output of a line, its exit status, and its standard error."""
        done = self.docker.room.run("sh", "-c", self.prelude + line)
        return alike(done.stdout), done.returncode, done.stderr


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    for needed in (CLIENT, DAEMON, "/usr/bin/skopeo"):
        if not Path(needed).exists():
            pytest.fail(f"{needed} is not installed: run tools/install-deps test")
    path = tmp_path_factory.mktemp("habits")
    docker = Docker(path)
    try:
        places = f"--root {path}/root --run-root {path}/run --store {path}/store"
        pocker = f"{BIN}/pocker {places}"
        docker.room.ok("sh", "-c", f"{pocker} load -q -i {path}/box.tar")
        yield Side(docker, path / "docker", f"{CLIENT} --host {SOCKET}"), Side(docker, path / "pocker", pocker)
        docker.room.run("sh", "-c", f"{pocker} ps -aq | xargs -r {pocker} rm -f -v")
    finally:
        docker.close()


@pytest.mark.parametrize("title", sections())
def test_habits(sides: tuple[Side, Side], title: str) -> None:
    wrong = []
    for line in sections()[title]:
        theirs, ours = (side.play(line) for side in sides)
        if theirs[:2] != ours[:2]:
            wrong.append("\n".join((line, *(f"  {who}: status {status}\n    {out!r}\n    {error!r}" for who, (
                out, status, error) in (("docker", theirs), ("pocker", ours))))))
    assert not wrong, "\n".join(wrong)


def test_the_list_has_docker_commands() -> None:
    """At least the 25 most common commands."""
    used = {word for lines in sections().values() for line in lines for word in re.findall(r"docker ([a-z]+)", line)}
    assert {"build", "commit", "cp", "create", "diff", "exec", "export", "history", "images", "import", "info",
            "inspect", "kill", "load", "logs", "network", "pause", "port", "ps", "rename", "restart", "rm", "rmi",
            "run", "save", "start", "stats", "stop", "system", "tag", "top", "unpause", "version", "volume",
            "wait"} <= used
