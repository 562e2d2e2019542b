"""``pyimage rm``."""

from __future__ import annotations

from pyruntime.cli.image.main import Context
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.program import out

COMMAND = Command("rm", "[options] IMAGE...", "remove images",
                  Flag("force", "bool", "also an image of several names by its ID, one that a bundle uses, or none",
                       short="f"),
                  Flag("no-prune", "bool", "remove the name alone"), least=1, text="""
A name is taken away; what no other name and no bundle needs then is removed from the store. An ID means the image under
all of its names.""")


def run(context: Context, parsed: Parsed) -> int:
    """Take the names away, then what nobody needs."""
    from pyruntime.errors import ImageError, NoSuchImage
    from pyruntime.image.images import find_root

    store = context.store
    failed = 0
    for text in parsed.arguments:
        try:
            descriptor, names, name = find_root(store, text)
        except NoSuchImage as error:
            if not parsed["force"]:
                context.warn(str(error))
                failed = 1
            continue
        chosen = [name] if name else names
        if not name and len(names) > 1 and not parsed["force"]:
            raise ImageError(f'"{text}" has {len(names)} names: {", ".join(names)}; remove them, or use --force')
        if len(chosen) == len(names) and not parsed["force"] and (users := store.users(descriptor)):
            raise ImageError(f'"{text}" is used by the bundle "{users[0]}"; remove that, or use --force')
        for one in chosen:
            store.untag(one)
            out(f"untagged: {one}\n")
    if not parsed["no-prune"]:
        for kind, key_, _ in store.collect().removed:
            if kind != "lease":
                out(f"deleted {kind}: {key_}\n")
    return failed

