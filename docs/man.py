"""``python -m docs.man DIRECTORY``: write the manual pages of the commands."""

from __future__ import annotations

import sys
from pathlib import Path

from pyruntime.commandline.man import pages
from pyruntime.images.cli.main import PROGRAM as PYIMAGE
from pyruntime.pocker.cli.main import PROGRAM as POCKER
from pyruntime.runtime.cli.main import PROGRAM as PYRUNTIME


def write(directory: Path) -> None:
    """Write a page for each program and each of its commands."""
    directory.mkdir(parents=True, exist_ok=True)
    for program in (PYRUNTIME, PYIMAGE, POCKER):
        for name, content in pages(program).items():
            (directory / name).write_text(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
