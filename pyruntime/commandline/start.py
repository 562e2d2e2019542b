"""The first lines of a command that starts with an interpreter of its own."""

from __future__ import annotations

from pyruntime.commandline import bytecode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def run(name: str, snapshot: str = "") -> NoReturn:
    """Run the command of a name (``commandline.entry.MAIN``). If a command for people has a file for a snapshot, one
    is written there for the next time; the others are servers."""
    bytecode.use()
    from pyruntime.commandline.entry import COMMANDS, MAIN  # lazy: before bytecode.use, imports are slow
    from pyruntime.commandline.modules import load  # lazy: as above
    from pyruntime.commandline.program import leave  # lazy: as above

    if snapshot and name in COMMANDS:
        from pyruntime.commandline.snapshot import renew  # lazy: not for processes that only run a command

        renew(name, snapshot)
    leave(load(MAIN[name]).main())


def take(name: str, file: str, usable: str) -> NoReturn:
    """Take a snapshot of a command; ``usable`` or ``unusable``."""
    bytecode.use()
    from pyruntime.commandline import snapshot  # lazy: as in run
    from pyruntime.commandline.entry import COMMANDS  # lazy: as in run
    from pyruntime.commandline.modules import load  # lazy: as in run

    snapshot.take(load(COMMANDS[name]).PROGRAM, file, usable == "usable")
