"""``pyimage tag``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.images.cli.main import Context

COMMAND = Command("tag", "IMAGE NAME...", "add names to an image", least=2)


def run(context: Context, parsed: Parsed) -> int:
    """Point each name to what IMAGE stands for."""
    from pyruntime.errors import UsageError
    from pyruntime.images.lookup import find_root, key
    from pyruntime.images.reference import Reference

    references = [Reference.parse(name) for name in parsed.arguments[1:]]
    for reference in references:
        if reference.digest:
            raise UsageError(f'"{reference}": a name with a digest cannot be given; write NAME:TAG')
    store = context.store
    with store.lease() as lease:
        descriptor, _, _ = find_root(store, parsed.arguments[0])
        lease.add(descriptor.digest)
        store.read(descriptor)   # still there, now that it is leased
        for reference in references:
            store.tag(key(reference), descriptor)
    return 0
