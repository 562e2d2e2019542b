"""How far a transfer is: bars on a terminal, a line for each finished blob elsewhere, nothing when quiet.

Always on standard error: standard output belongs to digests, names and archives.
"""

from __future__ import annotations

import sys

from pyruntime.images import media

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.document import Descriptor

# Imports in functions: start-up (decision 0007).


class Progress:
    """Says nothing; also what the other kinds have in common. Called from several threads."""

    def announce(self, blob: Descriptor) -> None:
        """This blob will be moved."""

    def begin(self, blob: Descriptor) -> None:
        """It is being moved now."""

    def advance(self, blob: Descriptor, count: int) -> None:
        """So many bytes more have been moved; fewer than nothing when it has to begin anew."""

    def end(self, blob: Descriptor, outcome: str) -> None:
        """It is there: "copied", "exists", "mounted", "extracted"."""

    def close(self) -> None:
        """The transfer has ended."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LineProgress(Progress):
    """One line for each blob that has arrived."""

    def end(self, blob: Descriptor, outcome: str) -> None:
        """Write the line."""
        sys.stderr.write(f"{blob.digest[:19]} {what(blob)} {size(blob.size)} {outcome}\n")
        sys.stderr.flush()


class BarProgress(Progress):
    """A bar for each blob, by rich."""

    def __init__(self) -> None:
        self._display: Any = None
        self._tasks: dict[str, Any] = {}

    def _start(self) -> None:
        """Before the first blob, and not earlier: a command without transfers must not pay for rich."""
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Display

        self._display = Display(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                                TextColumn("{task.fields[outcome]}"), console=Console(stderr=True))
        self._display.start()

    def announce(self, blob: Descriptor) -> None:
        """Add a bar."""
        if self._display is None:
            self._start()
        if blob.digest not in self._tasks:
            self._tasks[blob.digest] = self._display.add_task(
                f"{blob.digest[7:19]} {what(blob)}", total=blob.size, start=False, outcome="waiting")

    def begin(self, blob: Descriptor) -> None:
        """Set its clock going."""
        self.announce(blob)
        self._display.start_task(self._tasks[blob.digest])
        self._display.update(self._tasks[blob.digest], outcome="")

    def advance(self, blob: Descriptor, count: int) -> None:
        """Move it."""
        self._display.advance(self._tasks[blob.digest], count)

    def end(self, blob: Descriptor, outcome: str) -> None:
        """Fill it."""
        self.announce(blob)
        self._display.update(self._tasks[blob.digest], completed=blob.size, outcome=outcome)

    def close(self) -> None:
        """Leave the bars as they are."""
        if self._display is not None:
            self._display.stop()


def progress(*, quiet: bool) -> Progress:
    """The kind that fits: bars where standard error is a terminal."""
    if quiet:
        return Progress()
    return BarProgress() if sys.stderr.isatty() else LineProgress()


def what(blob: Descriptor) -> str:
    """What a person calls this content."""
    return "config" if blob.media_type in media.CONFIGS else "layer" if blob.media_type in media.LAYERS else "blob"


def size(count: int) -> str:
    """Bytes as people read them: 1.2MB, in powers of a thousand as Docker's tools do."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f}{units[0]}" if units[0] == "B" else f"{value:.3g}{units[0]}"
