"""Docker's options of ``build``: resource limits of RUN, annotations, attestations, checks, metadata."""

from __future__ import annotations

from pyruntime.commandline.parse import FALSE, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.builder.result import Output
    from pyruntime.builder.steps.run import Place
    from pyruntime.images.document import Descriptor

_NO_EFFECT = "accepted for compatibility; has no effect"
FLAGS = (
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
CALLS = ("build", "check")
_KINDS = ("manifest", "index", "manifest-descriptor")


def check_options(parsed: Parsed, outputs: list[Output], warn: Callable[[str], None]) -> None:
    """Raise UsageError for values that exclude each other; ``warn`` about attestations, which are not supported."""
    from pyruntime.commandline.trust import check_trust

    check_trust(disabled=parsed["disable-content-trust"])
    if parsed["call"] not in CALLS:
        raise UsageError(f'--call "{parsed["call"]}": write {" or ".join(CALLS)}')
    if (parsed["push"] or any(output.push for output in outputs)) and not parsed["tag"]:
        raise UsageError("a push needs a name: give --tag REGISTRY/NAME:TAG")
    for flag in ("provenance", "sbom"):
        if parsed[flag] and parsed[flag] not in FALSE and "disabled=true" not in parsed[flag].split(","):
            warn(f"--{flag} {parsed[flag]}: no attestations are made; write --{flag}=false")
    for text in parsed["attest"]:
        if "disabled=true" not in text.split(","):
            warn(f'--attest "{text}": no attestations are made; leave it out')


def only_check(parsed: Parsed) -> bool:
    """Whether the Dockerfile is only checked."""
    return bool(parsed["check"] or parsed["call"] == "check")


def limit(parsed: Parsed, place: Place) -> None:
    """Set the resource limits of the containers of RUN. Raises UsageError."""
    from pyruntime.commandline.limits import parent, ulimit
    from pyruntime.commandline.units import size

    place.shm_size = size("shm-size", parsed["shm-size"])
    place.ulimits = [ulimit(text) for text in parsed["ulimit"]]
    if parsed["cgroup-parent"]:
        if parsed["cgroup-parent"].endswith(".slice"):
            raise UsageError(f'--cgroup-parent "{parsed["cgroup-parent"]}": write the path of a cgroup: /builds')
        place.cgroup = parent(parsed["cgroup-parent"])


def annotations_of(parsed: Parsed) -> dict[str, dict[str, str]]:
    """Kind of document -> its annotations. Raises UsageError."""
    found: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
    for text in parsed["annotation"]:
        before, equals, value = text.partition("=")
        kinds, colon, name = before.rpartition(":")
        if not equals or not name:
            raise UsageError(f'--annotation "{text}": write NAME=VALUE')
        for kind in kinds.split(",") if colon else ["manifest"]:
            if kind not in _KINDS:
                raise UsageError(f'--annotation "{text}": write {", ".join(_KINDS)} before the colon')
            found[kind][name] = value
    return found


def write_metadata(path: str, descriptor: Descriptor, image_id: str, names: list[str]) -> None:
    """Write --metadata-file, in BuildKit's members."""
    document = {"containerimage.config.digest": image_id, "containerimage.descriptor": descriptor.json(),
                "containerimage.digest": descriptor.digest, **({"image.name": ",".join(names)} if names else {})}
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(encode(document, 2) + "\n")
    except OSError as error:
        raise UsageError(f'--metadata-file "{path}": {error.strerror}') from None
