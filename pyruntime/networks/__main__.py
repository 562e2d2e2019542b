"""The program of the name server: what dns_process starts.

    python -IS .../pyruntime/networks/__main__.py PACKAGES ROOT RUN
"""

import sys

sys.path[:0] = sys.argv[1].split(":")

from pyruntime.networks.dns_server import main  # noqa: E402  only now it can be found

main(*sys.argv[2:])
