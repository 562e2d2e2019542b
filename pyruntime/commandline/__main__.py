"""Start a command by its name: what the front executes, and what processes of ours execute to run a command.

    python -IS .../pyruntime/commandline/__main__.py [PACKAGES] NAME ARGUMENT...

PACKAGES are absolute directories with colons between them; the front gives none. The name "snapshot" takes a snapshot
instead (pyruntime/commandline/snapshot.py).
"""

import os
import sys

del sys.argv[0]
FRONT = not sys.argv[0].startswith("/")
PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if not FRONT:
    sys.path[:0] = sys.argv.pop(0).split(":")
elif os.path.exists(f"{PACKAGES}/cffi"):
    sys.path.insert(0, PACKAGES)
else:   # our dependencies are installed elsewhere: site finds them
    import site

    site.main()
    sys.path.insert(0, PACKAGES)

from pyruntime.commandline.start import run, take  # noqa: E402  only now it can be found

if sys.argv[0] == "snapshot":
    take(*sys.argv[1:])
run(sys.argv[0], f"{os.path.dirname(os.path.abspath(__file__))}/__pycache__/{sys.argv[0]}.snapshot" if FRONT else "")
