"""``pocker stats [CONTAINER...]``."""

from __future__ import annotations

import os
import time

from pyruntime.commandline.log import safe
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import NoSuchContainer
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.listing import FORMAT, Listing
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers.container import every
from pyruntime.pocker.containers.stats import usage
from pyruntime.pocker.containers.status import CREATED, EXITED, status_of
from pyruntime.system.terminal import can_redraw, screen, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container
    from pyruntime.pocker.containers.stats import ContainerUsage

_LISTING = Listing(
    {"ID": "CONTAINER ID", "Container": "", "Name": "", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
     "MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS"},
    ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"))
_NUMBERS = ("CPUNanoseconds", "MemBytes", "MemLimitBytes", "NetReceived", "NetSent", "BlockRead", "BlockWritten")
COMMAND = Command(
    "stats", "[options] [CONTAINER...]", "show the resource usage of containers",
    Flag("all", "bool", "show all containers (default: only running ones)", short="a"),
    FORMAT,
    Flag("interval", "int", "seconds between two updates", short="i", default=1),
    LATEST_FLAG,
    Flag("no-stream", "bool", "print the first result only"),
    Flag("no-trunc", "bool", "do not truncate IDs"),
    text="Shows the named containers, or all running containers. CPU usage is that of the last interval;\n"
         "100 % is one CPU. Memory usage excludes the inactive page cache.\n\nExample:\n  pocker stats --no-stream web")
# The columns that a narrow terminal lacks first.
_DISPENSABLE = ("ID", "BlockIO", "NetIO", "MemPerc")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Show the usage, once or at each interval."""
    interval = max(1, parsed["interval"])
    redraw = can_redraw(1) and not parsed["no-stream"]
    sample, rows = _sample(context, parsed, {})
    if redraw:   # at once; the usage of a CPU is a difference, and follows
        _redraw(parsed, rows)
    while True:
        time.sleep(interval)
        sample, rows = _sample(context, parsed, sample)
        if redraw:
            _redraw(parsed, rows)
        else:
            _LISTING.show(parsed["format"], rows)
        if parsed["no-stream"]:
            return 0


def _sample(context: PockerContext, parsed: Parsed,
            before: dict[str, ContainerUsage]) -> tuple[dict[str, ContainerUsage], list[dict[str, Any]]]:
    """The usage of each running container by its ID, and the rows."""
    now, rows = {}, []
    for container, name in _wanted(context, parsed):
        found = usage(container)
        if found is not None:
            now[container.id] = found
        row = _row(container, name, found, before.get(container.id))
        rows.append({**row, "ID": row["ID"][:64 if parsed["no-trunc"] else 12]})
    return now, rows


def _wanted(context: PockerContext, parsed: Parsed) -> list[tuple[Container, str]]:
    """The containers and their names. Raises NoSuchContainer if a named container has been removed."""
    if parsed.arguments:
        named = [context.find(name) for name in parsed.arguments]
        return [(container, container.read().name) for container in named]
    return [(container, record.name) for container, record in every(context.places)
            if parsed["all"] or _runs(container)]


def _runs(container: Container) -> bool:
    try:
        return status_of(container).word not in (CREATED, EXITED)
    except NoSuchContainer:
        return False   # it has been removed since


def _row(container: Container, name: str, now: ContainerUsage | None, before: ContainerUsage | None) -> dict[str, Any]:
    """The row in Docker's members and forms; the plain numbers are there for templates."""
    row = {"ID": container.id, "Container": container.id[:12], "Name": name, "Running": now is not None}
    numbers = (now.cpu, now.memory, now.limit, *now.net, *now.block) if now else (0,) * len(_NUMBERS)
    _, memory, limit, received, sent, read, written = numbers
    cpu = "0.00%" if now is None else "--" if before is None else f"{now.cpu_since(before):.2f}%"
    return {**row, **dict(zip(_NUMBERS, numbers, strict=True)), "CPUPerc": cpu,
            "MemUsage": f"{_binary(memory)} / {_binary(limit)}",
            "MemPerc": f"{now.memory_share() if now else 0.0:.2f}%",
            "NetIO": f"{_decimal(received)} / {_decimal(sent)}",
            "BlockIO": f"{_decimal(read)} / {_decimal(written)}", "PIDs": str(now.pids if now else 0)}


def _redraw(parsed: Parsed, rows: list[dict[str, Any]]) -> None:
    """Replace what the terminal shows by a table that fits."""
    size = size_of(1)
    columns, dispensable = list(_LISTING.usual), list(_DISPENSABLE)
    lines = _lines(parsed, rows, columns)
    while dispensable and max(map(len, lines), default=0) >= size.columns:
        columns.remove(dispensable.pop(0))
        lines = _lines(parsed, rows, columns)
    os.write(1, screen(lines, size).encode("utf-8", "replace"))


def _lines(parsed: Parsed, rows: list[dict[str, Any]], columns: list[str]) -> list[str]:
    return safe(_LISTING.text(parsed["format"], rows, columns)).expandtabs().splitlines()


def _binary(number: int) -> str:
    """Bytes as `docker stats` writes memory: 1.5MiB."""
    return _scaled(number, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def _decimal(number: int) -> str:
    """Bytes as `docker stats` writes traffic: 1.57MB."""
    return _scaled(number, 1000, ("B", "kB", "MB", "GB", "TB"))


def _scaled(number: float, base: int, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if number < base:
            return f"{number:.4g}{unit}"
        number /= base
    return f"{number:.4g}{units[-1]}"
