"""The names of the language, and suggestions for misspelled ones."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

INSTRUCTIONS = ("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
                "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")
WITH_HEREDOCS = frozenset(("ADD", "COPY", "RUN"))
# instruction -> flag -> kind: "" takes a value, "bool" may, "list" may be given more than once
FLAGS: dict[str, dict[str, str]] = {
    "ADD": {"checksum": "", "chmod": "", "chown": "", "exclude": "list", "keep-git-dir": "bool", "link": "bool",
            "unpack": "bool"},
    "COPY": {"chmod": "", "chown": "", "exclude": "list", "from": "", "link": "bool", "parents": "bool"},
    "FROM": {"platform": ""},
    "HEALTHCHECK": {"interval": "", "retries": "", "start-interval": "", "start-period": "", "timeout": ""},
    "RUN": {"mount": "list", "network": "", "security": ""},
}


def nearest(word: str, names: Iterable[str]) -> str:
    """The name that differs from ``word`` by one or two typing errors; "" if there is none."""
    best, found = 3, ""
    for name in names:
        far = _distance(word.lower(), name.lower(), best)
        if far < best and far < max(len(name), 2):
            best, found = far, name
    return found


def _distance(one: str, other: str, limit: int) -> int:
    """The number of insertions, deletions, changes and swaps of neighbours."""
    if abs(len(one) - len(other)) >= limit:
        return limit
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, before = before, row
        row = [i]
        for j, other_letter in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other_letter))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == other_letter:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]
