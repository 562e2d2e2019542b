"""Write the commands ``pyruntime`` and ``pyimage``: ``python -m pyruntime.commandline.entry DIRECTORY``.

A console script of setuptools would import site and re before the first line of ours (20 ms); these commands start the
interpreter with ``-I -S`` and contain the package's path.
"""

from __future__ import annotations

import os
import sys

from pyruntime.commandline import bytecode
from pyruntime.system.files import replace
from pyruntime.system.processes import own_program

SCRIPT = '''#!{python} -IS
import sys
sys.path[:0] = {path!r}
from pyruntime.commandline.bytecode import run
run({module!r})
'''
COMMANDS = {"pyruntime": "pyruntime.runtime.cli.main", "pyimage": "pyruntime.images.cli.main",
            "pocker": "pyruntime.pocker.cli.main"}


def write(directory: str, name: str) -> str:
    """Write one command into ``directory``; return its path."""
    here = os.path.dirname(bytecode.TOP)
    path = [here, *(entry for entry in sys.path if entry.endswith("site-packages") and entry != here)]
    target = os.path.join(directory, name)
    script = SCRIPT.format(python=os.path.abspath(sys.executable), path=path, module=COMMANDS[name])
    replace(target, script.encode(), mode=0o755)
    os.chmod(target, 0o755)   # for all users, whatever the umask of the installation
    return target


def command(name: str) -> list[str]:
    """The command line of one command, to which arguments are added, for a process that runs it by itself."""
    return [*own_program("commandline/__main__.py"), name]


if __name__ == "__main__":
    for name in COMMANDS:
        print(write(sys.argv[1], name))
    bytecode.write()
