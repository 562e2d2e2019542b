"""The syntax of strings in config.json: versions, lists of numbers, names. No regular expressions.

The functions for a ``pattern`` of the schemas are registered in ``generate.PATTERNS``; a test compares them with the
pattern.
"""

from __future__ import annotations

from pyruntime.system.json import quote

_DIGITS = frozenset("0123456789")
_ALPHANUMERIC = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-")
_UPPER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_number(text: str) -> bool:
    """ASCII digits, at least one, and no zero before another digit."""
    return bool(text) and _DIGITS.issuperset(text) and (text[0] != "0" or len(text) == 1)


def is_version(text: str) -> bool:
    """A SemVer 2.0.0 version: 1.3.0, 1.0.2-dev, 1.1.0-rc.2+build.5."""
    core, plus, build = text.partition("+")
    core, dash, pre = core.partition("-")
    parts = core.split(".")
    if len(parts) != 3 or not (is_number(parts[0]) and is_number(parts[1]) and is_number(parts[2])):
        return False
    if dash:
        for part in pre.split("."):
            if not part or not _ALPHANUMERIC.issuperset(part):
                return False
            if _DIGITS.issuperset(part) and not is_number(part):
                return False
    if plus:
        for part in build.split("."):
            if not part or not _ALPHANUMERIC.issuperset(part):
                return False
    return True


def is_rlimit(text: str) -> bool:
    """RLIMIT_ and capital letters."""
    return text[:7] == "RLIMIT_" and len(text) > 7 and _UPPER.issuperset(text[7:])


def is_page_size(text: str) -> bool:
    """A size such as 64KB, 2MB or 1GB."""
    return text[-2:] in ("KB", "MB", "GB") and text[0] != "0" and is_number(text[:-2])


def is_line(text: str) -> bool:
    """Neither a line break nor a NUL."""
    return "\n" not in text and "\0" not in text


def is_bandwidth(text: str) -> bool:
    """One line that begins with MB:."""
    return text[:3] == "MB:" and is_line(text)


def is_cpu_letters(text: str) -> bool:
    """Only characters of a CPU list; ``list_error`` checks the list itself."""
    return not text.strip("0123456789, -")


def is_access(text: str) -> bool:
    """Only r, w and m."""
    return not text.strip("rwm")


def list_error(text: str, limit: int = 1 << 16) -> str:
    """The problem with a list of numbers and ranges such as ``0-3,7``; empty if the list is valid.

    Spaces around the commas and an empty list are accepted, as by the kernel. Numbers are below ``limit``.
    """
    if not text.strip(" \t\n"):
        return ""
    for part in text.split(","):
        low, dash, high = part.strip(" \t\n").partition("-")
        for number in (low, high) if dash else (low,):
            if not number or not _DIGITS.issuperset(number):
                return f'"{part}" is neither a number nor a range'
            if len(number) > 10 or int(number) >= limit:
                return f'"{number}" is above {limit - 1}'
        if dash and int(low) > int(high):
            return f'the range "{part}" is backwards'
    return ""


def count_of(text: str) -> int:
    """How many numbers a valid list contains."""
    ends = [part.strip().partition("-")[::2] for part in text.split(",")]
    return sum(int(last or first) - int(first) + 1 for first, last in ends if first)


def interface_error(name: str) -> str:
    """The problem with the name of a network interface; empty if it is valid. In the kernel: dev_valid_name()."""
    if not name:
        return "is empty"
    if len(name.encode()) > 15:
        return "is longer than 15 bytes"
    if name in (".", ".."):
        return "is a directory"
    for char in name:
        if char in "/:\0" or char.isspace():
            return f"contains {shown(char)}"
    return ""


def shown(text: str) -> str:
    """``text`` in double quotes for a message, on one line and of limited length."""
    if len(text) > 80:
        text = text[:77] + "..."
    return f'"{text}"' if text.isprintable() else quote(text)


LONGEST = 64    # longer words are not guessed: comparing takes quadratic time
GUESSES = 100   # maximum number of words per document for which a similar word is searched


def nearest(word: str, words: tuple[str, ...]) -> str:
    """The word in ``words`` that was probably meant by ``word``, or empty.

    Case, a missing prefix such as CAP_, and one typing error per three letters are ignored. A common prefix does not
    count, or RLIMIT_AS would be the guess for RLIMIT_BAD.
    """
    if len(word) > LONGEST:
        return ""
    folded = word.upper()
    best, best_distance = "", len(folded)
    for candidate in words:
        upper = candidate.upper()
        if upper == folded or upper.endswith("_" + folded):
            return candidate
        common = 0
        while upper[: common + 1] == folded[: common + 1]:
            common += 1
        common = max(upper.rfind("_", 0, common), folded.rfind("_", 0, common)) + 1
        one, other = folded[common:], upper[common:]
        allowed = min(best_distance - 1, max(len(one), len(other)) // 3)
        if abs(len(one) - len(other)) > allowed:
            continue
        distance = _distance(one, other)
        if distance <= allowed:
            best, best_distance = candidate, distance
    return best


def _distance(one: str, other: str) -> int:
    """The number of insertions, deletions, replacements and swaps of adjacent letters between the two words."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
