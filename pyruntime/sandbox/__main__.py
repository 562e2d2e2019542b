"""The program of the helper process: what helper.py starts.

    python -IS .../pyruntime/sandbox/__main__.py PACKAGES [DESCRIPTOR]
"""

import sys

sys.path[:0] = sys.argv[1].split(":")

from pyruntime.sandbox.helper_process import main  # noqa: E402  only now it can be found

main(*map(int, sys.argv[2:]))
