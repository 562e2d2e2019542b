"""``pocker volume create``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.units import pair
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.options.environment import labels
from pyruntime.pocker.options.volume_names import volume_name
from pyruntime.pocker.volumes import Volume, make

COMMAND = Command("create", "[options] [NAME]", "make a volume",
                  Flag("driver", "str", "local is the only one", short="d", default="local"),
                  Flag("label", "list", "give it a label", value="NAME[=VALUE]"),
                  Flag("opt", "list", "type, o and device, as mount(8) has them", short="o", value="NAME=VALUE"),
                  Flag("name", "str", "the name, in Docker's old way", value="NAME", hidden=True), most=1,
                  text="Prints its name. Without a name it gets one of 64 digits. Nothing happens to one that exists.\n"
                       "\nExample:\n  pocker volume create -o type=tmpfs -o o=size=100m scratch")


def run(context: Context, parsed: Parsed) -> int:
    """Make it."""
    name = (parsed.arguments or [parsed["name"]])[0]
    anonymous = not name
    name = volume_name("name", name, name) if name else os.urandom(32).hex()
    volume = Volume(name=name, driver=parsed["driver"], labels=labels(parsed["label"]), anonymous=anonymous,
                    options=dict(pair("opt", text) for text in parsed["opt"]))
    make(context.places, volume)
    out(f"{name}\n")
    return 0
