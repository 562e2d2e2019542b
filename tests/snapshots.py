"""What a command imports that its program's snapshot does not have: it would be imported at every call."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import sys
sys.path[:0] = {path!r}
from pyruntime.commandline.entry import COMMANDS
from pyruntime.commandline.modules import load
program = load(COMMANDS[{name!r}]).PROGRAM
program.load_all()
# take() imports it to write the snapshot
from pyruntime.native import _kernel
before = set(sys.modules)
status = program.main({words!r})
with open(3, "w") as out:
    print(status, *sorted(set(sys.modules) - before), file=out)
"""


def imported_late(name: str, *words: object, env: dict[str, str] | None = None) -> list[str]:
    """The modules that a command imports after those of the snapshot; it must succeed."""
    path = [entry for entry in sys.path if "site-packages" in entry or ("lib/python" not in entry and
            os.path.isdir(entry))]
    script = SCRIPT.format(path=path, name=name, words=[str(word) for word in words])
    ours, theirs = os.pipe()
    with subprocess.Popen([sys.executable, "-IS", "-c", f"import os; os.dup2({theirs}, 3)\n{script}"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          pass_fds=[theirs], env=env) as process:
        os.close(theirs)
        with open(ours) as answer:
            line = answer.readline()
        process.wait()
    status, *modules = line.split()
    assert status == "0", words
    return modules
