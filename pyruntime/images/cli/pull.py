"""``pyimage pull``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out, say
from pyruntime.images.cli.limits import LIMITS, limits_of
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.remote import REMOTE, image_store

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
    context.store   # noqa: B018  may enter a user namespace: before there are threads and connections
    for text in parsed.arguments:
        name, digest = pull(context, parsed, text)
        out(f"{digest}\n" if parsed["quiet"] else f"{name}@{digest}\n")
    return 0


def pull(context: Context, parsed: Parsed, text: str) -> tuple[str, str]:
    """Pull one image; its name with the tag, and its digest. ``parsed`` has the flags of COMMAND."""
    from pyruntime.images.progress import progress  # lazy: only when the command runs

    with progress(quiet=parsed["quiet"]) as shown:
        pulled = image_store(context, parsed).pull(
            text.removeprefix("docker://"), platform=parsed["platform"], all_platforms=parsed["all-platforms"],
            extract=not parsed["no-extract"], limits=limits_of(parsed), threads=parsed["threads"], progress=shown)
    if not pulled.is_new and not parsed["quiet"]:
        say(f"{pulled.name}: up to date")
    return pulled.name, pulled.digest
