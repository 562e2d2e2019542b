"""What the ``prune`` commands have in common: the question on a terminal, and the filters."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Flag, Parsed
from pyruntime.commandline.program import out, say
from pyruntime.errors import UsageError
from pyruntime.images.cli.show import is_before
from pyruntime.pocker.cli.filters import Filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FORCE = Flag("force", "bool", "do not prompt for confirmation", short="f")
FILTER = Flag("filter", "list", "filter by until=24h, label=NAME[=VALUE] or label!=NAME[=VALUE]",
              value="KEY=VALUE")
LABELS = Flag("filter", "list", "filter by label=NAME[=VALUE] or label!=NAME[=VALUE]", value="KEY=VALUE")


class Aged:
    """What filters match: the time of creation (RFC 3339; "" if unknown) and the labels."""

    __slots__ = ("created", "labels")

    def __init__(self, created: str, labels: Mapping[str, str]) -> None:
        self.created = created
        self.labels = labels


def label_fits(labels: Mapping[str, str], value: str) -> bool:
    """Whether the labels have the label NAME, or NAME=VALUE."""
    name, equals, text = value.partition("=")
    return name in labels and (not equals or labels[name] == text)


_LABELS: dict[str, Callable[[Aged, str], bool]] = {
    "label": lambda item, value: label_fits(item.labels, value),
    "label!": lambda item, value: not label_fits(item.labels, value)}
_UNTIL: dict[str, Callable[[Aged, str], bool]] = {"until": lambda item, value: is_before(item.created, value)}


def filters(words: Sequence[str], *, by_age: bool = True) -> Filters:
    """The filters of a command line. Raises UsageError."""
    from pyruntime.pocker.cli.times import moment  # lazy: only with a time

    read = []
    for word in words:
        key, equals, value = word.partition("=")
        read.append(f"until={moment(value, '--filter until')}" if key == "until" and equals else word)
    return Filters(read, {**_LABELS, **(_UNTIL if by_age else {})})


def check_consent(parsed: Parsed, warning: str) -> None:
    """Prompt for confirmation on a terminal, unless --force is given. Raises UsageError if the answer is not yes."""
    if parsed["force"] or not os.isatty(0):
        return
    say(f"WARNING! This will remove {warning}.")
    os.write(2, b"Are you sure you want to continue? [y/N] ")
    answer = os.read(0, 1024).decode("utf-8", "replace").strip().lower()
    if answer not in ("y", "yes"):
        raise UsageError("nothing was removed")


def report(title: str, names: Sequence[str]) -> None:
    """Print the removed objects under a title, if there are any."""
    if names:
        out(f"Deleted {title}:\n" + "".join(f"{name}\n" for name in names) + "\n")
