"""Write the ``pyruntime`` command: ``python -m pyruntime.cli.entry DIRECTORY``.

A console script of setuptools would import site and re before the first line of ours (20 ms); this one starts the
interpreter with ``-I -S`` and knows where the package is.
"""

from __future__ import annotations

import os
import sys

SCRIPT = '''#!{python} -IS
import sys
sys.path[:0] = {path!r}
from pyruntime.cli.main import main
sys.exit(main())
'''


def write(directory: str) -> str:
    """Write the command into ``directory``; return its path."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = [here, *(entry for entry in sys.path if entry.endswith("site-packages") and entry != here)]
    target = os.path.join(directory, "pyruntime")
    temporary = f"{target}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(SCRIPT.format(python=os.path.abspath(sys.executable), path=path))
    os.chmod(temporary, 0o755)
    os.rename(temporary, target)
    return target


if __name__ == "__main__":
    print(write(sys.argv[1]))
