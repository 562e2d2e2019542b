"""``pyimage pull``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out, say
from pyruntime.images.cli.limits import LIMITS, limits_of
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.remote import REMOTE, remote_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.platform import Platform

COMMAND = Command(
    "pull", "[options] REFERENCE...", "download images from a registry",
    Flag("platform", "str", "platform to select from an index (default: the host's)", value="OS/ARCH[/VARIANT]"),
    Flag("all-platforms", "bool", "download all images of an index", short="a"),
    *LIMITS, Flag("no-extract", "bool", "do not extract layers until an unpack needs them"),
    Flag("threads", "int", "number of blobs to download in parallel", default=3),
    Flag("quiet", "bool", "suppress progress; print only the digest", short="q"), *REMOTE, least=1, text="""
alpine means docker.io/library/alpine:latest. If REFERENCE has no tag and the repository has no tag latest,
the newest tag is pulled and its name is printed. Blobs in the local store are not downloaded again. An
interrupted download is resumed by the next command that needs the blob.""")


def run(context: Context, parsed: Parsed) -> int:
    """Pull each image and print its name and digest."""
    from pyruntime.images.platform import Platform

    platform = Platform.parse(parsed["platform"]) if parsed["platform"] else None
    context.store   # noqa: B018  may enter a user namespace: before any thread or connection
    for text in parsed.arguments:
        name, digest = pull(context, parsed, text.removeprefix("docker://"), platform)
        out(f"{digest}\n" if parsed["quiet"] else f"{name}@{digest}\n")
    return 0


def pull(context: Context, parsed: Parsed, text: str, platform: Platform | None) -> tuple[str, str]:
    """Pull one image; its name, without a digest, and the digest. ``parsed`` has the flags of COMMAND."""
    from pyruntime.images.lookup import key
    from pyruntime.images.present import is_present

    source = remote_source(context, parsed, text)
    try:
        name = key(source.reference)
        known = context.store.names().get(name)
        wanted = source.reference.digest or (source.found.digest if source.found else "")
        if known and known.digest == wanted and is_present(
                context.store, known, platform, everything=parsed["all-platforms"],
                extracted=not parsed["no-extract"]):
            if not parsed["quiet"]:
                say(f"{name}: up to date")
            return name.partition("@")[0], wanted
        from pyruntime.images.progress import progress
        from pyruntime.images.receive import receive

        shown = progress(quiet=parsed["quiet"])
        try:
            copied = receive(context.store, source, [name], platform=platform, everything=parsed["all-platforms"],
                             extract=not parsed["no-extract"], limits=limits_of(parsed), threads=parsed["threads"],
                             progress=shown, warn=context.warn)
        finally:
            shown.close()
    finally:
        source.close()
    return name.partition("@")[0], copied.root.digest
