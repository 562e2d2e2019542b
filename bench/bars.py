"""The goals of this project for its figures: each is a ratio of medians of one run, and the most that it may be."""

from __future__ import annotations

from dataclasses import dataclass

from bench.cases import CASES
from bench.peers import OURS
from bench.pocker import CASES as CASES_OF_POCKER
from bench.pocker import SECTION
from bench.results import Results
from bench.scale import section

VERBS = ("state", "start", "kill", "pause", "resume", "delete")
DETACHED = ("detach-first", "detach-repeated", "detach-varied")
# The cases whose time must not depend on the number of containers.
SCALED = ("create", *VERBS, "delete-force", "run", "exec-first", "exec-repeated", "exec-varied", *DETACHED)


@dataclass(frozen=True)
class Figure:
    """A median of the results."""

    section: str
    case: str
    quantity: str
    runtime: str


@dataclass(frozen=True)
class Bar:
    """``ours`` divided by ``theirs`` must be ``most`` or less; None: the ratio is reported only."""

    title: str
    against: str
    ours: Figure
    theirs: Figure
    most: float | None

    def ratio(self, results: Results) -> float | None:
        """The measured ratio, or None if one of the two was not measured."""
        values = [results.samples.median(one.section, one.case, one.quantity, one.runtime)
                  for one in (self.ours, self.theirs)]
        return values[0] / values[1] if values[0] is not None and values[1] else None


def _peers(sections: tuple[str, ...], case: str, quantity: str, crun: float | None, runc: float | None) -> list[Bar]:
    """A case of some sections, against crun and runc."""
    suffix = {"wall": "", "cpu": ", CPU time", "pss": ""}[quantity]
    return [Bar(f"{CASES[case]}{suffix}: {place}", peer, Figure(place, case, quantity, OURS),
                Figure(place, case, quantity, peer), most)
            for place in sections for peer, most in (("crun", crun), ("runc", runc))]


def bars() -> list[Bar]:
    """All goals."""
    warm = ("minimal", "containerd-style")
    cold = ("minimal, cold", "containerd-style, cold")
    return [
        *(bar for verb in VERBS for bar in _peers(warm, verb, "wall", 0.5, 0.3)),
        *(bar for case in DETACHED for bar in _peers(warm, case, "wall", 0.8, 0.35)),
        *_peers((*warm, *cold), "create", "wall", 1.0, 0.6),
        *_peers(warm, "life", "wall", 0.8, 0.55),
        *_peers(warm, "run", "wall", 0.8, 0.8),
        *_peers(warm, "run", "cpu", None, 0.7),
        *_peers(warm, "created", "pss", 0.15, 0.02),
        *(Bar(f"{CASES[case]}: 1000 containers alive", "itself at 10", Figure(section(1000), case, "wall", OURS),
              Figure(section(10), case, "wall", OURS), 1.2) for case in SCALED),
        *(Bar(f"pocker: {CASES_OF_POCKER[case][0]}", tool, Figure(SECTION, case, "wall", "pocker"),
              Figure(SECTION, case, "wall", tool), 0.3)
          for case in ("exec", "ps")
          for tool in ("podman with crun", "podman with runc")),
    ]


def table(results: Results) -> str:
    """A Markdown table: bar, measured, met; and a line that counts them."""
    rows, met = ["| ratio of medians | against | at most | measured | met |", "| --- | --- | --- | --- | --- |"], 0
    judged = 0
    for bar in bars():
        ratio = bar.ratio(results)
        verdict = "not measured" if ratio is None else "reported only" if bar.most is None else (
            "yes" if ratio <= bar.most else "no")
        judged += bar.most is not None
        met += verdict == "yes"
        most = "" if bar.most is None else f"{bar.most:g}"
        rows.append(f"| {bar.title} | {bar.against} | {most} | {'' if ratio is None else f'{ratio:.2f}'} | {verdict} |")
    return "\n".join(rows) + f"\n\n{met} of {judged} are met.\n"
