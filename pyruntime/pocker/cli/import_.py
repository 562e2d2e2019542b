"""``pocker import FILE [NAME]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli import import_ as there
from pyruntime.images.cli.changes import changes
from pyruntime.images.lookup import by_manifest, key
from pyruntime.images.reference import Reference
from pyruntime.pocker.cli.borrowed import borrowed
from pyruntime.pocker.cli.main import PockerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IT = borrowed(there, "import", "import -c 'CMD [\"sh\"]' rootfs.tar.xz mine")
CHANGE = Flag("change", "list", "apply a Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD,"
              " STOPSIGNAL, USER, VOLUME or WORKDIR", short="c", value="LINE")
COMMAND = Command("import", "[options] FILE|- [NAME[:TAG]]", _IT.about, *_IT.flags, CHANGE, least=1, most=2,
                  text=_IT.text)


def _config(parsed: Parsed) -> dict[str, Any]:
    config: dict[str, Any] = changes(parsed)
    if not parsed["change"]:
        return config
    from pyruntime.builder.change import changed  # lazy: loads the builder

    return changed(config, parsed["change"])


def run(context: PockerContext, parsed: Parsed) -> int:
    """Create the image and print its ID; without a name the image is dangling."""
    name = key(Reference.parse(parsed.arguments[1])) if len(parsed.arguments) > 1 else ""
    descriptor = there.make(context.images, parsed, _config(parsed), name)
    out(f"{by_manifest(context.places.store, descriptor.digest).id}\n")
    return 0
