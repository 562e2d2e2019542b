"""``pocker ps``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import printable
from pyruntime.errors import UsageError
from pyruntime.images.cli.show import age, since
from pyruntime.networks.inspect import ports_line
from pyruntime.pocker.cli.filters import Filters
from pyruntime.pocker.cli.listing import FORMAT, Listing, label_texts, local_time
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers.container import Container, every
from pyruntime.pocker.containers.status import CREATED, EXITED, PAUSED, RESTARTING, starts_on_boot, status_of
from pyruntime.pocker.containers.stop import sweep
from pyruntime.pocker.containers.summary import summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from pyruntime.pocker.containers.container import ContainerRecord
    from pyruntime.pocker.containers.status import Status

COMMAND = Command("ps", "[options]", "list containers",
                  Flag("all", "bool", "list all containers (default: only running ones)", short="a"),
                  Flag("filter", "list", "filter by ancestor, before, exited, expose, health, id, label, name,"
                       " network, publish, restart-policy, should-start-on-boot, since, status or volume", short="f",
                       value="KEY=VALUE"),
                  FORMAT,
                  Flag("last", "int", "list the last N created containers, in all states", short="n", default=0),
                  Flag("latest", "bool", "list the last created container, in all states", short="l"),
                  Flag("no-trunc", "bool", "do not truncate output"),
                  Flag("quiet", "bool", "print only IDs", short="q"),
                  Flag("size", "bool", "print the size of the files that each container has written", short="s"),
                  most=0,
                  text="Example:\n  pocker ps -a --filter status=exited")
_TRUNCATED, _MOUNT = 20, 15   # characters of a command and of a mount's name, as Docker shows them
_LISTING = Listing(
    {"ID": "CONTAINER ID", "Image": "", "Command": "", "CreatedAt": "", "RunningFor": "CREATED", "Status": "",
     "Ports": "", "Names": "", "Size": "", "State": "", "Labels": "", "LocalVolumes": "", "Mounts": "", "Networks": ""},
    ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"))


def _named(row: dict[str, Any], value: str) -> bool:
    """Whether a regular expression matches anywhere in the name, with or without Docker's slash before it."""
    import re  # lazy: only with this filter

    try:
        return any(re.search(value, name) for name in (row["Names"], f"/{row['Names']}"))
    except re.error:
        raise UsageError(f'--filter "name={value}": this is not a regular expression') from None


def _has_port(ports: Iterable[str], value: str) -> bool:
    """Whether the value (80, 80-90 or 80/tcp) matches one of the ports, such as 80/tcp."""
    numbers, _, protocol = value.partition("/")
    first, _, last = numbers.partition("-")
    if not first.isdecimal() or not (last or first).isdecimal():
        raise UsageError(f'--filter: "{value}" is not a port: write PORT[-PORT][/tcp|udp|sctp]')
    for port in ports:
        number, _, kind = port.partition("/")
        if int(first) <= int(number) <= int(last or first) and kind == (protocol or "tcp"):
            return True
    return False


def _boolean(key: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise UsageError(f'--filter "{key}={value}": write true or false')
    return value == "true"


_MATCH: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "id": lambda row, value: row["ID"].startswith(value),
    "name": _named,
    "status": lambda row, value: row["State"] == value,
    "health": lambda row, value: (row["Health"] or "none") == value,
    "exited": lambda row, value: row["State"] == EXITED and str(row["ExitCode"]) == value,
    "ancestor": lambda row, value: value in (row["Image"], row["ImageID"], row["ImageID"].partition(":")[2][:12]),
    "label": lambda row, value: value in (f"{key}={text}" for key, text in row["Labels"].items())
             or value in row["Labels"],
    "network": lambda row, value: value in row["Networks"],
    "volume": lambda row, value: any(value in (mount.source, mount.target) for mount in row["mounts"]),
    "publish": lambda row, value: _has_port(row["published"], value),
    "expose": lambda row, value: _has_port(row["exposed"], value),
    "restart-policy": lambda row, value: row["restart"] == value,
    "should-start-on-boot": lambda row, value: row["boot"] == _boolean("should-start-on-boot", value),
    "before": lambda row, value: row["CreatedAt"] < value,
    "since": lambda row, value: row["CreatedAt"] > value,
}


def _filters(context: PockerContext, words: Sequence[str]) -> Filters:
    """The filters; before and since name a container, whose creation time is the limit."""
    found = []
    for word in words:
        key, _, name = word.partition("=")
        found.append(f"{key}={context.find(name).read().created}" if key in ("before", "since") else word)
    return Filters(found, _MATCH)


def matching(context: PockerContext, words: Sequence[str]) -> list[str]:
    """The IDs of all containers that fit the words of ``--filter``, the oldest first. Raises UsageError."""
    filters, found = _filters(context, words), []
    for container, record in every(context.places, context.warn):
        status = status_of(container)
        if filters.fit({**_row(container, record, status), **_hidden(record, status)}):
            found.append(container.id)
    return found[::-1]


def run(context: PockerContext, parsed: Parsed) -> int:
    """List them."""
    sweep(context.places, context.warn)
    filters = _filters(context, parsed["filter"])
    last = 1 if parsed["latest"] else parsed["last"]
    everything = parsed["all"] or last or filters.asks("status", "exited")
    rows = []
    for container, record in every(context.places, context.warn):
        status = status_of(container)
        row = _row(container, record, status)
        if (everything or status.word not in (CREATED, EXITED)) and filters.fit({**row, **_hidden(record, status)}):
            rows.append(row)
        if last and len(rows) == last:
            break
    if parsed["quiet"]:
        out("".join(f"{row['ID'] if parsed['no-trunc'] else row['ID'][:12]}\n" for row in rows))
        return 0
    sizes = _sizes(context, rows) if parsed["size"] or ".Size" in parsed["format"] else {}
    _LISTING.show(parsed["format"], [_texts(row, sizes.get(row["ID"], "0B"), whole=parsed["no-trunc"]) for row in rows],
                  (*_LISTING.usual, "Size") if parsed["size"] else ())
    return 0


def _sizes(context: PockerContext, rows: list[dict[str, Any]]) -> dict[str, str]:
    """The size of the files that each container has written, and the total size with its image."""
    # lazy: only for images
    from pyruntime.images.lookup import by_manifest
    from pyruntime.images.progress import size
    from pyruntime.pocker.containers.diff import written

    found = {}
    for row in rows:
        container = Container(context.places, row["ID"])
        own, image = written(container), by_manifest(context.places.store, row["manifest"])
        found[row["ID"]] = f"{size(own)} (virtual {size(own + image.size)})"
    return found


def _row(container: Container, record: ContainerRecord, status: Status) -> dict[str, Any]:
    found = summary(container, record, status)
    return {"ID": found.id, "Image": found.image, "ImageID": found.image_id, "Command": _command(found.command),
            "CreatedAt": found.created, "State": found.state, "Status": in_words(status, found.health),
            "ExitCode": found.exit_status or 0, "Ports": ports_line(found.endpoint), "Names": found.name,
            "Labels": found.labels, "Pid": found.pid, "Health": found.health, "Networks": list(found.networks),
            "Mounts": [mount.source or mount.target for mount in found.mounts], "mounts": found.mounts,
            "manifest": record.manifest}


def _command(words: Sequence[str]) -> str:
    """The program and its arguments; those with a space in quotes, as Docker shows them."""
    return " ".join([*words[:1], *(f"'{word}'" if " " in word else word for word in words[1:])])


def _hidden(record: ContainerRecord, status: Status) -> dict[str, Any]:
    """The values that filters need in addition to the columns."""
    restart = record.settings.restart.name
    published = [f"{port.container_port}/{port.protocol}" for port in record.settings.publish]
    exposed = [*(record.image_config.get("ExposedPorts") or {}), *record.settings.expose]
    exposed = [port if "/" in port else f"{port}/tcp" for port in exposed]
    return {"published": [*published, *(exposed if record.settings.publish_all else [])],
            "exposed": [*published, *exposed], "restart": restart, "boot": starts_on_boot(restart, status)}


def _texts(row: dict[str, Any], size: str, *, whole: bool) -> dict[str, Any]:
    """The row as Docker shows it: long values are truncated, lists are separated by commas."""
    words = row["Command"]
    if not whole and len(words) > _TRUNCATED:
        words = words[:_TRUNCATED - 1] + "…"
    return {**row, **label_texts(row["Labels"]), "ID": row["ID"] if whole else row["ID"][:12],
            "Command": f'"{printable(words)}"', "CreatedAt": local_time(row["CreatedAt"]),
            "RunningFor": age(row["CreatedAt"]), "Networks": ",".join(row["Networks"]), "Size": size,
            "Mounts": ",".join(_shown(name, whole=whole) for name in row["Mounts"]),
            "LocalVolumes": str(sum(mount.kind == "volume" for mount in row["mounts"]))}


def _shown(name: str, *, whole: bool) -> str:
    """The name of a mount, as long as Docker shows it."""
    return name if whole or len(name) <= _MOUNT else name[:_MOUNT - 1] + "…"


def in_words(status: Status, health: str = "") -> str:
    """The status as people read it: ``Up 5 minutes (healthy)``, ``Exited (0) 2 hours ago``."""
    if status.word == CREATED:
        return "Created"
    if status.exit is not None:
        word = "Restarting" if status.word == RESTARTING else "Exited"
        return f"{word} ({status.exit.status}) {age(status.exit.finished)}".rstrip()
    up = since(status.run.started)
    if status.word == PAUSED:
        return f"Up {up} (Paused)"
    return f"Up {up}" + (f" ({'health: starting' if health == 'starting' else health})" if health else "")
