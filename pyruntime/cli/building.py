"""``build``, of pocker and of pyimage: the flags, and the way from them to an image."""

from __future__ import annotations

import os

from pyruntime.cli.image.remote import REMOTE, remote_source
from pyruntime.cli.parse import Flag, Parsed
from pyruntime.cli.program import out
from pyruntime.errors import NoSuchImage, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.build.execute import Execution, Settings, StageState
    from pyruntime.build.mounting import Secrets
    from pyruntime.build.origins import Origins
    from pyruntime.build.plan import Plan
    from pyruntime.build.result import Output
    from pyruntime.image.document import Descriptor
    from pyruntime.image.platform import Platform
    from pyruntime.image.store.store import Store

FLAGS = (
    Flag("add-host", "list", "a line of /etc/hosts for RUN", value="NAME:ADDRESS"),
    Flag("build-arg", "list", "value of an ARG; without =, the environment's", value="NAME[=VALUE]"),
    Flag("build-context", "list", "another context for --from: a directory, a git URL, docker-image://NAME",
         value="NAME=CONTEXT"),
    Flag("cache-from", "list", "look for steps in a directory that --cache-to has written",
         value="DIR|type=local,src=DIR"),
    Flag("cache-to", "list", "write the steps of this build into a directory", value="DIR|type=local,dest=DIR"),
    Flag("compression", "str", "of new layers: none, gzip or zstd", default="none"),
    Flag("file", "str", "the Dockerfile; default: Dockerfile, or Containerfile, in the context; -: standard input",
         short="f", value="FILE"),
    Flag("iidfile", "str", "write the image's ID into a file", value="FILE"),
    Flag("label", "list", "a label of the image", value="NAME=VALUE"),
    Flag("network", "str", "of RUN: default (the host's), host or none", default="default"),
    Flag("no-cache", "bool", "take nothing from the cache"),
    Flag("no-cache-filter", "list", "take nothing from the cache for a stage", value="STAGE"),
    Flag("output", "list", "write the root filesystem (local, tar) or the image (oci, docker) to a file or directory,"
         " instead of into the store", short="o", value="type=KIND,dest=PATH"),
    Flag("platform", "str", "what the image runs on; default: this machine's", value="OS/ARCH[/VARIANT]"),
    Flag("progress", "str", "auto, plain, json or quiet", default="auto"),
    Flag("pull", "bool", "ask the registry for newer base images, too"),
    Flag("quiet", "bool", "print the image's ID and nothing else", short="q"),
    Flag("secret", "list", "what RUN --mount=type=secret may have", value="id=NAME,src=FILE|env=NAME"),
    Flag("squash", "bool", "make one layer of all new ones"),
    Flag("ssh", "list", "an SSH agent for RUN --mount=type=ssh", value="default|NAME[=SOCKET]"),
    Flag("tag", "list", "name of the image", short="t", value="NAME[:TAG]"),
    Flag("target", "str", "build this stage; default: the last one", value="STAGE"), *REMOTE)
_LATEST = 253402300799   # seconds: what RFC 3339 can say
_MOST = 1 << 20   # bytes of a secret
TEXT = """CONTEXT is a directory, - for a tar archive (or a Dockerfile alone) on standard input, or the URL of a git
repository, with #REF:DIRECTORY behind it.

SOURCE_DATE_EPOCH, from the environment or --build-arg, makes two builds of the same files the same image.

Example:
  """


class Surroundings:
    """What the two programs have in common: messages, the store, where containers of builds are."""

    def __init__(self, store: Store, run: str, warn: Any, debug: Any) -> None:
        self.store = store
        self.run = run
        self.warn = warn
        self.debug = debug


def build(around: Surroundings, parsed: Parsed) -> int:
    """Build, and print the image's ID."""
    from pyruntime.build.context import open_context
    from pyruntime.build.execute import sweep
    from pyruntime.build.origins import Origins
    from pyruntime.build.plan import Plan
    from pyruntime.build.result import Output
    from pyruntime.image.platform import Platform
    from pyruntime.image.reference import Reference

    store = around.store
    platform = Platform.parse(parsed["platform"]) if parsed["platform"] else None
    outputs = [Output.parse(text) for text in parsed["output"]]
    for name in parsed["tag"]:
        Reference.parse(name)
    settings, arguments = _settings(around, parsed)
    sweep(settings.place)
    contexts = dict(_pair(text, "build-context") for text in parsed["build-context"])

    def pull(reference: str, wanted: Platform | None, always: bool) -> None:
        _pull(around, parsed, reference, wanted, always=always)

    with store.lease(), Origins(store, contexts, pull=pull, always_pull=parsed["pull"]) as origins:
        context = open_context(parsed.arguments[0] if parsed.arguments else ".", parsed["file"], origins.scratch,
                               around.warn)
        plan = Plan(context.text, context.name, origins, arguments=arguments, target=parsed["target"],
                    platform=platform, contexts=contexts)
        for warning in plan.warnings():
            around.warn(warning)
        state = _execute(plan, store, context.tree, origins, settings, parsed, around)
        return _deliver(around, parsed, state, settings, outputs)


def _execute(plan: Plan, store: Store, tree: Any, origins: Origins, settings: Settings, parsed: Parsed,
             around: Surroundings) -> StageState:
    from pyruntime.build.execute import Execution
    from pyruntime.build.progress import progress

    shown = progress("quiet" if parsed["quiet"] else parsed["progress"])
    execution: Execution = Execution(plan, store, tree, origins, settings, shown, around.warn)
    try:
        state = execution.run()
    finally:
        shown.close()
    for text in parsed["cache-to"]:
        from pyruntime.build.exchange import directory_of, export
        export(store, directory_of(text, "cache-to", "dest"), execution.used)
    return state


def _settings(around: Surroundings, parsed: Parsed) -> tuple[Settings, dict[str, str]]:
    from pyruntime.build import execute
    from pyruntime.build.run import Place

    made = execute.Settings(Place(f"{around.run}/build"))
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
    if parsed["network"] not in ("default", "host", "none"):
        raise UsageError(f'--network "{parsed["network"]}": write default, host or none')
    if parsed["compression"] not in ("none", "gzip", "zstd"):
        raise UsageError(f'--compression "{parsed["compression"]}": write none, gzip or zstd')
    from pyruntime.build.exchange import directory_of

    made.cache = not parsed["no-cache"]
    made.cache_from = [directory_of(text, "cache-from", "src") for text in parsed["cache-from"]]
    made.no_cache = frozenset(name.lower() for text in parsed["no-cache-filter"] for name in text.split(","))
    made.network = parsed["network"]
    made.hosts = [_host(text) for text in parsed["add-host"]]
    made.secrets = _secrets(parsed)
    return made, arguments


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError(f'--{flag} "{text}": write NAME=VALUE')
    return name, value


def _host(text: str) -> str:
    from pyruntime.errors import UsageError

    name, separator, address = text.partition("=" if "=" in text else ":")
    if not name or not separator or not address:
        raise UsageError(f'--add-host "{text}": write NAME:ADDRESS')
    return f"{name}:{address}"


def _secrets(parsed: Parsed) -> Secrets:
    from pyruntime.build.mounting import Secrets

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


def _pull(around: Surroundings, parsed: Parsed, text: str, platform: Platform | None, *, always: bool) -> None:
    """Have an image in the store."""
    from pyruntime.errors import ImageError
    from pyruntime.image.images import find, key
    from pyruntime.image.progress import progress
    from pyruntime.image.receive import receive

    if not always:
        try:
            image = find(around.store, text, platform)
            if all(around.store.has(blob.digest) for blob in image.manifest.references()):
                return
        except NoSuchImage:
            pass   # the registry may have it
        except ImageError:
            if platform is None:
                raise
    source = remote_source(around, parsed, text)  # type: ignore[arg-type]
    try:
        shown = progress(quiet=True)
        receive(around.store, source, [key(source.reference)], platform=platform, progress=shown, warn=around.warn)
    finally:
        source.close()


def _deliver(around: Surroundings, parsed: Parsed, state: StageState, settings: Settings, outputs: list[Output]) -> int:
    from pyruntime.build.result import store_image, write_local, write_tar
    from pyruntime.image.images import by_manifest, key
    from pyruntime.image.reference import Reference

    store, warn, epoch = around.store, around.warn, settings.epoch
    for output in outputs:
        if output.kind == "local":
            write_local(store, state, output.path, warn)
        elif output.kind == "tar":
            with _Target(output.path) as write:
                write_tar(store, state, write, epoch=epoch, warn=warn)
    if outputs and all(output.kind in ("local", "tar") for output in outputs) and not parsed["tag"]:
        return 0
    labels = dict(_pair(text, "label") if "=" in text else (text, "") for text in parsed["label"])
    descriptor = store_image(store, state, labels=labels, epoch=epoch, compression=parsed["compression"],
                             squash=parsed["squash"], warn=warn)
    names = [key(Reference.parse(name)) for name in parsed["tag"]]
    image_id = by_manifest(store, descriptor.digest).id
    for output in outputs:
        if output.kind in ("oci", "docker"):
            _archive(store, descriptor, names, output, warn)
    if not outputs:
        for name in names or [f"localhost/built@{descriptor.digest}"]:
            store.tag(name, descriptor)
    if parsed["iidfile"]:
        with open(parsed["iidfile"], "w", encoding="ascii") as file:
            file.write(image_id)
    if not any(output.path == "-" for output in outputs):
        out(f"{image_id}\n")
    return 0


class _Target:
    """A file that appears when it is whole, or standard output."""

    def __init__(self, path: str) -> None:
        if path == "-" and os.isatty(1):
            raise UsageError("an archive is not written to a terminal: give dest=FILE, or redirect standard output")
        self._path = path
        self._new = f"{path}.{os.getpid()}.new"
        try:
            self._fd = 1 if path == "-" else os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
                                                     0o644)
        except OSError as error:
            raise UsageError(f'"{path}": {error.strerror}') from None

    def __enter__(self) -> Any:
        return self._write

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view):]

    def __exit__(self, kind: object, *_: object) -> None:
        if self._path != "-":
            os.close(self._fd)
            if kind is None:
                os.rename(self._new, self._path)
            else:
                os.unlink(self._new)


def _archive(store: Store, descriptor: Descriptor, names: list[str], output: Output, warn: Any) -> None:
    from pyruntime.image.copy import copy
    from pyruntime.image.progress import Progress
    from pyruntime.image.transport.archive import ArchiveTarget
    from pyruntime.image.transport.local import StoreSource

    if output.path == "-" and os.isatty(1):
        raise UsageError("an archive is not written to a terminal: give dest=FILE, or redirect standard output")
    target = ArchiveTarget(output.path, docker=output.kind == "docker")
    try:
        for name in names or [""]:
            target.name = name
            copy(StoreSource(store, descriptor, [name] if name else []), target, platform=None, everything=True,
                 progress=Progress(), warn=warn)
        target.close()
    except BaseException:
        target.abandon()
        raise
