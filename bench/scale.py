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


class Population:
    """Running containers of one runtime."""

    def __init__(self, peer: Peer, bundles: Bundles) -> None:
        self._peer = peer
        self._bundles = bundles
        self._names: list[str] = []

    def resize(self, count: int) -> None:
        """Start or remove containers. Raises Failed if a container does not start, or is left."""
        while len(self._names) < count:
            name = f"alive-{len(self._names)}"
            self._names.append(name)   # first: an interrupted `run` may leave a container
            self._peer.time("run", "--detach", "--bundle", self._bundles.bundle("minimal", self._peer, name, *SLEEP),
                            name)
        surplus, self._names = self._names[count:], self._names[:count]
        # First all signals: a runtime that waits for each exit (runc: 100 ms) need not.
        for name in surplus:
            self._peer.call("kill", name, "KILL")
        answers = [self._peer.call("delete", "--force", name) for name in surplus]
        if left := [error for _taken, good, error in answers if not good]:
            raise Failed(f"{self._peer.name}: {len(left)} containers are left: {left[0]}")


def measure(peer: Peer, bundles: Bundles, samples: Samples, counts: tuple[int, ...], number: int) -> None:
    """Add the samples of ``number`` rounds per count and direction. Raises Failed; no container is left."""
    one, population = Round(peer, "minimal", bundles), Population(peer, bundles)
    try:
        for count in [*counts, *reversed(counts)]:
            population.resize(count)
            one(Samples(), "")   # not counted: caches are warm from here on
            rounds([one], samples, section(count), number)
    finally:
        population.resize(0)
