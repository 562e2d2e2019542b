"""``inspect`` and the like: documents as JSON, or a template over each of them, as Docker prints them."""

from __future__ import annotations

from pyruntime.commandline.parse import Flag
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FORMAT = Flag("format", "str", "json (all in one line), or a template such as '{{.Id}}' [default: JSON, indented]",
              short="f")


def show(form: str, found: Sequence[dict[str, Any]]) -> None:
    """Print the documents: a JSON array, or a line for each by a template. Raises UsageError for another form."""
    if form in ("", "json"):
        out(encode(list(found), None if form else 4) + "\n")
        return
    for document in found:
        show_one(form, document)
    if not found:
        out("\n")   # as Docker: a script that reads a line gets one


def show_one(form: str, document: dict[str, Any]) -> None:
    """Print a document that stands alone. Raises UsageError for a form that is none."""
    if form == "json":
        out(encode(document) + "\n")
        return
    if "{{" not in form:
        raise UsageError(f'--format "{form}": write json, or a template such as \'{{{{.{next(iter(document))}}}}}\'')
    from pyruntime.commandline.template import render

    out(render(form, document) + "\n")
