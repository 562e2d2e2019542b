"""Write the commands into a virtual environment: ``python -m pyruntime.commandline.entry DIRECTORY``.

Each command is the front (native/front). For what it does not do itself, it restores a snapshot, or starts the script
of its name in DIRECTORY/../libexec. A console script of setuptools would import site and re before the first line of
ours (20 ms); these scripts start the interpreter with ``-I -S -X utf8`` and contain the package's path. So does
containerd's shim (native/shim), without a snapshot: it is a server.
"""

from __future__ import annotations

import os
import sys

from pyruntime.commandline import bytecode, snapshot
from pyruntime.system.files import replace
from pyruntime.system.processes import own_program

SCRIPT = '''#!{python} -ISXutf8
import sys
sys.path[:0] = {path!r}
from pyruntime.commandline.start import run
run({name!r}, __file__ + ".snapshot")
'''
COMMANDS = {"pyruntime": "pyruntime.runtime.cli.main", "pyimage": "pyruntime.images.cli.main",
            "pocker": "pyruntime.pocker.cli.main"}
# Programs of ours that others run by name: not commands for people.
PROGRAMS = {"containerd-shim-pyruntime-v2": "pyruntime.shim.main"}
MAIN = COMMANDS | PROGRAMS
# The program in C that is installed under the name, and starts the script for what it does not do itself.
FRONTS = {name: os.path.join(bytecode.TOP, "native/front/front") for name in COMMANDS} | {
    name: os.path.join(bytecode.TOP, "native/shim/shim") for name in PROGRAMS}


def write(directory: str, name: str) -> str:
    """Write one command into ``directory``; return its path."""
    scripts = os.path.join(os.path.dirname(os.path.abspath(directory)), "libexec")
    os.makedirs(scripts, exist_ok=True)
    _install(os.path.join(scripts, name), _script(name))
    with open(FRONTS[name], "rb") as file:
        command = _install(os.path.join(directory, name), file.read())
    problem = snapshot.write(name, f"{scripts}/{name}.snapshot") if name in COMMANDS else ""
    if problem:
        print(f"{name}: starts slowly, without a snapshot: {problem}", file=sys.stderr)
    return command


def _script(name: str) -> bytes:
    here = os.path.dirname(bytecode.TOP)
    path = [here, *(entry for entry in sys.path if entry.endswith("site-packages") and entry != here)]
    return SCRIPT.format(python=os.path.abspath(sys.executable), path=path, name=name).encode()


def _install(target: str, data: bytes) -> str:
    replace(target, data, mode=0o755)
    os.chmod(target, 0o755)   # for all users, whatever the umask of the installation
    return target


def command(name: str) -> list[str]:
    """The command line of one command, to which arguments are added, for a process that runs it by itself."""
    return [*own_program("commandline/__main__.py"), name]


if __name__ == "__main__":
    bytecode.write()
    for name in MAIN:
        print(write(sys.argv[1], name))
