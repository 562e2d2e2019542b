"""``pocker run --trace``: the effect of each flag, layer by layer.

The process that starts the container prints the trace after it has mounted the root filesystem, chosen the addresses
and written the configuration, and before it creates the container. The effect of a flag is computed: the configuration
is made a second time without the flag, and the difference is the effect. ELSEWHERE lists the flags that act outside the
configuration.
"""

from __future__ import annotations

import json
import os

from pyruntime.commandline.parse import Parsed
from pyruntime.errors import PyruntimeError
from pyruntime.images.bundle import Bundle
from pyruntime.pocker.containers import runtime_config as spec
from pyruntime.pocker.containers.container import ContainerRecord
from pyruntime.pocker.containers.network import mode_of
from pyruntime.pocker.options.flags import FLAGS, settings_of
from pyruntime.pocker.settings import ContainerSettings
from pyruntime.runtime.api import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.commandline.parse import Command
    from pyruntime.networks.attach import Reservation
    from pyruntime.pocker.containers.container import Container

_LINES = 12    # per flag
_WIDTH = 200   # of a value
# Flag -> its reader, for flags that have another effect than a change of config.json, or an additional one.
ELSEWHERE = {
    **dict.fromkeys(("rm", "restart"), "container.json: read when the program has ended"),
    **dict.fromkeys(("stop-signal", "stop-timeout"), "container.json: read by `pocker stop`"),
    **dict.fromkeys(("label", "label-file"), "container.json: shown by `pocker inspect`, used by filters"),
    **dict.fromkeys(("log-driver", "log-opt"), "the monitor, which writes the log"),
    **dict.fromkeys((flag.name for flag in FLAGS if "health" in flag.name),
                    "the monitor, which runs the check in the container"),
    **dict.fromkeys(("interactive", "tty"), "the monitor, which holds the program's streams"),
    **dict.fromkeys(("network", "net", "ip", "ip6", "mac-address"), "the network above"),
    **dict.fromkeys(("publish", "publish-all", "expose"), "the network above: ports, rules and the proxy"),
    **dict.fromkeys(("dns", "dns-search", "dns-option", "dns-opt"), "the container's resolv.conf, and the name server"),
    **dict.fromkeys(("network-alias", "net-alias", "link"), "the name server"),
    "runtime": "nothing: there is no other runtime",
    **dict.fromkeys(("kernel-memory", "disable-content-trust", "volume-driver"), "nothing: accepted for compatibility"),
    "add-host": "the container's /etc/hosts",
    **dict.fromkeys(("volume", "mount", "volumes-from"), "volumes: missing volumes are created now"),
    "userns": "the user namespace: its ids, and the layers mounted with them, if the container has its own",
    "name": "the directory of names: a link to the container",
    **dict.fromkeys(("pull", "platform", "quiet"), "the image above"),
    "cidfile": "this command, which has written the file",
    **dict.fromkeys(("attach", "detach", "detach-keys", "sig-proxy"), "this command alone"),
}


class Given:
    """A flag of the command line, or the words after the image (``name`` is "" then).

    ``asked``    the settings of the whole command line, before those of the image and of other containers are added
    ``without``  the same without this flag, and without the flag that needs it (--memory-swap needs --memory); None if
                 several flags need it
    """

    __slots__ = ("asked", "name", "text", "without")

    def __init__(self, name: str, text: str, asked: ContainerSettings, without: ContainerSettings | None) -> None:
        self.name = name
        self.text = text
        self.asked = asked
        self.without = without


def given(command: Command, parsed: Parsed) -> Iterator[Given]:
    """The flags of the command line, in the order of their names, then the words after the image."""
    asked = settings_of(parsed)
    for flag in command.flags:
        if flag.name in parsed.given and flag.name != "trace":
            value = parsed[flag.name]
            text = (f"--{flag.name}" + ("" if value else "=false") if flag.kind == "bool" else
                    " ".join(f"--{flag.name} {item}" for item in (value if flag.kind == "list" else [value])))
            yield _given(command, parsed, flag.name, text, asked)
    if len(parsed.arguments) > 1:
        yield _given(command, parsed, "", " ".join(parsed.arguments[1:]), asked)


def _given(command: Command, parsed: Parsed, name: str, text: str, asked: ContainerSettings) -> Given:
    for other in ("", *sorted(parsed.given - {name})):
        rest = Parsed(command)
        rest.given = parsed.given - {name, other}
        rest.values |= {left: parsed[left] for left in rest.given}
        rest.arguments = parsed.arguments if name else parsed.arguments[:1]
        try:
            without = settings_of(rest)
        except PyruntimeError:
            continue   # the next flag may be the one that needs it
        return Given(name, text + (f", with --{other} that needs it" if other else ""), asked, without)
    return Given(name, text, asked, None)


def record_without(record: ContainerRecord, flag: Given) -> ContainerRecord:
    """The record as it would be without the flag. Values that were completed since (names of volumes, mounts of the
    image and of other containers, ids) stay as they are, so that nothing differs by chance."""
    assert flag.without is not None
    asked = {mount.target for mount in flag.asked.mounts}
    left = {mount.target for mount in flag.without.mounts}
    borrows = bool(flag.without.volumes_from) or not flag.asked.volumes_from
    changed = {name: getattr(flag.without, name) for name in flag.asked.fields()
               if getattr(flag.asked, name) != getattr(flag.without, name)}
    changed["mounts"] = [mount for mount in record.settings.mounts if mount.target in left or (
        mount.target not in asked and (borrows or mount.anonymous))]
    settings = record.settings.replace(**changed)
    if settings.userns in ("", "host"):
        settings = settings.replace(ids=None)
    return ContainerRecord(**{name: getattr(record, name) for name in record.FIELDS} | {"settings": settings})


class Trace:
    """Prints to a duplicate of standard error, because the process that starts the container has closed its own."""

    def __init__(self, command: Command, parsed: Parsed) -> None:
        self.fd = os.dup(2)
        self._given = list(given(command, parsed))

    def __call__(self, container: Container, record: ContainerRecord, root: int, network: Reservation | None) -> None:
        """Print the trace of a container that is about to be created; ``root`` is its root filesystem."""
        document = spec.document(container, record, root)
        parts = (_image(container, record), _network(record, network), self._flags(container, record, root, document),
                 _configuration(container, document), _plan(container, record))
        data = "\n".join(line for part in parts for line in part).encode(errors="surrogateescape") + b"\n"
        while data:
            data = data[os.write(self.fd, data):]

    def _flags(self, container: Container, record: ContainerRecord, root: int, document: dict[str,
               Any]) -> Iterator[str]:
        yield "flags: what each one changes, compared with a container without it"
        if not self._given:
            yield "  none"
        for flag in self._given:
            yield f"  {flag.text}"
            found = list(_changes_by(flag, container, record, root, document))
            yield from (f"    config.json: {line}" for line in found[:_LINES])
            if len(found) > _LINES:
                yield f"    config.json: and {len(found) - _LINES} more places"
            if flag.name in ELSEWHERE:
                yield f"    {ELSEWHERE[flag.name]}"
            elif flag.without is None:
                yield "    its effect cannot be separated from that of the flags that need it"
            elif not found:
                kept = _settings_by(flag)
                yield from (f"    container.json: settings.{name} = {_short(value)}" for name, value in kept.items())
                yield f"    config.json: is the same without it{'' if kept else ', as is everything'}"


def _settings_by(flag: Given) -> dict[str, Any]:
    """The fields of the record's settings that the flag changes, with its values."""
    before = flag.without.document() if flag.without else {}
    return {name: value for name, value in flag.asked.document().items() if value != before.get(name)}


def _changes_by(flag: Given, container: Container, record: ContainerRecord, root: int,
                document: dict[str, Any]) -> Iterator[str]:
    if flag.without is None:
        return
    try:
        before = spec.document(container, record_without(record, flag), root)
    except PyruntimeError as error:
        yield f"there would be no container without it: {error}"
        return
    yield from together(differences(before, document))


# --- the layers around the flags --------------------------------------------------------------------------------------


def _image(container: Container, record: ContainerRecord) -> Iterator[str]:
    bundle = Bundle(container.places.store, container.directory)
    yield f"image: {record.image}"
    yield f"  manifest     {record.manifest}"
    yield f"  image ID     {record.image_id}"
    for number, directory in enumerate(bundle.layers.directories, 1):
        yield f"  layer {number:<6} {directory}"
    yield f"  root         {container.rootfs}: {record.driver}, only in the monitor's mount namespace"
    yield f"  changes      {container.private}"
    for name, value in record.image_config.items():
        if value and name != "Labels":
            yield f"  {name:<12} {_short(value)}"


def _network(record: ContainerRecord, network: Reservation | None) -> Iterator[str]:
    endpoint = network.endpoint if network else None
    mode = mode_of(record)
    if endpoint is None:
        what = {"none": "a loopback interface", "host": "the host's interfaces"}
        yield f"network: {mode} ({what.get(mode, 'the interfaces of that container')})"
        return
    yield "network: " + (", ".join(entry["network"] for entry in endpoint.joined) or endpoint.outside)
    for entry in endpoint.joined:
        yield f"  interface    {entry['inside']} with {entry['mac']}; on the host {entry['link']}, in the bridge" \
              f" {entry['interface']}"
        for number, address, gateway in (("", "ip", "gateway"), ("6", "ip6", "gateway6")):
            if entry[address]:
                yield (f"  address      {entry[address]} of {entry['subnet' + number]}, default route through"
                       f" {entry[gateway]}")
        yield f"  rules        nft list table inet {entry['interface']}"
    for port in endpoint.ports:
        yield f"  port         {port['host']} {port['port']}/{port['protocol']} leads to {port['to']}"
    yield f"  names        {', '.join(endpoint.names)}"


def _configuration(container: Container, document: dict[str, Any]) -> Iterator[str]:
    process, linux = document["process"], document["linux"]
    yield f"configuration: {container.directory}/config.json"
    yield f"  namespaces   {', '.join(entry['type'] for entry in linux['namespaces'])}"
    yield f"  mounts       {', '.join(entry['destination'] for entry in document['mounts'])}"
    yield f"  hidden       {len(linux['maskedPaths'])} paths, and {len(linux['readonlyPaths'])} read-only"
    yield f"  allowed      {len(process['capabilities']['bounding'])} capabilities; " + (
        f"{sum(len(rule['names']) for rule in linux['seccomp']['syscalls'])} system calls by the seccomp filter"
        if linux.get("seccomp") else "no seccomp filter")
    yield f"  cgroup       {linux.get('cgroupsPath', 'created by the runtime, if it has permission')}"


def _plan(container: Container, record: ContainerRecord) -> Iterator[str]:
    plan = Runtime(container.places.runtime).plan(container.id, container.directory)
    counts: dict[str, int] = {}
    for step in plan.steps:
        counts[step.phase] = counts.get(step.phase, 0) + 1
    yield f"plan: {len(plan.steps)} steps"
    yield "  " + ", ".join(f"{phase} {count}" for phase, count in counts.items())
    yield f"  read it{' while the container exists' if record.settings.remove else ''}:"
    yield f"  pyruntime explain {container.directory}"


# --- what differs -----------------------------------------------------------------------------------------------------


def differences(before: Any, after: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """The differences of two documents: the place in the second document, and how it differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*after, *(name for name in before if name not in after)]:
            inner = f"{place}.{name}" if place else name
            if name not in after:
                yield inner, f"is missing; without the flag {_short(before[name])}"
            elif name not in before and isinstance(after[name], dict) and after[name]:
                yield from differences({}, after[name], inner)
            elif name not in before or before[name] != after[name]:
                yield from differences(before.get(name), after[name], inner)
    elif isinstance(before, list) and isinstance(after, list) and place != "process.args":
        yield from _of_lists(before, after, place)
    elif before != after:
        yield place, f"= {_short(after)}" + (f"; without the flag {_short(before)}" if before is not None else "")


def _of_lists(before: list[Any], after: list[Any], place: str) -> Iterator[tuple[str, str]]:
    there = {_key(item): item for item in before}
    words: list[str] = []
    for number, item in enumerate(after):
        old = there.pop(_key(item), None)
        if old is None and isinstance(item, str):
            words.append(item)
        elif old is None:
            yield f"{place}[{number}]", f"= {_short(item)}"
        else:
            yield from differences(old, item, f"{place}[{number}]")
    if words:
        yield place, f"with {_short(words)}"
    if there:
        yield place, f"without {_short(list(there.values()))}"


def _key(item: Any) -> str:
    """The key of an item of a list: its name, if it has one, else the whole item."""
    if isinstance(item, dict):
        name = item.get("destination", item.get("path", item.get("type") if "access" not in item else None))
        return json.dumps(item if name is None else name)
    return str(item).partition("=")[0]


def together(changes: Iterator[tuple[str, str]]) -> Iterator[str]:
    """A line for each change; a single line for equal changes at neighbouring places (sets of capabilities)."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for place, how in changes:
        above, _, name = place.partition("[")[0].rpartition(".")
        index = place[len(above) + bool(above) + len(name):]
        grouped.setdefault((above, index, how), []).append(name)
    for (above, index, how), names in grouped.items():
        last = names[0] if len(names) == 1 else "{" + ",".join(names) + "}"
        yield f"{above}{'.' if above else ''}{last}{index} {how}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDTH else text[:_WIDTH] + "..."
