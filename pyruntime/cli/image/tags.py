"""``pyimage tags``."""

from __future__ import annotations

from pyruntime.cli.image.main import Context
from pyruntime.cli.image.remote import REMOTE, repository, settings_of
from pyruntime.cli.image.show import show
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.program import out

COMMAND = Command("tags", "[options] REPOSITORY", "list the tags of a repository",
                  Flag("format", "str", "lines or json", short="f", default="table"), *REMOTE, least=1, most=1)


def run(context: Context, parsed: Parsed) -> int:
    """Print the tags as the registry lists them."""
    reference = settings_of(parsed).candidates(parsed.arguments[0].removeprefix("docker://"))[0]
    with repository(context, parsed, reference) as there:
        found = there.tags()
    if not show(parsed["format"], {"Repository": reference.name, "Tags": found}):
        out("".join(f"{tag}\n" for tag in found))
    return 0
