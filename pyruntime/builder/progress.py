"""Observers of a build: called at the beginning and the end of each step, and with each line of its output."""

from __future__ import annotations


class BuildProgress:
    """Ignores everything; the base of observers. A step is identified by its number."""

    def begin(self, number: int, title: str) -> None:
        """A step begins: it is looked up in the build cache."""

    def output(self, number: int, text: str) -> None:
        """The command of a step has written a line."""

    def end(self, number: int, outcome: str) -> None:
        """A step has ended: "cached", "done", "failed", or "again": a cache did not deliver a layer, and the step is
        looked up once more."""

    def close(self) -> None:
        """The build has ended."""
