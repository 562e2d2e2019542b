"""``pyimage tags``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.remote import REMOTE, image_store
from pyruntime.images.cli.show import show

COMMAND = Command("tags", "[options] REPOSITORY", "list the tags of a repository",
                  Flag("format", "str", "output format: table (a tag per line) or json", short="f",
                       default="table"), *REMOTE, least=1, most=1)


def run(context: Context, parsed: Parsed) -> int:
    """Print the tags as the registry lists them."""
    repository, found = image_store(context, parsed).repository_tags(parsed.arguments[0])
    if not show(parsed["format"], {"Repository": repository, "Tags": found}):
        out("".join(f"{tag}\n" for tag in found))
    return 0
