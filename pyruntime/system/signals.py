"""Signals by name and number (signal(7))."""

from __future__ import annotations

from pyruntime.errors import Interrupted, UsageError

# asm-generic/signal.h; the signal module would cost 5 ms.
SIGNALS = {name: number for number, name in enumerate((
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS"), 1)} | {"IOT": 6, "CLD": 17, "POLL": 29}

# Signals that a command in the foreground forwards to the program: not those that concern the command itself or its
# terminal, nor those that cannot be caught.
FORWARDED = {*range(1, 32), *range(34, 65)} - {SIGNALS[name] for name in (
    "CHLD", "KILL", "STOP", "URG", "WINCH", "TTIN", "TTOU", "TSTP", "CONT", "PIPE")}


class Insistence:
    """Counts the SIGINT and SIGTERM signals that a command gets: the third one ends the command, even if its program
    ignores them."""

    LIMIT = 3

    def __init__(self, program: str) -> None:
        self._program = program
        self._count = 0

    def add(self, number: int) -> None:
        """Raises Interrupted at the third signal."""
        self._count += number in (SIGNALS["INT"], SIGNALS["TERM"])
        if self._count >= self.LIMIT:
            raise Interrupted(f"got {self.LIMIT} SIGINT or SIGTERM signals that {self._program} ignores: exiting;"
                              f" {self._program} keeps running")


def signal_number(text: str) -> int:
    """The number of a signal, which is given by name (any case, with or without SIG) or number. Raises UsageError."""
    if text.isdecimal() and int(text) <= 64:
        return int(text)
    name = text.upper().removeprefix("SIG")
    if name in SIGNALS:
        return SIGNALS[name]
    for base, number, sign in (("RTMIN", 34, 1), ("RTMAX", 64, -1)):
        rest = name.removeprefix(base)
        if name.startswith(base) and (not rest or rest.lstrip("+-").isdecimal()):
            number += sign * int(rest.lstrip("+-") or 0)
            if 34 <= number <= 64:
                return number
    raise UsageError(f'unknown signal "{text}": write a name such as TERM, or a number up to 64')
