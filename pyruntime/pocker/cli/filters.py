"""``--filter KEY=VALUE``: several values of one key are alternatives, but labels and several keys must all fit."""

from __future__ import annotations

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_EVERY = ("label", "label!")   # keys whose values must all fit


class Filters:
    """The filters of a command line. ``match``: what each key means."""

    def __init__(self, words: Sequence[str], match: Mapping[str, Callable[[Any, str], bool]]) -> None:
        """Raises UsageError for a key that is not known."""
        self._match = match
        self._wanted: dict[str, list[str]] = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals or key not in match:
                raise UsageError(f'--filter "{word}": write KEY=VALUE, with one of the keys {", ".join(sorted(match))}')
            self._wanted.setdefault(key, []).append(value)

    def asks(self, *keys: str) -> bool:
        """Whether one of these keys is filtered by."""
        return any(key in self._wanted for key in keys)

    def fit(self, item: Any) -> bool:
        """Whether the item is to be shown."""
        return all((all if key in _EVERY else any)(self._match[key](item, value) for value in values)
                   for key, values in self._wanted.items())
