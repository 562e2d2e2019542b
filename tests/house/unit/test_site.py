"""The source of the documentation site. `make docs` runs Sphinx, which checks the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.commands import PROGRAMS
from docs.markdown import docstring, escaped
from docs.site.stage import adapted, places, stage, unlisted
from pyruntime.commandline.groups import every_command
from pyruntime.commandline.man import pages
from pyruntime.commandline.program import Program
from tests.conftest import TOP

FILE = Path("docs/guides/docker.md")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site") / "source"
    stage(directory)
    return directory


def test_every_document_has_a_page(site: Path) -> None:
    documents = {*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")}
    assert {TOP / file for file in places()} >= documents
    assert len(set(places().values())) == len(places())
    assert all((site / page).is_file() for page in places().values())


def test_links_between_pages_lead_somewhere(site: Path) -> None:
    count = 0
    for page in site.rglob("*.md"):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not re.match("[a-z]+:", target):
                assert (page.parent / target).is_file(), f"{page.relative_to(site)}: {target}"
                count += 1
    assert count > 100


def test_documents_without_a_place_are_listed_at_the_end() -> None:
    index = "text\n\n```{toctree}\n:caption: a\n\ntutorial\nThe plan <plan>\n```\n\n```{toctree}\nproject/*\n```\n"
    assert unlisted(index, ["tutorial", "plan", "project/hacking"]) == ""
    assert unlisted(index, ["tutorial", "new", "text"]) == (
        "\n```{toctree}\n:hidden:\n:caption: More\n\nnew\ntext\n```\n")


@pytest.mark.parametrize(("written", "shown"), [
    ("[build.md](../build.md)", "[](../build.md)"),
    ("[a](../build.md#secrets)", "[a](../build.md#secrets)"),
    ("[the README](../../README.md#errors)", "[the README](../overview.md#errors)"),
    ("[why](../decisions/)", "[why](../decisions/index.md)"),
    ("[core](../../tests/vm/core.toml)", "core (`tests/vm/core.toml`)"),
    ("![p](../../bench/results/few.svg)", "![p](../bench/results/few.svg)"),
    ("[x](https://criu.org) [y](#here)", "[x](https://criu.org) [y](#here)"),
    ("```\n[build.md](../build.md)\n```", "```\n[build.md](../build.md)\n```")])
def test_links_are_adapted(written: str, shown: str) -> None:
    assert adapted(written, FILE, places()) == shown


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program.name))
def test_every_command_is_in_the_reference_and_has_a_manual_page(program: Program, site: Path) -> None:
    text, manual = (site / f"commands/{program.name}.md").read_text(), pages(program)
    for words, command in every_command(program).items():
        assert re.search(rf"^##+ {program.name} {words}$", text, re.M), words
        assert f"{program.name}-{words.replace(' ', '-')}.1" in manual, words
        for flag in command.flags:
            assert flag.hidden or f"`--{flag.name}`" in text, (words, flag.name)


def test_texts_as_markdown() -> None:
    assert escaped("a_b *c* [d] <e> `f*g` _h") == r"a_b \*c\* \[d\] \<e\> `f*g` \_h"
    assert docstring("It does.\n\n``a``, ``b``  one\n    more\n``c``   two\n\nEnd with ``c`` here.") == (
        "It does.\n\n* `a`, `b`: one\n  more\n* `c`: two\n\nEnd with `c` here.")
    assert docstring("Text.\n``a``  one") == "Text.\n\n* `a`: one"
