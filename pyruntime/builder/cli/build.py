"""``build`` of pocker and of pyimage: its flags, and how a build runs."""

from __future__ import annotations

import os

from pyruntime.builder.cli import options as build_options
from pyruntime.builder.cli.results import deliver, steps_of
from pyruntime.commandline.parse import Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import NoSuchImage, UsageError
from pyruntime.images.cli.remote import REMOTE, remote_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.builder.cache.exports import Steps
    from pyruntime.builder.cache.imports import Caches
    from pyruntime.builder.cache.locations import CachePlace
    from pyruntime.builder.graph.execute import Execution, Settings
    from pyruntime.builder.graph.plan import Plan
    from pyruntime.builder.progress import Progress
    from pyruntime.builder.result import Output
    from pyruntime.builder.steps.mounts import Secrets
    from pyruntime.builder.steps.origins import Origins, Remote
    from pyruntime.images.lookup import Image
    from pyruntime.images.platform import Platform
    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.base import Source
    from pyruntime.networks.site import Site

_OWN = (
    Flag("add-host", "list", "add a line to /etc/hosts for RUN; host-gateway is the host's address",
         value="NAME:ADDRESS"),
    Flag("allow", "list", "allow an extra privilege: network.host, for RUN --network=host",
         value="ENTITLEMENT"),
    Flag("build-arg", "list", "set a build-time variable (ARG); NAME alone copies the host's value",
         value="NAME[=VALUE]"),
    Flag("build-context", "list", "additional build context: a directory, a git URL or docker-image://NAME",
         value="NAME=CONTEXT"),
    Flag("cache-from", "list", "import build cache from a registry or a directory, as --cache-to wrote it",
         value="NAME|DIR|type=KIND,..."),
    Flag("cache-to", "list", "export the build cache to a registry, a directory or the image itself (inline);"
         " mode=max: with the layers of all stages", value="NAME|DIR|type=KIND,..."),
    Flag("compression", "str", "compression of new layers: none, gzip or zstd", default="none"),
    Flag("file", "str", "path of the Dockerfile; -: standard input (default: Dockerfile or Containerfile in CONTEXT)",
         short="f", value="FILE"),
    Flag("iidfile", "str", "write the image ID to FILE", value="FILE"),
    Flag("label", "list", "set a label on the image", value="NAME=VALUE"),
    Flag("network", "str", "network of RUN: NAME, host, none, or default for pocker's default network",
         default="default"),
    Flag("no-cache", "bool", "do not use the build cache"),
    Flag("no-cache-filter", "list", "do not use the build cache for STAGE", value="STAGE"),
    Flag("output", "list", "export the root filesystem (local, tar) or the image (oci, docker)"
         " instead of storing the image", short="o", value="type=KIND,dest=PATH"),
    Flag("platform", "list", "target platform; several, separated by commas, make an index (default: the host's)",
         value="OS/ARCH[/VARIANT]"),
    Flag("progress", "str", "type of progress output: auto, plain, json or quiet", default="auto"),
    Flag("pull", "bool", "always try to pull newer base images"),
    Flag("quiet", "bool", "print only the image ID", short="q"),
    Flag("secret", "list", "secret to expose to RUN --mount=type=secret", value="id=NAME,src=FILE|env=NAME"),
    Flag("squash", "bool", "squash the new layers into one layer"),
    Flag("ssh", "list", "SSH agent socket to expose to RUN --mount=type=ssh", value="default|NAME[=SOCKET]"),
    Flag("tag", "list", "name of the image, with an optional tag", short="t", value="NAME[:TAG]"),
    Flag("target", "str", "target stage to build (default: the last stage)", value="STAGE"))
FLAGS = (*sorted((*_OWN, *build_options.FLAGS), key=lambda flag: flag.name), *REMOTE)
_LATEST = 253402300799   # seconds: the last time that RFC 3339 can express
_MOST = 1 << 20   # bytes of a secret
TEXT = """CONTEXT is a directory, the URL of a git repository, optionally with #REF:DIRECTORY, or - for
a tar archive or a Dockerfile on standard input.

SOURCE_DATE_EPOCH, from the environment or --build-arg, makes builds reproducible:
builds of the same files give the same image.

Example:
  """


class Surroundings:
    """What both programs hand in: the store, the directories of networks, messages, the requested storage driver."""

    def __init__(self, store: Store, site: Site, warn: Any, debug: Any, driver: str = "") -> None:
        self.store = store
        self.site = site
        self.warn = warn
        self.debug = debug
        self.driver = driver


def build(around: Surroundings, parsed: Parsed) -> int:
    """Build, and print the image's ID."""
    from pyruntime.builder.cache.imports import Caches
    from pyruntime.builder.context import open_context
    from pyruntime.builder.graph.execute import sweep
    from pyruntime.builder.graph.plan import Plan
    from pyruntime.builder.progress import progress
    from pyruntime.builder.result import Output
    from pyruntime.builder.steps.origins import Origins
    from pyruntime.images.platform import Platform
    from pyruntime.images.reference import Reference

    store = around.store
    platforms = list(dict.fromkeys(Platform.parse(word) for text in parsed["platform"] for word in text.split(",")))
    wanted: list[Platform | None] = [*platforms] or [None]
    outputs = [Output.parse(text) for text in parsed["output"]]
    build_options.check_options(parsed, outputs, around.warn)
    _check_outputs(outputs, platforms)
    for name in parsed["tag"]:
        Reference.parse(name)
    sources, targets = _places(parsed) if parsed["cache-from"] or parsed["cache-to"] else ([], [])
    settings, arguments = _settings(around, parsed)
    sweep(settings.place)
    contexts = dict(_pair(text, "build-context") for text in parsed["build-context"])

    def pull(reference: str, wanted: Platform | None, always: bool) -> tuple[Image, Remote | None]:
        return _pull(around, parsed, reference, wanted, always=always)

    def connect(place: CachePlace) -> Source:
        from pyruntime.builder.cli.caches import source_of
        return source_of(around, parsed, place)

    with store.lease(), Origins(store, contexts, pull=pull, always_pull=parsed["pull"]) as origins, \
            Caches(store, sources, connect, around.warn) as caches:
        context = open_context(parsed.arguments[0] if parsed.arguments else ".", parsed["file"], origins.scratch,
                               around.warn)
        plans = [Plan(context.text, context.name, origins, arguments=arguments, target=parsed["target"],
                      platform=platform, contexts=contexts) for platform in wanted]
        warnings = list(dict.fromkeys(warning for plan in plans for warning in plan.warnings()))
        for warning in warnings:
            around.warn(warning)
        if build_options.only_check(parsed):
            out(f"Check complete, {len(warnings) or 'no'} warning{'s' if len(warnings) != 1 else ''} found.\n")
            return 1 if warnings else 0
        shown = progress("quiet" if parsed["quiet"] else parsed["progress"])
        try:
            built = _execute(plans, context.tree, origins, settings, caches, shown, around)
            deliver(around, parsed, built, settings, outputs, is_inline=_has_inline(targets))
            _export(around, parsed, targets, steps_of(built, settings), caches, shown, built[-1].number)
        finally:
            shown.close()
        return 0


def _export(around: Surroundings, parsed: Parsed, targets: list[CachePlace], steps: Steps, caches: Caches,
            shown: Progress, number: int) -> None:
    """Export the build cache after the image is delivered, so that a failed export does not lose the build."""
    for place in targets:
        if place.kind == "inline":
            continue   # the image holds it already
        from pyruntime.builder.cli.caches import export
        number += 1
        outcome = "failed"
        shown.begin(number, f"exporting cache to {place}")
        try:
            if export(around, parsed, place, steps, caches):
                outcome = "done"
        finally:
            shown.end(number, outcome)


def _places(parsed: Parsed) -> tuple[list[CachePlace], list[CachePlace]]:
    """The caches of --cache-from and --cache-to."""
    from pyruntime.builder.cache.locations import readable, writable

    targets = [writable(text) for text in parsed["cache-to"]]
    if parsed["squash"] and _has_inline(targets):
        raise UsageError("--squash makes one layer of all: an image without the layers of its steps holds no cache;"
                         " write --cache-to type=registry or type=local")
    return [place for text in parsed["cache-from"] for place in readable(text)], targets


def _has_inline(targets: list[CachePlace]) -> bool:
    return any(place.kind == "inline" for place in targets)


def _check_outputs(outputs: list[Output], platforms: list[Platform]) -> None:
    if len(platforms) > 1:
        for output in outputs:
            if output.kind in ("docker", "tar"):
                raise UsageError(f"--output type={output.kind} holds one image, not {len(platforms)} platforms: write"
                                 " type=oci or type=local, or build one platform after the other")


def _execute(plans: list[Plan], tree: Any, origins: Origins, settings: Settings, caches: Caches, shown: Progress,
             around: Surroundings) -> list[Execution]:
    """Build one platform after the other, so that common steps come from the build cache."""
    from pyruntime.builder.graph.execute import Execution

    built: list[Execution] = []
    for plan in plans:
        label = str(plan.platform) if len(plans) > 1 else ""
        built.append(Execution(plan, around.store, tree, origins, settings, caches, shown, around.warn, label=label,
                               number=built[-1].number if built else 0))
        built[-1].run()
    return built


def _settings(around: Surroundings, parsed: Parsed) -> tuple[Settings, dict[str, str]]:
    from pyruntime.builder.graph import execute
    from pyruntime.builder.steps import network
    from pyruntime.builder.steps.run import Place

    made = execute.Settings(Place(around.site))
    build_options.limit(parsed, made.place)
    arguments = {}
    for text in parsed["build-arg"]:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f'--build-arg "{text}": write NAME=VALUE')
        if equals or name in os.environ:
            arguments[name] = value if equals else os.environ[name]
    epoch = arguments.get("SOURCE_DATE_EPOCH", os.environ.get("SOURCE_DATE_EPOCH", ""))
    if epoch:
        if not epoch.isascii() or not epoch.isdigit() or int(epoch[:12]) > _LATEST or len(epoch) > 12:
            raise UsageError(f'SOURCE_DATE_EPOCH "{epoch:.40}": write seconds after 1970, before the year 10000')
        made.epoch = int(epoch)
        arguments.setdefault("SOURCE_DATE_EPOCH", epoch)
    if parsed["compression"] not in ("none", "gzip", "zstd"):
        raise UsageError(f'--compression "{parsed["compression"]}": write none, gzip or zstd')
    for text in parsed["allow"]:
        if text != "network.host":
            raise UsageError(f'--allow "{text}": there is network.host')
    made.allowed = frozenset(parsed["allow"])
    made.driver = around.driver
    made.cache = not parsed["no-cache"]
    made.no_cache = frozenset(name.lower() for text in parsed["no-cache-filter"] for name in text.split(","))
    made.network = network.check(around.site, parsed["network"])
    made.hosts = [_host(text) for text in parsed["add-host"]]
    made.secrets = _secrets(parsed)
    return made, arguments


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError(f'--{flag} "{text}": write NAME=VALUE')
    return name, value


def _host(text: str) -> str:
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not name or not separator or not address:
        raise UsageError(f'--add-host "{text}": write NAME:ADDRESS')
    if address != "host-gateway":
        from pyruntime.networks.addresses import Address

        Address.parse(address.strip("[]"), "--add-host")
    return f"{name}:{address}"


def _secrets(parsed: Parsed) -> Secrets:
    from pyruntime.builder.steps.mounts import Secrets

    contents: dict[str, bytes] = {}
    for text in parsed["secret"]:
        values = dict(part.partition("=")[::2] for part in text.split(","))
        name = values.get("id", "")
        file, variable = values.get("src") or values.get("source") or "", values.get("env", "")
        if not name or set(values) - {"id", "src", "source", "env", "type"} or (file and variable):
            raise UsageError(f'--secret "{text}": write id=NAME,src=FILE or id=NAME,env=VARIABLE')
        if not file and (variable or values.get("type") == "env" or name in os.environ):
            if (variable or name) not in os.environ:
                raise UsageError(f'--secret "{text}": the variable "{variable or name}" is not set')
            contents[name] = os.environ[variable or name].encode("utf-8", "surrogateescape")
            continue
        try:
            with open(file or name, "rb") as opened:
                contents[name] = opened.read(_MOST + 1)
        except OSError as error:
            raise UsageError(f'--secret "{text}": "{file or name}": {error.strerror}') from None
        if len(contents[name]) > _MOST:
            raise UsageError(f'--secret "{text}": "{file or name}" is larger than {_MOST >> 20} MiB, and a secret is'
                             " kept in memory")
    agents: dict[str, str] = {}
    for text in parsed["ssh"]:
        name, _, socket = text.partition("=")
        socket = socket or os.environ.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise UsageError(f'--ssh "{text}": no agent: start one and set SSH_AUTH_SOCK, or write {name}=SOCKET')
        if not os.path.exists(socket) or os.path.isfile(socket):
            raise UsageError(f'--ssh "{text}": "{socket}" is not the socket of an agent: add keys to one (ssh-add)')
        agents[name] = os.path.abspath(socket)
    return Secrets(contents, agents)


def _pull(around: Surroundings, parsed: Parsed, text: str, platform: Platform | None, *, always: bool
          ) -> tuple[Image, Remote | None]:
    """An image, and the source of its layers if the local store lacks some of them."""
    from pyruntime.errors import ImageError
    from pyruntime.images.lookup import find

    if not always:
        try:
            image = find(around.store, text, platform)
            if all(around.store.has(blob.digest) for blob in image.manifest.references()):
                return image, None
        except NoSuchImage:
            pass   # the registry may have it
        except ImageError:
            if platform is None:
                raise
    from pyruntime.builder.steps.origins import Remote
    from pyruntime.images.copy import image_of

    source = remote_source(around, parsed, text)  # type: ignore[arg-type]
    try:
        return image_of(source, platform), Remote(around.store, source, platform, around.warn)
    except BaseException:
        source.close()
        raise
