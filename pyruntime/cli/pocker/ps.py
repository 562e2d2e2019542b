"""``pocker ps``."""

from __future__ import annotations

from pyruntime.cli.image.show import age, show
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.filters import Filters
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.cli.table import columns
from pyruntime.engine.container import every
from pyruntime.engine.describe import labels, program
from pyruntime.engine.ending import sweep
from pyruntime.engine.network import endpoints
from pyruntime.engine.network.networks import DEFAULT
from pyruntime.engine.network.picture import ports_line
from pyruntime.engine.status import CREATED, EXITED, PAUSED, RESTARTING, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.engine.container import Container, Record
    from pyruntime.engine.status import Status

COMMAND = Command("ps", "[options]", "list containers",
                  Flag("all", "bool", "those that do not run too", short="a"),
                  Flag("filter", "list", "show only those that fit: ancestor, exited, health, id, label, name, network,"
                       " status", short="f", value="KEY=VALUE"),
                  Flag("format", "str", "table, json, or a template such as '{{.Names}} {{.Status}}'", default="table"),
                  Flag("last", "int", "the last N that were created, running or not", short="n", default=0),
                  Flag("latest", "bool", "the one that was created last", short="l"),
                  Flag("no-trunc", "bool", "print everything whole"),
                  Flag("quiet", "bool", "print IDs alone", short="q"), most=0,
                  text="Example:\n  pocker ps -a --filter status=exited")
_TRUNCATED = 20   # characters of a command, as Docker shows it
_MATCH: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "id": lambda row, value: row["ID"].startswith(value),
    "name": lambda row, value: value in row["Names"],
    "status": lambda row, value: row["State"] == value,
    "health": lambda row, value: (row["Health"] or "none") == value,
    "exited": lambda row, value: row["State"] == EXITED and str(row["ExitCode"]) == value,
    "ancestor": lambda row, value: value in (row["Image"], row["ImageID"], row["ImageID"].partition(":")[2][:12]),
    "label": lambda row, value: value in (f"{key}={text}" for key, text in row["Labels"].items())
             or value in row["Labels"],
    "network": lambda row, value: value in row["Networks"],
}


def run(context: Context, parsed: Parsed) -> int:
    """List them."""
    sweep(context.places, context.warn)
    filters = Filters(parsed["filter"], _MATCH)
    last = 1 if parsed["latest"] else parsed["last"]
    everything = parsed["all"] or last or filters.asks("status", "exited")
    rows = []
    for container, record in every(context.places):
        status = status_of(container)
        row = _row(container, record, status)
        if (everything or status.word not in (CREATED, EXITED)) and filters.fit(row):
            rows.append(row)
        if last and len(rows) == last:
            break
    if parsed["quiet"]:
        out("".join(f"{row['ID'] if parsed['no-trunc'] else row['ID'][:12]}\n" for row in rows))
    elif not show(parsed["format"], rows):
        table = [["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]]
        for row in rows:
            words = row["Command"]
            short = words if parsed["no-trunc"] or len(words) <= _TRUNCATED else words[:_TRUNCATED - 1] + "…"
            table.append([row["ID"] if parsed["no-trunc"] else row["ID"][:12], row["Image"], f'"{short}"',
                          age(row["CreatedAt"]), row["Status"], row["Ports"], row["Names"]])
        out(columns(table))
    return 0


def _row(container: Container, record: Record, status: Status) -> dict[str, Any]:
    endpoint = endpoints.read(container.places, record.id)
    health = ""
    if record.settings.health.get("test"):
        from pyruntime.engine.health import health_of

        found = health_of(container, record, status.run)
        health = found.status if found else ""
    return {"ID": record.id, "Image": record.image, "ImageID": record.image_id, "Command": " ".join(program(record)),
            "CreatedAt": record.created, "State": status.word, "Status": in_words(status, health),
            "ExitCode": status.exit.status if status.exit else 0, "Ports": ports_line(endpoint), "Names": record.name,
            "Labels": labels(record), "Pid": status.pid, "Health": health,
            "Networks": [network["name"] for network in record.settings.networks] or [DEFAULT]}


def in_words(status: Status, health: str = "") -> str:
    """The status as people read it: ``Up 5 minutes (healthy)``, ``Exited (0) 2 hours ago``."""
    if status.word == CREATED:
        return "Created"
    if status.exit is not None:
        since = age(status.exit.finished)
        return f"{'Restarting' if status.word == RESTARTING else 'Exited'} ({status.exit.status}) {since}".rstrip()
    since = age(status.run.started).removesuffix(" ago").replace("just now", "less than a minute")
    if status.word == PAUSED:
        return f"Up {since} (paused)"
    return f"Up {since}" + (f" ({'health: starting' if health == 'starting' else health})" if health else "")
