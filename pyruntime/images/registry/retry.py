"""What is tried again, and when.

Again: no connection, a cut one, a timeout, 408, 429, and the server's own failures (5xx). The waits double from one
second, up to a minute, each shortened by chance so that clients that failed together do not return together.
``Retry-After`` is honoured instead where a server sends it, unless it asks for more than anybody would wait.
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.registry.http import Response, Transport

# Imports in functions: start-up (decision 0007).

LONGEST = 60.0     # seconds between two attempts
PATIENCE = 300.0   # seconds that a server may ask for
AT_MIRRORS = 2     # attempts
# Why there is no answer, where that decides what is done next.
UNTRUSTED = "untrusted"         # by its certificate
UNKNOWN_HOST = "unknown host"   # its name does not resolve
_NEVER = (501, 505, 511)   # 5xx that say that it will not work


def is_transient(status: int) -> bool:
    """Whether an answer with this status may be another one soon."""
    return status in (408, 425, 429) or (status >= 500 and status not in _NEVER)


def asked_wait(response: Response) -> float | None:
    """The seconds that Retry-After asks for, which is a number or a date; None where there is none."""
    text = response.header("Retry-After")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):   # neither: as if it were not there
        return None


class AttemptFailed(RegistryError):
    """One attempt failed: no answer, a cut one, or a refusal. ``transient``: another one may succeed.

    ``asked``: the seconds that the server asks to wait, if it does. ``reason``: UNTRUSTED, UNKNOWN_HOST, or "".
    """

    def __init__(self, message: str, status: int = 0, *, transient: bool, asked: float | None = None,
                 reason: str = "") -> None:
        super().__init__(message, status)
        self.transient = transient
        self.asked = asked
        self.reason = reason


class Attempts:
    """Counts the attempts at one thing, and waits between them. The first failure is shown: nobody is to wait without
    knowing what for."""

    __slots__ = ("_is_told", "failed", "most", "transport")

    def __init__(self, transport: Transport, *, mirror: bool = False) -> None:
        """``mirror``: after which there is another place to ask, so that nobody waits long for a dead one."""
        self.transport = transport
        self.most = min(AT_MIRRORS, transport.settings.attempts) if mirror else transport.settings.attempts
        self.failed = 0
        self._is_told = False

    def progressed(self) -> None:
        """Something came: what fails next fails for the first time."""
        self.failed = 0

    def wait(self, error: AttemptFailed) -> None:
        """Wait before the next attempt; raises the error where there is none left, or where it would not help."""
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
    """A number from 0 to 1 that other processes do not draw too."""
    return int.from_bytes(os.urandom(2), "big") / 65536
