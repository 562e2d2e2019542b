"""``pyimage du``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import columns
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.show import FORMAT, show

COMMAND = Command("du", "[options]", "show the disk usage of the local store", FORMAT, most=0, text="""
For each image, shows the size of its blobs and extracted layers, and of those that no other image uses; then the
totals of the local store.""")


def run(context: Context, parsed: Parsed) -> int:
    """Print sizes."""
    from pyruntime.images.progress import size  # lazy: only when the command runs

    found = context.store.usage()
    images = [{"Name": image.name, "Digest": image.digest, "Blobs": image.size, "UniqueBlobs": image.unique,
               "Layers": image.layers, "UniqueLayers": image.own_layers} for image in found.images]
    total = {"Blobs": found.blobs, "Layers": found.layers, "Partial": found.partials, "Unused": found.unused,
             "BuildCache": found.cached,
             "Bundles": [bundle.path for bundle in found.bundles]}
    if not show(parsed["format"], {"Images": images, **total}):
        table = [["IMAGE", "BLOBS", "UNIQUE", "LAYERS", "UNIQUE"]]
        table += [[image.name, *map(size, (image.size, image.unique, image.layers, image.own_layers))]
                  for image in found.images]
        out(columns(table))
        out(f"\nblobs: {size(found.blobs)}\nextracted layers: {size(found.layers)}\nunfinished downloads: "
            f"{size(found.partials)}\nbuild cache: {size(found.cached)}\n"
            f"unused: {size(found.unused)}\nbundles: {len(found.bundles)}\n")
    return 0
