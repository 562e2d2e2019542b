"""What commands print of images: documents for ``--format``, ages and short IDs for people."""

from __future__ import annotations

from pyruntime.cli.parse import Flag
from pyruntime.cli.program import out
from pyruntime.config.decode import encode
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyruntime.image.images import Image

FORMAT = Flag("format", "str", "table, json, or a template such as '{{.Id}}'", short="f", default="table")


def show(form: str, value: Any, headings: Mapping[str, str] | None = None,
         texts: Callable[[Any], dict[str, Any]] = lambda item: item) -> bool:
    """Print a value as JSON or by a template, item by item for a list; False for "table", which is the caller's.

    ``headings``: what columns of ``table TEMPLATE`` are called, where it is not the member's name; ``texts``: an item
    as templates see it.
    """
    if form == "table":
        return False
    items = value if isinstance(value, list) else [value]
    if form == "json":
        out(encode(value, 1) + "\n")
    elif "{{" not in form:
        raise UsageError(f'--format "{form}": write table, json, or a template such as \'{{{{.Name}}}}\'')
    else:
        out(by_template(form, items, headings, texts))
    return True


def by_template(form: str, items: Sequence[Any], headings: Mapping[str, str] | None = None,
                texts: Callable[[Any], dict[str, Any]] = lambda item: item) -> str:
    """A line for each item; a table with a heading for ``table TEMPLATE``, whose columns are apart by tabs."""
    from pyruntime.cli.template import heading, render

    if not form.startswith("table "):
        return "".join(render(form, texts(item)) + "\n" for item in items)
    from pyruntime.cli.table import columns

    form = form.removeprefix("table ")
    rows = [heading(form, headings or {}), *(render(form, texts(item)) for item in items)]
    cells = [row.split("\t") for row in rows]
    width = max(map(len, cells))
    return columns([[*row, *[""] * (width - len(row))] for row in cells])


def short(digest: str) -> str:
    """Twelve digits of a digest, as people quote IDs."""
    return digest.partition(":")[2][:12]


def describe(image: Image) -> dict[str, Any]:
    """An image as `docker inspect` shows it, with its manifest."""
    document = image.config.document
    platform = "/".join(str(document.get(key)) for key in ("os", "architecture", "variant") if document.get(key))
    repositories = {name.partition("@")[0].rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
                    for name in image.names}
    return {
        "Id": image.id, "RepoTags": [name for name in image.names if "@" not in name],
        "RepoDigests": sorted(f"{name}@{image.root.digest}" for name in repositories),
        "Digest": image.root.digest, "Manifest": image.descriptor.digest, "MediaType": image.manifest.media_type,
        "Created": document.get("created", ""), "Author": document.get("author", ""), "Platform": platform,
        "Architecture": document.get("architecture", ""), "Variant": document.get("variant", ""),
        "Os": document.get("os", ""), "Size": image.size, "Config": image.config.config,
        "RootFS": {"Type": "layers", "Layers": image.config.diff_ids},
        "Layers": [layer.json() for layer in image.manifest.layers], "Annotations": image.manifest.annotations}


def age(created: str) -> str:
    """How long ago a time of RFC 3339 was, in words; "" for one that is not there or is none.

    For tables alone: dateutil costs a listing more than all the rest.
    """
    if not created:
        return ""
    from datetime import UTC, datetime

    from dateutil.parser import ParserError, isoparse
    from dateutil.relativedelta import relativedelta

    try:
        # To the second: it reads no more than six digits after it.
        then = isoparse(created[:19] + created[19:].lstrip(".0123456789"))
    except (ParserError, ValueError, OverflowError):
        return ""
    since = relativedelta(datetime.now(UTC), then if then.tzinfo else then.replace(tzinfo=UTC))
    for unit in ("years", "months", "weeks", "days", "hours", "minutes"):
        count = getattr(since, unit) - (7 * since.weeks if unit == "days" else 0)
        if count > 0:
            return f"{count} {unit if count > 1 else unit[:-1]} ago"
    return "just now"
