"""Daily commands in advance, where there are no containers yet: for the snapshot, as runtime/cli/rehearsal.py."""

from __future__ import annotations

from pyruntime.pocker.cli.main import main

COMMANDS = (("ps",), ("exec", "none", "true"))   # they leave nothing


def rehearse(directory: str) -> None:
    """Perform the commands with everything below an empty directory; what they print is of no interest."""
    roots = [f"--{name}={directory}/{name}" for name in ("root", "run-root", "store")]
    for words in COMMANDS:
        main([*roots, *words])
