"""``pyimage inspect``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.remote import REMOTE, image_store
from pyruntime.images.cli.show import describe, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.api import ImageStore

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
    """Print a JSON document for one image, or a list for several."""
    images = image_store(context, parsed)
    found = [_document(images, parsed, text) for text in parsed.arguments]
    documents = [document for document in found if document is not None]
    if documents and not show(parsed["format"], documents if len(found) > 1 else documents[0]):
        raise UsageError('--format "table": there is no table; write json or a template')
    return 0


def _document(images: ImageStore, parsed: Parsed, location: str) -> dict[str, Any] | None:
    """The document to show; None if --raw has printed it."""
    if parsed["raw"] and not parsed["config"]:
        source = images.source(location)
        try:
            _print(source.root()[0])
        finally:
            source.close()
        return None
    image = images.inspect(location, platform=parsed["platform"])
    if parsed["raw"]:
        _print(image.config.raw)
        return None
    return image.config.document if parsed["config"] else describe(image)


def _print(raw: bytes) -> None:
    out(raw.decode("utf-8", "surrogateescape"))
