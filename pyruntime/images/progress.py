"""The progress of transfers on standard error: bars on a terminal, a line for each finished blob elsewhere, or nothing.

Standard output is for digests, names and archives.
"""

from __future__ import annotations

import sys

from pyruntime.images import media
from pyruntime.system.terminal import can_redraw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.document import Descriptor


class Progress:
    """Shows nothing; the base of the other kinds. Called from several threads."""

    def announce(self, blob: Descriptor) -> None:
        """The blob will be copied."""

    def begin(self, blob: Descriptor) -> None:
        """The copy of the blob begins."""

    def advance(self, blob: Descriptor, count: int) -> None:
        """``count`` more bytes were copied; negative if the copy restarts."""

    def end(self, blob: Descriptor, outcome: str) -> None:
        """The blob has arrived: "copied", "exists", "mounted", "extracted"."""

    def close(self) -> None:
        """The transfer has ended."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LineProgress(Progress):
    """One line for each finished blob."""

    def end(self, blob: Descriptor, outcome: str) -> None:
        """Write the line."""
        sys.stderr.write(f"{blob.digest[:19]} {what(blob)} {size(blob.size)} {outcome}\n")
        sys.stderr.flush()


class BarProgress(Progress):
    """A bar for each blob."""

    def __init__(self) -> None:
        self._display: Any = None
        self._tasks: dict[str, Any] = {}

    def _start(self) -> None:
        """Before the first blob, and not earlier: a command without transfers must not pay for rich."""
        from pyruntime.images.bars import Bars  # lazy: only on a terminal

        self._display = Bars(size)
        self._display.start()

    def announce(self, blob: Descriptor) -> None:
        """Add a bar."""
        if self._display is None:
            self._start()
        if blob.digest not in self._tasks:
            self._tasks[blob.digest] = self._display.add_task(
                f"{blob.digest[7:19]} {what(blob)}", total=blob.size, start=False, outcome="waiting")

    def begin(self, blob: Descriptor) -> None:
        """Start the bar's clock."""
        self.announce(blob)
        self._display.start_task(self._tasks[blob.digest])
        self._display.update(self._tasks[blob.digest], outcome="")

    def advance(self, blob: Descriptor, count: int) -> None:
        """Advance the bar."""
        self._display.advance(self._tasks[blob.digest], count)

    def end(self, blob: Descriptor, outcome: str) -> None:
        """Fill the bar."""
        self.announce(blob)
        self._display.update(self._tasks[blob.digest], completed=blob.size, outcome=outcome)

    def close(self) -> None:
        """Leave the bars on the terminal."""
        if self._display is not None:
            self._display.stop()


def progress(*, quiet: bool) -> Progress:
    """The kind of progress that suits standard error; with ``quiet``, the base class, which shows nothing."""
    if quiet:
        return Progress()
    return BarProgress() if can_redraw(2) else LineProgress()


def what(blob: Descriptor) -> str:
    """The kind of a blob, for users."""
    return "config" if blob.media_type in media.CONFIGS else "layer" if blob.media_type in media.LAYERS else "blob"


def size(count: int) -> str:
    """A size for users: 1.2MB, in powers of 1000 as Docker prints it."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while float(f"{value:.3g}") >= 1000 and len(units) > 1:   # 999600 is 1MB, not 1e+03kB
        value /= 1000
        units.pop(0)
    return f"{value:.0f}{units[0]}" if units[0] == "B" else f"{value:.3g}{units[0]}"
