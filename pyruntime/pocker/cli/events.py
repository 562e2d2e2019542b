"""``pocker events``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import printable
from pyruntime.pocker.cli.filters import Filters
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.events import events
from pyruntime.system.times import parse, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

COMMAND = Command(
    "events", "[options]", "show events of containers, images, networks and volumes",
    Flag("filter", "list", "filter by container, event, image, label, network, type or volume",
         short="f", value="KEY=VALUE"),
    Flag("format", "str", "output format: json, or a template such as '{{.Action}} {{.Actor.ID}}'", value="FORMAT"),
    Flag("since", "str", "show events since a timestamp (RFC 3339 or seconds since 1970) or relative time (10m)",
         value="TIME"),
    Flag("stream", "bool", "wait for new events; --stream=false: show past events and exit", default=True),
    Flag("until", "str", "show events until a timestamp or relative time, then exit", value="TIME"), most=0,
    text="Without --since, only new events are shown. Events are kept since the last boot;\n"
         "old events are dropped.\n\n"
         "Example:\n  pocker events --since 10m --filter event=die")


def _of(event: dict[str, Any], kind: str, value: str) -> bool:
    """Whether the event is of the object that the value names, or refers to that object."""
    actor = event["Actor"]
    if event["Type"] == kind:
        return bool(actor["Attributes"].get("name") == value or (value and actor["ID"].startswith(value)))
    return kind != "container" and actor["Attributes"].get(kind) == value


def _label(event: dict[str, Any], value: str) -> bool:
    name, equals, wanted = value.partition("=")
    found = event["Actor"]["Attributes"].get(name)
    return found is not None and (not equals or found == wanted)


def _image(event: dict[str, Any], value: str) -> bool:
    attributes = event["Actor"]["Attributes"]
    names = {attributes.get("image", ""), attributes.get("name", "") if event["Type"] == "image" else "",
             event["Actor"]["ID"] if event["Type"] == "image" else ""}
    return any(name and value in (name, name.partition("@")[0].rpartition(":")[0]) for name in names)


_MATCH: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "container": lambda event, value: _of(event, "container", value),
    "event": lambda event, value: value in (event["Action"], event["Action"].partition(":")[0]),
    "image": _image,
    "label": _label,
    "network": lambda event, value: _of(event, "network", value),
    "type": lambda event, value: bool(event["Type"] == value),
    "volume": lambda event, value: _of(event, "volume", value),
}


def run(context: PockerContext, parsed: Parsed) -> int:
    """Show them."""
    filters = Filters(parsed["filter"], _MATCH)
    since = _time(parsed, "since")
    if since is None and not parsed["stream"]:
        since = 0   # all recorded events
    for event in events(context.places, since=since, until=_time(parsed, "until"), follow=parsed["stream"]):
        if filters.fit(event):
            out(_line(event, parsed["format"]) + "\n")
    return 0


def _line(event: dict[str, Any], form: str) -> str:
    if form == "json":
        from pyruntime.system.json import encode  # lazy: only with --format json
        return encode(event)
    if form:
        from pyruntime.commandline.template import render  # lazy: only with a template
        return render(form, event)
    when = timestamp(event["timeNano"])
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(event["Actor"]["Attributes"].items()))
    return printable(f"{when} {event['Type']} {event['Action']} {event['Actor']['ID']} ({attributes})")


def _time(parsed: Parsed, flag: str) -> int | None:
    """A moment as nanoseconds after 1970."""
    if not parsed[flag]:
        return None
    from pyruntime.pocker.cli.times import moment  # lazy: only with a time

    return parse(moment(parsed[flag], f"--{flag}"))
