"""What commands print of images: documents for ``--format``, ages and short IDs for people."""

from __future__ import annotations

from pyruntime.commandline.parse import Flag
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyruntime.images.lookup import Image

# Imports in functions: start-up (decision 0007).

_WIDTH = 10   # of a column at least, as Docker has it
FORMAT = Flag("format", "str", "output format: table, json, or a template such as '{{.Id}}'", short="f",
              default="table")


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
    from pyruntime.commandline.template import heading, render

    if not form.startswith("table "):
        return "".join(render(form, texts(item)) + "\n" for item in items)
    from pyruntime.commandline.table import columns

    form = form.removeprefix("table ")
    rows = [heading(form, headings or {}), *(render(form, texts(item)) for item in items)]
    cells = [row.split("\t") for row in rows]
    width = max(map(len, cells))
    return columns([[*row, *[""] * (width - len(row))] for row in cells], least=_WIDTH)


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


_HOUR, _DAY = 3600, 24 * 3600
# Below so many seconds a span is counted in units of so many seconds, as Docker's lists have it.
_SPANS = ((60, 1, "second"), (_HOUR, 60, "minute"), (48 * _HOUR, _HOUR, "hour"), (14 * _DAY, _DAY, "day"),
          (60 * _DAY, 7 * _DAY, "week"), (730 * _DAY, 30 * _DAY, "month"), (1 << 62, 365 * _DAY, "year"))


def duration(seconds: float) -> str:
    """A span in words: ``5 seconds``, ``About a minute``, ``3 weeks``."""
    if seconds < 1:
        return "Less than a second"
    if seconds >= _HOUR:
        seconds = int(seconds / _HOUR + 0.5) * _HOUR   # from an hour on, the nearest number of hours counts
    _, size, unit = next(span for span in _SPANS if seconds < span[0])
    count = int(seconds // size)
    if count == 1 and unit in ("minute", "hour"):
        return f"About {'an' if unit == 'hour' else 'a'} {unit}"
    return f"{count} {unit}{'s' if count > 1 else ''}"


def age(created: str) -> str:
    """How long ago a time of RFC 3339 was, in words; "" for one that is not there or is none."""
    span = since(created)
    return f"{span} ago" if span else ""


def since(created: str) -> str:
    """How much time has passed since a time of RFC 3339; "" for one that is not there or is none."""
    from time import time

    when = instant(created)
    return "" if when is None else duration(time() - when)


def instant(created: str) -> float | None:
    """A time of RFC 3339 in seconds since 1970, by which times with different zones and digits can be compared; None
    for one that is not there or is none."""
    from datetime import UTC, datetime

    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return None
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()


def is_before(created: str, other: str) -> bool:
    """Whether one time of RFC 3339 comes before another. One that is none comes before all, as Docker has it."""
    first, second = instant(created), instant(other)
    return second is not None and (first is None or first < second)
