"""``python -m docs.site.stage DIRECTORY``: write the source of the documentation site, from which Sphinx builds it.

The documents are written to be read where they are, too: in a checkout, with links from file to file. Here each gets
its place in the site, and its links are adapted: they lead to the place of a document, and show its title instead of
the name of its file; a file that is not in the site is only named.
The pages of the commands are written here as well.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from docs.commands import PROGRAMS, page

TOP = Path(__file__).resolve().parents[2]
# Documents outside docs/, or with another place in the site than below docs/: file -> page
PLACES = {"docs/site/index.md": "index.md", "README.md": "overview.md", "bench/README.md": "bench/method.md",
          "bench/results/runtime.md": "bench/results.md", "conformance/README.md": "conformance.md",
          "docs/decisions/README.md": "decisions/index.md"}
# What the site adds to a page: the decisions are listed by a table, which is no table of contents to Sphinx.
ADDED = {Path("decisions/index.md"): "\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"}
_FENCE = re.compile(r"(^ *```.*?^ *```$)", re.M | re.S)
_LINK = re.compile(r"(!?)\[((?:[^][]|\[[^][]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
_FILE = re.compile(r"[\w./-]+(\.md|/)")


def places() -> dict[Path, Path]:
    """The documents of the site: file -> page, both relative."""
    found = {path.relative_to(TOP): path.relative_to(TOP / "docs") for path in (TOP / "docs").rglob("*.md")}
    found |= {path.relative_to(TOP): Path("project", path.name.lower()) for path in TOP.glob("*.md")}
    return found | {Path(file): Path(place) for file, place in PLACES.items()}


def adapted(text: str, file: Path, table: dict[Path, Path]) -> str:
    """The text of a document with the links of its page."""
    parts = _FENCE.split(text)
    return "".join(part if _FENCE.match(part) else _LINK.sub(partial(_link, file=file, table=table), part)
                   for part in parts)


def _link(found: re.Match[str], file: Path, table: dict[Path, Path]) -> str:
    mark, text, target, fragment = found.groups(default="")
    if not target or re.match("[a-z]+:", target):
        return found[0]
    goal = Path(os.path.normpath(file.parent / target))
    goal = next((entry for entry in (goal, goal / "README.md") if entry in table), goal)
    if goal not in table and not mark:
        return text if target in text else f"{text} (`{goal}`)"
    there = os.path.relpath(table.get(goal, goal), table[file].parent)
    shown = "" if _FILE.fullmatch(text) and not mark else text   # a link without a text shows the title of its goal
    return f"{mark}[{shown}]({there}{fragment})"


def unlisted(index: str, names: list[str]) -> str:
    """A last, hidden table of contents for the pages that no table of the first page lists."""
    entries = re.findall(r"^(?:[^<\n]+ <)?([\w/*-]+)>?$", index[index.index("```{toctree}"):], re.M)
    left = sorted(name for name in names if not any(fnmatch(name, entry) for entry in entries))
    return "\n".join(["", "```{toctree}", ":hidden:", ":caption: More", "", *left, "```", ""]) if left else ""


def stage(directory: Path) -> None:
    """Write the source of the site, in place of an older one."""
    shutil.rmtree(directory, ignore_errors=True)
    table = places()
    pages = {table[file]: adapted((TOP / file).read_text(), file, table) + ADDED.get(table[file], "") for file in table}
    pages |= {Path("commands", f"{program.name}.md"): page(program) for program in PROGRAMS}
    pages |= {path.relative_to(TOP): path.read_text() for path in (TOP / "bench/results").glob("*.svg")}
    names = [str(name.with_suffix("")) for name in pages if name.suffix == ".md" and name.parent != Path("decisions")]
    pages[Path("index.md")] += unlisted(pages[Path("index.md")], [name for name in names if name != "index"])
    for name, text in pages.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
