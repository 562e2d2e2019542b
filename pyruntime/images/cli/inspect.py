"""``pyimage inspect``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.places import source_of
from pyruntime.images.cli.remote import REMOTE
from pyruntime.images.cli.show import describe, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.platform import Platform

COMMAND = Command(
    "inspect", "[options] IMAGE...", "show detailed information on images",
    Flag("format", "str", "output format: json, or a template such as '{{.Config.Cmd}}'", short="f", default="json"),
    Flag("raw", "bool", "print the manifest or index byte for byte"),
    Flag("config", "bool", "print the configuration; with --raw, byte for byte"),
    Flag("platform", "str", "platform to select from an index (default: the host's)",
         value="OS/ARCH[/VARIANT]"), *REMOTE,
    least=1, text="""
IMAGE is a name in the local store, or docker://REFERENCE, oci:DIR, oci-archive:FILE, docker-archive:FILE or
dir:DIR. From a registry, only the manifest and the configuration are downloaded.""")


def run(context: Context, parsed: Parsed) -> int:
    """Print what is known of each image, wherever it is; as JSON, of several as a list."""
    from pyruntime.images.platform import Platform

    platform = Platform.parse(parsed["platform"]) if parsed["platform"] else None
    found = [_look(context, parsed, text, platform) for text in parsed.arguments]
    documents = [document for document in found if document is not None]
    if documents and not show(parsed["format"], documents if len(found) > 1 else documents[0]):
        raise UsageError('--format "table": these documents are no table; write json, or a template')
    return 0


def _look(context: Context, parsed: Parsed, text: str, platform: Platform | None) -> dict[str, Any] | None:
    """The document to show; None where it is one that has been printed as it is."""
    from pyruntime.images.copy import image_of

    source = source_of(context, parsed, text)
    try:
        if parsed["raw"] and not parsed["config"]:
            _print(source.root()[0])
            return None
        image = image_of(source, platform)
        if parsed["raw"]:
            _print(image.config.raw)
            return None
        return image.config.document if parsed["config"] else describe(image)
    finally:
        source.close()


def _print(raw: bytes) -> None:
    out(raw.decode("utf-8", "surrogateescape"))
