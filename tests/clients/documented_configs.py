"""The configurations in docs/clients.md, with this tree's pyruntime: the tests use the text that users copy."""

from __future__ import annotations

import re

from tests.commands import COMMAND
from tests.conftest import TOP

PYRUNTIME = str(COMMAND)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def block(kind: str, word: str) -> str:
    """The only block of a language that contains a word."""
    text = (TOP / "docs/clients.md").read_text()
    found = [body for shown, body in _BLOCK.findall(text) if shown == kind and word in body]
    assert len(found) == 1, (kind, word, found)
    return str(found[0]).replace("/usr/local/bin/pyruntime", PYRUNTIME)
