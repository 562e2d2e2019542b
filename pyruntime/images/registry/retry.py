"""Retries: which failures are retried, and when.

Retried: no connection, an interrupted one, a timeout, 408, 429, and the server's own failures (5xx). The waits double
from one second to a minute, each shortened at random so that clients do not return together. ``Retry-After`` is
honoured instead, unless it is longer than PATIENCE.
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.registry.http import Response, Transport

LONGEST = 60.0     # seconds between two attempts
PATIENCE = 300.0   # seconds that a server may ask for
AT_MIRRORS = 2     # attempts
# Reasons of a failure that decide what follows.
UNTRUSTED = "untrusted"         # by its certificate
UNKNOWN_HOST = "unknown host"   # its name does not resolve
_NEVER = (501, 505, 511)   # 5xx that are permanent


def is_transient(status: int) -> bool:
    """Whether a request with this status may succeed soon."""
    return status in (408, 425, 429) or (status >= 500 and status not in _NEVER)


def asked_wait(response: Response) -> float | None:
    """The seconds of Retry-After, a number or a date; None without it."""
    text = response.header("Retry-After")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # lazy: only after a failure

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):   # neither a number nor a date: ignored
        return None


class AttemptFailed(RegistryError):
    """One attempt failed: no response, an interrupted one, or a refusal. ``transient``: another attempt may succeed.

    ``asked``: the wait in seconds that the server asks for. ``reason``: UNTRUSTED, UNKNOWN_HOST, or "".
    """

    def __init__(self, message: str, status: int = 0, *, transient: bool, asked: float | None = None,
                 reason: str = "") -> None:
        super().__init__(message, status)
        self.transient = transient
        self.asked = asked
        self.reason = reason


class Attempts:
    """Counts the attempts of one request, and waits between them. The first failure is shown, so that users know the
    reason for the wait."""

    __slots__ = ("_is_told", "failed", "most", "transport")

    def __init__(self, transport: Transport, *, mirror: bool = False) -> None:
        """``mirror``: another endpoint follows, so a dead mirror gets fewer attempts."""
        self.transport = transport
        self.most = min(AT_MIRRORS, transport.settings.attempts) if mirror else transport.settings.attempts
        self.failed = 0
        self._is_told = False

    def progressed(self) -> None:
        """Reset the count after progress."""
        self.failed = 0

    def wait(self, error: AttemptFailed) -> None:
        """Wait before the next attempt; raises the error if there is none left, or if it would not help."""
        if not error.transient:
            raise error
        self.failed += 1
        asked = error.asked
        if self.failed >= self.most:
            if self.failed > 1:
                error.args = (f"{error.args[0]} (after {self.failed} attempts)",)
            raise error
        if asked is not None and asked > PATIENCE:
            error.args = (f"{error.args[0]}; the server asks to try again in {asked:.0f} seconds",)
            raise error
        seconds = asked if asked is not None else min(LONGEST, 2.0 ** (self.failed - 1)) * (1 - _chance() / 2)
        say = self.transport.debug if self._is_told and seconds < 10 else self.transport.warn
        say(f"{error.args[0]}; trying again in {seconds:.1f} seconds, attempt {self.failed + 1} of {self.most}")
        self._is_told = True
        self.transport.sleep(seconds)


def _chance() -> float:
    """A random number from 0 to 1, different in each process."""
    return int.from_bytes(os.urandom(2), "big") / 65536
