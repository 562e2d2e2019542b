"""``pyimage prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.show import show

COMMAND = Command("prune", "[options]", "remove data that no image and no bundle uses",
                  Flag("all", "bool", "remove all images that no bundle uses, with or without a name", short="a"),
                  Flag("partial", "bool", "remove unfinished downloads of any age"),
                  Flag("dry-run", "bool", "print what would be removed, and remove nothing", short="n"),
                  Flag("format", "str", "output format: table or json", short="f", default="table"), most=0, text="""
Removes images without a name, blobs and extracted layers that no image uses, unfinished downloads older than a week,
and temporary files of killed commands. Data that a running command is about to use is kept.""")


def run(context: Context, parsed: Parsed) -> int:
    """Remove the data, and print what was removed."""
    from pyruntime.images.progress import size  # lazy: only when the command runs

    dry_run: bool = parsed["dry-run"]
    names, collected = context.images.prune(everything=parsed["all"], partial=parsed["partial"], dry_run=dry_run)
    if parsed["format"] != "table":
        show(parsed["format"], {kind: [{"Name": name, "Size": count} for name, count in getattr(collected, kind)]
                                for kind in collected.__slots__} | {"Names": names, "Size": collected.size})
        return 0
    out("".join(f"{'would untag' if dry_run else 'untagged'}: {name}\n" for name in names))
    word = "would delete" if dry_run else "deleted"
    out("".join(f"{line}\n" for line in collected_lines(collected, word)))
    out(f"{'to be freed' if dry_run else 'freed'}: {size(collected.size)}\n")
    return 0


def collected_lines(collected: object, done: str = "deleted") -> list[str]:
    """A line for each removed item."""
    return [f"{done}: {word} {name}" for kind, word in (
        ("blobs", "blob"), ("layers", "layer"), ("subvolumes", "subvolume"), ("partials", "download"))
        for name, _ in getattr(collected, kind)]
