"""The flags of ``build``, and the BuildRequest that they ask for."""

from __future__ import annotations

import os

from pyruntime.builder.cli.caches import readable, writable
from pyruntime.builder.request import COMPRESSIONS, DOCUMENTS, ENTITLEMENTS, LATEST, BuildRequest, Output
from pyruntime.commandline.limits import parent, ulimit
from pyruntime.commandline.parse import FALSE, Flag, Parsed
from pyruntime.commandline.trust import check_trust
from pyruntime.commandline.units import size
from pyruntime.errors import UsageError
from pyruntime.images.cli.remote import REMOTE
from pyruntime.images.platform import Platform
from pyruntime.networks.addresses import Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NO_EFFECT = "accepted for compatibility; has no effect"
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
    Flag("target", "str", "target stage to build (default: the last stage)", value="STAGE"),
    Flag("annotation", "list", "add an annotation to the image's manifest or index",
         value="[manifest|index|manifest-descriptor:]NAME=VALUE"),
    Flag("attest", "list", "attestations are not supported; only type=...,disabled=true is accepted",
         value="type=KIND,..."),
    Flag("builder", "str", _NO_EFFECT, value="NAME"),
    Flag("call", "str", "evaluation method: build, or check for the Dockerfile alone", default="build", value="METHOD"),
    Flag("cgroup-parent", "str", "parent cgroup of the containers of RUN", value="PATH"),
    Flag("check", "bool", "check the Dockerfile without building, as --call=check"),
    Flag("compress", "bool", _NO_EFFECT),
    Flag("disable-content-trust", "bool", "accepted for compatibility; image signatures are never verified",
         default=True),
    Flag("force-rm", "bool", _NO_EFFECT),
    Flag("load", "bool", "load the image into the local store too; the default without --output"),
    Flag("metadata-file", "str", "write the image's digest, descriptor and names to FILE, as JSON", value="FILE"),
    Flag("provenance", "str", "provenance attestations are not supported; only false is accepted", value="BOOL"),
    Flag("push", "bool", "push the image to the registries of its tags"),
    Flag("rm", "bool", _NO_EFFECT, default=True),
    Flag("sbom", "str", "SBOM attestations are not supported; only false is accepted", value="BOOL"),
    Flag("shm-size", "str", "size of /dev/shm for RUN", default="64m", value="BYTES"),
    Flag("ulimit", "list", "resource limit of each process of RUN, for example nofile=1024", value="NAME=SOFT[:HARD]"),
)
FLAGS = (*sorted(_OWN, key=lambda flag: flag.name), *REMOTE)
CALLS = ("build", "check")
_SECRET_SIZE = 1 << 20   # bytes: secrets are kept in memory


def request_of(parsed: Parsed, warn: Callable[[str], None]) -> BuildRequest:
    """The request of the command line. Warns of attestations, which are not supported. Raises UsageError."""
    request = BuildRequest(parsed.arguments[0] if parsed.arguments else ".")
    request.platforms = list(dict.fromkeys(
        Platform.parse(word) for text in parsed["platform"] for word in text.split(",")))
    request.outputs = [output_of(text) for text in parsed["output"]]
    _check_compatibility(parsed, warn)
    request.dockerfile = parsed["file"]
    request.tags = parsed["tag"]
    request.target = parsed["target"]
    request.contexts = dict(_pair(text, "build-context") for text in parsed["build-context"])
    request.labels = dict(_label(text) for text in parsed["label"])
    request.annotations = annotations_of(parsed["annotation"])
    request.cache_from = [place for text in parsed["cache-from"] for place in readable(text)]
    request.cache_to = [writable(text) for text in parsed["cache-to"]]
    request.use_cache = not parsed["no-cache"]
    request.no_cache = frozenset(name.lower() for text in parsed["no-cache-filter"] for name in text.split(","))
    request.pull, request.push, request.load = parsed["pull"], parsed["push"], parsed["load"]
    request.squash = parsed["squash"]
    request.compression = _one_of("compression", parsed["compression"], COMPRESSIONS)
    request.arguments = _arguments(parsed["build-arg"])
    request.epoch = _epoch(request.arguments.get("SOURCE_DATE_EPOCH", os.environ.get("SOURCE_DATE_EPOCH", "")))
    request.network = parsed["network"]
    request.allow = frozenset(_one_of("allow", text, ENTITLEMENTS) for text in parsed["allow"])
    request.hosts = [_host(text) for text in parsed["add-host"]]
    request.secrets = dict(_secret(text) for text in parsed["secret"])
    request.agents = dict(_agent(text) for text in parsed["ssh"])
    request.shm_size = size("shm-size", parsed["shm-size"])
    request.rlimits = [ulimit(text) for text in parsed["ulimit"]]
    request.cgroup_parent = _cgroup(parsed["cgroup-parent"])
    return request


def only_check(parsed: Parsed) -> bool:
    """Whether the Dockerfile is only checked."""
    return bool(parsed["check"] or parsed["call"] == "check")


def _check_compatibility(parsed: Parsed, warn: Callable[[str], None]) -> None:
    check_trust(disabled=parsed["disable-content-trust"])
    if parsed["call"] not in CALLS:
        raise UsageError(f'--call "{parsed["call"]}": write {" or ".join(CALLS)}')
    for flag in ("provenance", "sbom"):
        if parsed[flag] and parsed[flag] not in FALSE and "disabled=true" not in parsed[flag].split(","):
            warn(f"--{flag} {parsed[flag]}: attestations are not supported; write --{flag}=false")
    for text in parsed["attest"]:
        if "disabled=true" not in text.split(","):
            warn(f'--attest "{text}": attestations are not supported; omit the flag')


def _one_of(flag: str, text: str, values: tuple[str, ...]) -> str:
    if text not in values:
        raise UsageError(f'--{flag} "{text}": write {" or ".join(values)}')
    return text


def output_of(text: str) -> Output:
    """Read ``type=tar,dest=FILE``, or a directory, or "-". Raises UsageError."""
    if text == "-":
        return Output("tar", "-")
    if "=" not in text:
        return Output("local", text)
    values = dict(part.partition("=")[::2] for part in text.split(","))
    kind, path = values.pop("type", ""), values.pop("dest", "")
    if kind in ("image", "registry") or (kind == "docker" and not path):
        push = values.pop("push", "false") == "true" or kind == "registry"
        if not values and not path:
            return Output("image", "", push=push)
    if kind not in Output.KINDS or values or (not path and kind == "local"):
        raise UsageError(f'--output "{text}": write type={"|".join(Output.KINDS)},dest=PATH, or a directory')
    return Output(kind, path or "-")


def annotations_of(texts: list[str]) -> dict[str, dict[str, str]]:
    """Document -> its annotations. Raises UsageError."""
    found: dict[str, dict[str, str]] = {document: {} for document in DOCUMENTS}
    for text in texts:
        before, equals, value = text.partition("=")
        documents, colon, name = before.rpartition(":")
        if not equals or not name:
            raise UsageError(f'--annotation "{text}": write NAME=VALUE')
        for document in documents.split(",") if colon else ["manifest"]:
            if document not in DOCUMENTS:
                raise UsageError(f'--annotation "{text}": write {", ".join(DOCUMENTS)} before the colon')
            found[document][name] = value
    return found


def _arguments(texts: list[str]) -> dict[str, str]:
    """ARG -> value; a name alone copies the host's value, if there is one."""
    arguments = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f'--build-arg "{text}": write NAME=VALUE')
        if equals or name in os.environ:
            arguments[name] = value if equals else os.environ[name]
    return arguments


def _epoch(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text[:12]) > LATEST or len(text) > 12:
        raise UsageError(f'SOURCE_DATE_EPOCH "{text:.40}": write seconds since 1970, before the year 10000')
    return int(text)


def _cgroup(text: str) -> str:
    if text.endswith(".slice"):
        raise UsageError(f'--cgroup-parent "{text}": write the path of a cgroup: /builds')
    return parent(text) if text else ""


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise UsageError(f'--label "{text}": write NAME=VALUE')
    return name, value


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
        Address.parse(address.strip("[]"), "--add-host")
    return f"{name}:{address}"


def _secret(text: str) -> tuple[str, bytes]:
    """ID and content of one --secret."""
    values = dict(part.partition("=")[::2] for part in text.split(","))
    name = values.get("id", "")
    file, variable = values.get("src") or values.get("source") or "", values.get("env", "")
    if not name or set(values) - {"id", "src", "source", "env", "type"} or (file and variable):
        raise UsageError(f'--secret "{text}": write id=NAME,src=FILE or id=NAME,env=VARIABLE')
    if not file and (variable or values.get("type") == "env" or name in os.environ):
        if (variable or name) not in os.environ:
            raise UsageError(f'--secret "{text}": the environment variable "{variable or name}" is not set')
        return name, os.environ[variable or name].encode("utf-8", "surrogateescape")
    try:
        with open(file or name, "rb") as opened:
            content = opened.read(_SECRET_SIZE + 1)
    except OSError as error:
        raise UsageError(f'--secret "{text}": "{file or name}": {error.strerror}') from None
    if len(content) > _SECRET_SIZE:
        raise UsageError(f'--secret "{text}": "{file or name}" is larger than {_SECRET_SIZE >> 20} MiB, the maximum'
                         " size of a secret")
    return name, content


def _agent(text: str) -> tuple[str, str]:
    """ID and socket of one --ssh."""
    name, _, socket = text.partition("=")
    socket = socket or os.environ.get("SSH_AUTH_SOCK", "")
    if not socket:
        raise UsageError(f'--ssh "{text}": no agent: start ssh-agent and set SSH_AUTH_SOCK, or write {name}=SOCKET')
    if not os.path.exists(socket) or os.path.isfile(socket):
        raise UsageError(f'--ssh "{text}": "{socket}" is not the socket of an SSH agent: private keys are not read,'
                         " add them to an agent with ssh-add")
    return name, os.path.abspath(socket)
