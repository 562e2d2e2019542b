"""``pyimage ls``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import columns
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.show import FORMAT, age, describe, short, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command("ls", "[options] [REPOSITORY...]", "list the images in the local store", FORMAT,
                  Flag("quiet", "bool", "print only image IDs", short="q"),
                  Flag("digests", "bool", "show digests"),
                  Flag("no-trunc", "bool", "do not truncate IDs"))
_HEADING = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "PLATFORM"]


def rows_of(context: Context) -> list[dict[str, Any]]:
    """A document for each name of an image."""
    from pyruntime.errors import PyruntimeError  # lazy: only when the command runs
    from pyruntime.images.lookup import every
    from pyruntime.images.reference import familiar
    from pyruntime.images.store.names import is_nameless

    rows = []
    for names, root, image in every(context.store):
        if isinstance(image, PyruntimeError):
            context.warn(str(image))
            continue
        for name in names:
            repository, _, tag = name.partition("@")[0].rpartition(":")
            if is_nameless(name):
                repository = tag = "<none>"
            elif not tag or "/" in tag:
                repository, tag = name.partition("@")[0], "<none>"
            rows.append({**describe(image), "Name": name, "Familiar": familiar(name), "Repository": repository,
                         "Tag": tag, "Digest": root.digest})
    return rows


def plain(repository: str) -> str:
    """A repository without the default domain and path."""
    return repository.removeprefix("docker.io/library/").removeprefix("docker.io/")


def run(context: Context, parsed: Parsed) -> int:
    """Print a line for each name."""
    from pyruntime.images.progress import size  # lazy: only when the command runs
    from pyruntime.images.reference import Reference

    wanted = {Reference.parse(text).name for text in parsed.arguments}
    rows = [row for row in rows_of(context) if not wanted or row["Repository"] in wanted]
    if parsed["quiet"]:
        ids = dict.fromkeys(row["Id"] if parsed["no-trunc"] else short(row["Id"]) for row in rows)
        out("".join(f"{one}\n" for one in ids))
    elif not show(parsed["format"], rows):
        table = [_HEADING + (["DIGEST"] if parsed["digests"] else [])]
        for row in rows:
            line = [plain(row["Repository"]), row["Tag"],
                    row["Id"] if parsed["no-trunc"] else short(row["Id"]), age(row["Created"]), size(row["Size"]),
                    row["Platform"]]
            table.append(line + ([row["Digest"]] if parsed["digests"] else []))
        out(columns(table))
    return 0
