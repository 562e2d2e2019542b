"""The output of the ``inspect`` commands: documents as JSON, or by a template, as Docker prints them."""

from __future__ import annotations

from pyruntime.commandline.parse import Flag
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FORMAT = Flag("format", "str", "json (on one line), or a template such as '{{.Id}}' (default: indented JSON)",
              short="f")


def show(form: str, found: Sequence[dict[str, Any]]) -> None:
    """Print the documents: a JSON array, or one line for each by a template. Raises UsageError for any other form."""
    if form in ("", "json"):
        out(encode(list(found), None if form else 4) + "\n")
        return
    for document in found:
        show_one(form, document)
    if not found:
        out("\n")   # as Docker: a script that reads a line gets one


def show_one(form: str, document: dict[str, Any]) -> None:
    """Print one document. Raises UsageError for an unknown form."""
    if form == "json":
        out(encode(document) + "\n")
        return
    if "{{" not in form:
        raise UsageError(f'--format "{form}": write json, or a template such as \'{{{{.{next(iter(document))}}}}}\'')
    from pyruntime.commandline.template import render  # lazy: only with a template

    out(render(form, document) + "\n")
