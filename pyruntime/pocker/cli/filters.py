"""``--filter KEY=VALUE``: one of the values of a key must match; for labels, and across keys, all must match."""

from __future__ import annotations

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_EVERY = ("label", "label!")   # keys whose values must all match


class Filters:
    """The filters of a command line. ``match``: key -> whether an item matches a value."""

    def __init__(self, words: Sequence[str], match: Mapping[str, Callable[[Any, str], bool]]) -> None:
        """Raises UsageError for an unknown key."""
        self._match = match
        self._wanted: dict[str, list[str]] = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals or key not in match:
                raise UsageError(f'--filter "{word}": write KEY=VALUE, with one of the keys {", ".join(sorted(match))}')
            self._wanted.setdefault(key, []).append(value)

    def asks(self, *keys: str) -> bool:
        """Whether there is a filter with one of these keys."""
        return any(key in self._wanted for key in keys)

    def fit(self, item: Any) -> bool:
        """Whether the item matches the filters."""
        return all((all if key in _EVERY else any)(self._match[key](item, value) for value in values)
                   for key, values in self._wanted.items())
