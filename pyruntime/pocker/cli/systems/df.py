"""``pocker system df``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import columns
from pyruntime.pocker import volumes
from pyruntime.pocker.cli.listing import FORMAT, Listing
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers.container import every
from pyruntime.pocker.containers.diff import written
from pyruntime.pocker.containers.status import CREATED, EXITED, status_of
from pyruntime.pocker.containers.stop import sweep
from pyruntime.system.times import timestamp_in_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.images.store.usage import CacheUsage, StoreUsage

COMMAND = Command("df", "[options]", "show disk usage of images, containers, volumes and the build cache",
                  FORMAT,
                  Flag("verbose", "bool", "list each container, volume and build cache entry", short="v"), most=0,
                  text="Example:\n  pocker system df -v")
_LISTING = Listing({"Type": "", "TotalCount": "TOTAL", "Active": "", "Size": "", "Reclaimable": ""},
                   ("Type", "TotalCount", "Active", "Size", "Reclaimable"))


def run(context: PockerContext, parsed: Parsed) -> int:
    """Print the number of objects, how many are active, their size and the reclaimable size."""
    from pyruntime.images.progress import size  # lazy: only for printed sizes

    sweep(context.places, context.warn)
    containers, places = _containers(context), _volumes(context)
    usage = context.places.store.usage()
    rows = [_images(context, usage), _sum("Containers", containers), _sum("Local Volumes", places), _cache(usage)]
    _LISTING.show(parsed["format"], [_texts(row) for row in rows])
    if parsed["verbose"]:
        for title, found in (("CONTAINER", containers), ("VOLUME NAME", places)):
            out("\n" + columns([[title, "ACTIVE", "SIZE"],
                                *([one["Name"], str(one["Active"]).lower(), size(one["Size"])] for one in found)]))
        out("\n" + columns([["CACHE ID", "CACHE TYPE", "SIZE", "LAST USED", "SHARED", "STEP"],
                            *(_remembered(entry, size) for entry in sorted(usage.cache, key=_by_use))]))
    return 0


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    """The row as Docker shows it; templates can also use the numbers of bytes."""
    from pyruntime.images.progress import size  # lazy: only for printed sizes

    part = f" ({100 * row['Reclaimable'] // row['Size']}%)" if row["Size"] else ""
    return {"Type": row["Type"], "TotalCount": str(row["TotalCount"]), "Active": str(row["Active"]),
            "Size": size(row["Size"]), "Reclaimable": size(row["Reclaimable"]) + part,
            "SizeBytes": row["Size"], "ReclaimableBytes": row["Reclaimable"]}


def _by_use(entry: CacheUsage) -> float:
    return -entry.used


def _remembered(entry: CacheUsage, size: Callable[[int], str]) -> list[str]:
    from pyruntime.images.cli.show import age  # lazy: only for this table

    title = "".join(sign if sign.isprintable() else " " for sign in entry.title.partition("\n")[0])
    return [entry.key[:12], "exec.cachemount" if entry.is_mount else "regular", size(entry.size),
            age(timestamp_in_seconds(entry.used)), str(entry.shared).lower(), title[:60]]


def _cache(usage: StoreUsage) -> dict[str, Any]:
    """Entries whose layer an image has are active; their bytes are counted with the image."""
    size = sum(entry.size for entry in usage.cache)
    return {"Type": "Build Cache", "TotalCount": len(usage.cache), "Size": size, "Reclaimable": size,
            "Active": sum(entry.shared for entry in usage.cache)}


def _images(context: PockerContext, usage: StoreUsage) -> dict[str, Any]:
    from pyruntime.images.document import parse_manifest  # lazy: only for images

    store = context.places.store
    used = {record.manifest for _, record in every(context.places)}
    active = free = 0
    roots = {descriptor.digest: descriptor for descriptor in store.names().values()}
    for digest, root in roots.items():
        children = parse_manifest(store.read(root), root.media_type, digest).manifests
        if used & {digest, *(child.digest for child in children)}:
            active += 1
        else:
            free += max(one.unique + one.own_layers for one in usage.images if one.digest == digest)
    return {"Type": "Images", "TotalCount": len(roots), "Active": active,
            "Size": usage.blobs + usage.layers - usage.cached, "Reclaimable": usage.unused + free}


def _containers(context: PockerContext) -> list[dict[str, Any]]:
    return [{"Name": record.name, "Active": status_of(container).word not in (CREATED, EXITED),
             "Size": written(container)} for container, record in every(context.places)]


def _volumes(context: PockerContext) -> list[dict[str, Any]]:
    using = volumes.users(context.places)
    return [{"Name": volume.name, "Active": volume.name in using, "Size": volumes.size(context.places, volume.name)}
            for volume in volumes.every(context.places)]


def _sum(kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Type": kind, "TotalCount": len(rows), "Active": sum(row["Active"] for row in rows),
            "Size": sum(row["Size"] for row in rows),
            "Reclaimable": sum(row["Size"] for row in rows if not row["Active"])}
