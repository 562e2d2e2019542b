"""Sandboxes: programs that are not trusted, run from Python in throw-away containers (docs/sandbox.md)."""
