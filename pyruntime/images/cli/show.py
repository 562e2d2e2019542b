"""Output of commands about images: documents for ``--format``, ages and short IDs."""

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

_WIDTH = 10   # minimum of a column, as in Docker's lists
FORMAT = Flag("format", "str", "output format: table, json, or a template such as '{{.Id}}'", short="f",
              default="table")


def show(form: str, value: Any, headings: Mapping[str, str] | None = None,
         texts: Callable[[Any], dict[str, Any]] = lambda item: item) -> bool:
    """Print a value as JSON or by a template, item by item for a list; False for "table", which the caller prints.

    ``headings``: headings of ``table TEMPLATE`` that differ from the member's name; ``texts``: an item as templates see
    it.
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
    """A line for each item; for ``table TEMPLATE`` a table with a heading, whose columns are separated by tabs."""
    from pyruntime.commandline.template import heading, render  # lazy: only when the command runs

    if not form.startswith("table "):
        return "".join(render(form, texts(item)) + "\n" for item in items)
    from pyruntime.commandline.table import columns  # lazy: only when the command runs

    form = form.removeprefix("table ")
    rows = [heading(form, headings or {}), *(render(form, texts(item)) for item in items)]
    cells = [row.split("\t") for row in rows]
    width = max(map(len, cells))
    return columns([[*row, *[""] * (width - len(row))] for row in cells], least=_WIDTH)


def short(digest: str) -> str:
    """Twelve digits of a digest, as in lists."""
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
# A duration below the first number of seconds is counted in units of the second number, as in Docker's lists.
_SPANS = ((60, 1, "second"), (_HOUR, 60, "minute"), (48 * _HOUR, _HOUR, "hour"), (14 * _DAY, _DAY, "day"),
          (60 * _DAY, 7 * _DAY, "week"), (730 * _DAY, 30 * _DAY, "month"), (1 << 62, 365 * _DAY, "year"))


def duration(seconds: float) -> str:
    """A duration in words: ``5 seconds``, ``About a minute``, ``3 weeks``."""
    if seconds < 1:
        return "Less than a second"
    if seconds >= _HOUR:
        seconds = int(seconds / _HOUR + 0.5) * _HOUR   # from an hour on, rounded to hours
    _, size, unit = next(span for span in _SPANS if seconds < span[0])
    count = int(seconds // size)
    if count == 1 and unit in ("minute", "hour"):
        return f"About {'an' if unit == 'hour' else 'a'} {unit}"
    return f"{count} {unit}{'s' if count > 1 else ''}"


def age(created: str) -> str:
    """The age of an RFC 3339 time in words; "" if it is absent or invalid."""
    span = since(created)
    return f"{span} ago" if span else ""


def since(created: str) -> str:
    """The time passed since an RFC 3339 time, in words; "" if it is absent or invalid."""
    from time import time  # lazy: only when the command runs

    when = instant(created)
    return "" if when is None else duration(time() - when)


def instant(created: str) -> float | None:
    """An RFC 3339 time in seconds since 1970, to compare times of different zones and precisions; None if it is absent
    or invalid."""
    from datetime import UTC, datetime  # lazy: only when the command runs

    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return None
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()


def is_before(created: str, other: str) -> bool:
    """Whether one RFC 3339 time is before another. An invalid time is before all others, as with Docker."""
    first, second = instant(created), instant(other)
    return second is not None and (first is None or first < second)
