"""Start a command by its name: what the front executes, and what processes of ours execute to run a command.

    python -IS .../pyruntime/commandline/__main__.py [PACKAGES] NAME ARGUMENT...

PACKAGES are absolute directories with colons between them; the front gives none.
"""

import os
import sys

del sys.argv[0]
PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if sys.argv[0].startswith("/"):
    sys.path[:0] = sys.argv.pop(0).split(":")
elif os.path.exists(f"{PACKAGES}/cffi"):
    sys.path.insert(0, PACKAGES)
else:   # our dependencies are installed elsewhere: site finds them
    import site

    site.main()
    sys.path.insert(0, PACKAGES)

from pyruntime.commandline.bytecode import run  # noqa: E402  only now it can be found
from pyruntime.commandline.entry import MAIN  # noqa: E402

run(MAIN[sys.argv[0]])
