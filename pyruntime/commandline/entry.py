"""Write the commands into a virtual environment: ``python -m pyruntime.commandline.entry DIRECTORY``.

A console script of setuptools would import site and re before the first line of ours (20 ms); these commands start the
interpreter with ``-I -S`` and contain the package's path. ``pyruntime`` is the front (native/front), which starts the
script of that name in DIRECTORY/../libexec for all that it does not do itself; so does containerd's shim (native/shim).
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
# Programs of ours that others run by name: not commands for people.
PROGRAMS = {"containerd-shim-pyruntime-v2": "pyruntime.shim.main"}
MAIN = COMMANDS | PROGRAMS
# Installed as a program in C, which starts the script for what it does not do itself.
FRONTS = {name: os.path.join(bytecode.TOP, path) for name, path in {
    "pyruntime": "native/front/front", "containerd-shim-pyruntime-v2": "native/shim/shim"}.items()}


def write(directory: str, name: str) -> str:
    """Write one command into ``directory``; return its path."""
    if name not in FRONTS:
        return _install(os.path.join(directory, name), _script(name))
    scripts = os.path.join(os.path.dirname(os.path.abspath(directory)), "libexec")
    os.makedirs(scripts, exist_ok=True)
    _install(os.path.join(scripts, name), _script(name))
    with open(FRONTS[name], "rb") as file:
        return _install(os.path.join(directory, name), file.read())


def _script(name: str) -> bytes:
    here = os.path.dirname(bytecode.TOP)
    path = [here, *(entry for entry in sys.path if entry.endswith("site-packages") and entry != here)]
    return SCRIPT.format(python=os.path.abspath(sys.executable), path=path, module=MAIN[name]).encode()


def _install(target: str, data: bytes) -> str:
    replace(target, data, mode=0o755)
    os.chmod(target, 0o755)   # for all users, whatever the umask of the installation
    return target


def command(name: str) -> list[str]:
    """The command line of one command, to which arguments are added, for a process that runs it by itself."""
    return [*own_program("commandline/__main__.py"), name]


if __name__ == "__main__":
    for name in MAIN:
        print(write(sys.argv[1], name))
    bytecode.write()
