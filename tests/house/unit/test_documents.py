"""The documents are right: their commands run and print the documented output, and the names in them exist.

Commands are in fenced ``console`` blocks: after ``$`` those that any user can run, after ``#`` those that need root
(run by tests/house/integration/test_documents.py). One shell runs all commands of a document, in an empty directory
that the documents call /containers. ``...`` matches any text; numbers of steps and processes, times and column widths
may differ.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.conftest import TOP
from tests.criu import provided

DOCUMENTS = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "bench").glob("*.md")])
NAMES = [str(path.relative_to(TOP)) for path in DOCUMENTS]
WITH_COMMANDS = [name for name in NAMES if "```console" in (TOP / name).read_text()]
FENCE = re.compile(r"^( *)```console\n(.*?)^ *```$", re.M | re.S)
# A killed container takes a moment to exit, which a reader who types the commands does not notice.
PRELUDE = """
export HOME={home} POCKER_ROOT={home}/pocker POCKER_RUN={home}/run LC_ALL=C TZ=UTC
pyruntime() {{
    {command} --root {home}/state "$@"
    local status=$?
    case " $* " in *" kill "*) sleep 0.5 ;; esac
    return $status
}}
pyimage() {{
    {command_directory}/pyimage --root {home}/store "$@"
}}
pocker() {{
    {command_directory}/pocker --root {home}/pocker --run-root {home}/run --store {home}/store "$@"
}}
cd {work}
"""


class Example:
    """One command, whether it needs root, and the output that the document shows."""

    def __init__(self, command: str, root: bool, line: int) -> None:
        self.command = command
        self.root = root
        self.line = line
        self.expected: list[str] = []
        self.needs_criu = bool(re.search(r"pyruntime (checkpoint|restore)\b", command))


def examples(document: str) -> list[Example]:
    """The commands of a document, in order."""
    text = (TOP / document).read_text()
    found: list[Example] = []
    for block in FENCE.finditer(text):
        indent, first = len(block[1]), text.count("\n", 0, block.start(2)) + 1
        before = len(found)
        for number, line in enumerate(block[2].splitlines(), first):
            line = line[indent:]
            if line.startswith(("$ ", "# ")):
                found.append(Example(line[2:], line[0] == "#", number))
            else:
                assert len(found) > before, f"{document}:{number}: output before the first command"
                found[-1].expected.append(line)
    return found


def plain(text: str, work: str) -> list[str]:
    """Output without parts that differ between hosts and runs, and with the usual paths of pocker's directories."""
    text = text.replace(f"{Path(work).parent}/home/pocker", "/var/lib/pocker")
    text = text.replace(work, "/containers")
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
    text = re.sub(r"^ *\d+ (host|stub|init) ", r"N \1 ", text, flags=re.M)
    text = re.sub(r"step \d+ of \d+", "step N of N", text)
    text = re.sub(r'"pid": [1-9]\d*', '"pid": N', text)
    text = re.sub(r"^(\S+ +)\d+( +running )", r"\1N\2", text, flags=re.M)
    lines = [re.sub(" +", " ", line).strip() for line in text.splitlines()]
    return [line for line in lines if line]


def matches(expected: list[str], output: list[str]) -> bool:
    """Whether the lines match; a line ``...`` matches any number of lines, ``...`` in a line any text."""
    if not expected:
        return not output
    if expected[0] == "...":
        return any(matches(expected[1:], output[start:]) for start in range(len(output) + 1))
    pattern = ".*".join(map(re.escape, expected[0].split("...")))
    return bool(output) and re.fullmatch(pattern, output[0]) is not None and matches(expected[1:], output[1:])


def _output(command: list[str], environment: dict[str, str], file: Path) -> str:
    """What a command prints until it ends. It prints into a pipe: CRIU brings no file back that has grown meanwhile.
    A created container keeps the pipe open, so its end is not awaited."""
    with file.open("w") as output, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=output) as reader:
        assert reader.stdin is not None
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=reader.stdin, stderr=subprocess.STDOUT,
                       timeout=120, check=False, env=environment)
        deadline = time.monotonic() + 30
        while not (text := file.read_text()).endswith("@@end@@\n"):
            assert time.monotonic() < deadline, text
            time.sleep(0.02)
        reader.kill()
    return text.removesuffix("@@end@@\n")


def play(document: str, directory: Path, *, root: bool) -> None:
    """Run the commands of a document and compare their output; without ``root`` only those after ``$``."""
    chosen = [example for example in examples(document) if root or not example.root]
    environment, reason = {**os.environ}, ""
    if any(example.needs_criu for example in chosen):
        criu, reason = provided()
        environment["PATH"] = f"{criu}:{environment['PATH']}"
        if reason:
            chosen = [example for example in chosen if not example.needs_criu]
    work, home = directory / "containers", directory / "home"
    work.mkdir()
    home.mkdir()
    script = PRELUDE.format(home=home, work=work, command=COMMAND, command_directory=COMMAND.parent)
    for number, example in enumerate(chosen):
        command = re.sub(r"(?<!\S)/containers", str(work), example.command)
        command = re.sub(r"(?<!\S)/run/pocker/", f"{home}/run/", command)
        script += f"echo '@@{number}@@'\n{command}\n"
    if root:   # leftovers of a document that failed
        script += 'left=$(pocker ps -aq); [ -z "$left" ] || pocker rm -f -v $left >/dev/null\n'
    script += "echo '@@end@@'\n"
    # In a network namespace: containers with published ports do not affect the host's network.
    apart = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"] if root else []
    parts = re.split(r"^@@\d+@@\n", _output([*apart, "bash", "-c", script], environment, directory / "output"),
                     flags=re.M)[1:]
    assert len(parts) == len(chosen)
    for example, part in zip(chosen, parts, strict=True):
        expected, shown = plain("\n".join(example.expected), str(work)), plain(part, str(work))
        if not matches(expected, shown):
            pytest.fail(f"{document}:{example.line}: {example.command}\n{part}", pytrace=False)
    if reason:
        pytest.skip(f"the other examples are right; those of checkpoint and restore were not run: {reason}")


@pytest.mark.parametrize("document", WITH_COMMANDS)
def test_commands_that_need_no_root(document: str, tmp_path: Path) -> None:
    if not Path("/bin/busybox").exists():
        pytest.skip("the examples use busybox-static")
    play(document, tmp_path, root=False)


def test_matching() -> None:
    assert matches(["a", "...", "b"], ["a", "b"]) and matches(["a", "...", "b"], ["a", "x", "y", "b"])
    assert matches(["..."], []) and matches(["x ... y"], ["x 1 y"]) and matches([], [])
    assert not matches(["a"], []) and not matches([], ["a"]) and not matches(["a", "..."], ["b"])


@pytest.mark.parametrize("document", NAMES)
def test_links_lead_somewhere(document: str) -> None:
    path = TOP / document
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        assert re.match("https?://", link) or (path.parent / link).exists(), link


@pytest.mark.parametrize("document", NAMES)
def test_make_targets_exist(document: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (TOP / "Makefile").read_text(), re.M))
    text = (TOP / document).read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", text, re.M))
    assert named <= targets, named - targets


def test_the_python_example_uses_the_library() -> None:
    """The README's example uses only existing names; tests/library/integration/test_library.py runs the calls."""
    from pyruntime import Engine, Runtime, State

    code = "\n".join(re.findall(r"```python\n(.*?)```", (TOP / "README.md").read_text(), re.S))
    compile(code, "README.md", "exec")
    for name in re.findall(r"runtime\.(\w+)\(", code):
        assert callable(getattr(Runtime, name)), name
    for name in re.findall(r"engine\.(\w+)\(", code):
        assert callable(getattr(Engine, name)), name
    assert "status" in State.__slots__


def test_the_reference_of_the_plan_is_up_to_date() -> None:
    from docs.generate import reference

    assert (TOP / "docs/plan.md").read_text() == reference(), "run `python -m docs.generate > docs/plan.md`"


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"\| \[(\d{4})\]\((\S+)\) \| (.+) \|", (TOP / "docs/decisions/README.md").read_text())
    pages = sorted((TOP / "docs/decisions").glob("[0-9]*.md"))
    assert [name for _, name, _ in listed] == [page.name for page in pages]
    for number, name, title in listed:
        text = (TOP / "docs/decisions" / name).read_text()
        assert text.startswith(f"# {number}: {title}\n"), name
        assert re.findall("^## (.+)", text, re.M) == ["Context", "Choice", "Price"], name


def test_the_documented_tree_of_errors_is_that_of_the_code() -> None:
    from pyruntime import errors

    tree = re.search(r"^    PyruntimeError .*?\n\n", str(errors.__doc__), re.M | re.S)
    assert tree
    lines = [line.removeprefix("    ") for line in tree[0].rstrip().splitlines()]
    assert "\n".join(lines) in (TOP / "docs/errors.md").read_text()


# --- help texts ------------------------------------------------------------------------------------------------------

def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The command, as called by a user."""
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)


def commands() -> list[str]:
    """The commands of the program."""
    from pyruntime.runtime.cli.main import COMMANDS

    return list(COMMANDS)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], []])
def test_the_overview_names_every_command(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    for name in commands():
        assert re.search(rf"^   {name} +\S", done.stdout, re.M), name


@pytest.mark.parametrize("name", commands())
def test_the_help_of_a_command(name: str) -> None:
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"NAME:\n   pyruntime {name} - ")
    assert f"USAGE:\n   pyruntime {name}" in done.stdout and "   --help, -h" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert run("help", name).stdout == run(name, "-h").stdout == done.stdout


def test_the_readme_shows_every_command() -> None:
    used = {word for example in examples("README.md") for word in re.findall(r"pyruntime ([a-z]+)", example.command)}
    assert used == set(commands()), used ^ set(commands())


def test_every_option_in_the_documents_exists() -> None:
    """Options of the command, and of pocker, that documents name in backticks."""
    from pyruntime.pocker.cli.build import COMMAND as BUILD
    from pyruntime.pocker.cli.main import GLOBAL
    from pyruntime.pocker.cli.run import COMMAND as RUN

    helps = "".join(run(name, "--help").stdout for name in commands()) + run("--help").stdout
    helps += "".join(f" --{flag.name}" for flag in (*GLOBAL.flags, *RUN.flags, *BUILD.flags))
    options = set(re.findall(r"--[a-z][a-z-]+", helps))
    for document in ("README.md", "HACKING.md", "CHANGELOG.md", "docs/errors.md", "docs/pocker-run.md",
                     "docs/tutorial.md"):
        for quoted in re.findall(r"`(--[a-z][a-z-]+)[^`]*`", (TOP / document).read_text()):
            assert quoted in options or quoted == "--read", f"{document}: {quoted}"
