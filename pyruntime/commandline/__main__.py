"""Start a command by its name: what the front executes.

    python -IS .../pyruntime/commandline/__main__.py NAME ARGUMENT...
"""

import os
import sys

PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if os.path.exists(f"{PACKAGES}/cffi"):
    sys.path.insert(0, PACKAGES)
else:   # our dependencies are installed elsewhere: site finds them
    import site

    site.main()
    sys.path.insert(0, PACKAGES)

from pyruntime.commandline.bytecode import run  # noqa: E402  # only now it can be found
from pyruntime.commandline.entry import COMMANDS  # noqa: E402

del sys.argv[0]
run(COMMANDS[sys.argv[0]])
