"""Every case with 1, 10, 100, 1000 containers of the runtime alive.

One runtime after another, because 1000 containers of each at the same time would measure the others' share of the
kernel, too. Each count is measured on the way up and again on the way down, so that a drift of the host affects all
counts; the largest is measured twice.
"""

from __future__ import annotations

from bench.cases import Round, rounds
from bench.configurations import SLEEP, Bundles
from bench.peers import Failed, Peer
from bench.results import Samples

COUNTS = (1, 10, 100, 1000)


def section(number: int) -> str:
    """The section of the results for a number of containers."""
    return f"{number} alive"


def measure(peer: Peer, bundles: Bundles, samples: Samples, counts: tuple[int, ...], number: int) -> None:
    """Add the samples of ``number`` rounds per count and direction. Raises Failed; no container is left."""
    one = Round(peer, "minimal", bundles)
    alive = 0
    try:
        for count in [*counts, *reversed(counts)]:
            while alive < count:
                name = f"alive-{alive}"
                alive += 1   # first: an interrupted `run` may leave a container
                peer.time("run", "--detach", "--bundle", bundles.bundle("minimal", peer, name, *SLEEP), name)
            while alive > count:
                peer.time("delete", "--force", f"alive-{alive - 1}")
                alive -= 1
            one(Samples(), "")   # not counted: caches are warm from here on
            rounds([one], samples, section(count), number)
    finally:
        left = [error for index in range(alive) for _taken, good, error in
                [peer.call("delete", "--force", f"alive-{index}")] if not good]
        if left:
            raise Failed(f"{peer.name}: {len(left)} containers are left: {left[0]}")
