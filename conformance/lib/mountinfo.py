"""Read a mount point from /proc/PID/mountinfo."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mounted:
    """A line of mountinfo: see proc_pid_mountinfo(5). ``tags`` are the propagation fields ("shared:1", ...)."""

    root: str
    target: str
    options: frozenset[str]
    tags: tuple[str, ...]
    kind: str
    source: str
    super_options: frozenset[str]

    def tagged(self, word: str) -> bool:
        return any(tag.partition(":")[0] == word for tag in self.tags)


def parse(text: str) -> list[Mounted]:
    found = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        if not separator:
            continue
        fields, tail = left.split(), right.split(" ")
        options = frozenset(fields[5].split(","))
        super_options = frozenset(tail[2].split(",")) if len(tail) > 2 else frozenset()
        found.append(Mounted(fields[3], fields[4], options, tuple(fields[6:]), tail[0], tail[1], super_options))
    return found


def at(text: str, target: str) -> Mounted | None:
    """The mount on top at this mount point."""
    on_it = [mounted for mounted in parse(text) if mounted.target == target]
    return on_it[-1] if on_it else None
