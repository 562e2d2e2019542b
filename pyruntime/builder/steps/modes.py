"""Modes of --chmod: octal, or as chmod(1) has them, ``u=rwX,go=rX``."""

from __future__ import annotations

from pyruntime.errors import BuildError

_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}


def mode_of(text: str, mode: int, *, directory: bool) -> int:
    """The mode that ``mode`` becomes. Raises BuildError for an invalid mode."""
    if text.isascii() and text.isdigit():
        try:
            value = int(text, 8)
        except ValueError:
            value = 1 << 20
        if value <= 0o7777:
            return value
        raise _wrong(text)
    for clause in text.split(","):
        mode = _clause(text, clause, mode, directory)
    return mode


def _clause(text: str, clause: str, mode: int, directory: bool) -> int:
    who = len(clause) - len(clause.lstrip("ugoa"))
    mask = 0
    for letter in clause[:who] or "a":
        mask |= _WHO[letter]
    rest = clause[who:]
    if not rest or rest[0] not in "+-=":
        raise _wrong(text)
    while rest:
        sign, rest = rest[0], rest[1:]
        count = len(rest) - len(rest.lstrip("rwxXstugo"))
        bits = 0
        for letter in rest[:count]:
            if letter == "X":
                bits |= 0o111 if directory or mode & 0o111 else 0
            elif letter in "ugo":
                bits |= ((mode >> {"u": 6, "g": 3, "o": 0}[letter]) & 7) * 0o111
            else:
                bits |= _BITS[letter]
        rest = rest[count:]
        if rest and rest[0] not in "+-=":
            raise _wrong(text)
        bits &= mask
        mode = mode | bits if sign == "+" else mode & ~bits if sign == "-" else (mode & ~mask) | bits
    return mode


def _wrong(text: str) -> BuildError:
    return BuildError(f'--chmod "{text}" is not a mode: write "0755" or "u=rwX,go=rX", for example')
