"""``pocker volume create``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.units import pair
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.options.environment import labels
from pyruntime.pocker.options.mounts import volume_name
from pyruntime.pocker.volumes import Volume, make
from pyruntime.system.names import new_id

COMMAND = Command("create", "[options] [NAME]", "create a volume",
                  Flag("driver", "str", "volume driver: local is the only one", short="d", default="local"),
                  Flag("label", "list", "set a label on the volume", value="NAME[=VALUE]"),
                  Flag("opt", "list", "driver option: type, o or device, as for mount(8)", short="o",
                       value="NAME=VALUE"),
                  Flag("name", "str", "name of the volume; Docker's old form", value="NAME", hidden=True), most=1,
                  text="Prints the name of the volume. Without NAME, a name of 64 hexadecimal digits is generated.\n"
                       "A volume that exists stays as it is.\n"
                       "\nExample:\n  pocker volume create -o type=tmpfs -o o=size=100m scratch")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Create the volume and print its name."""
    name = (parsed.arguments or [parsed["name"]])[0]
    anonymous = not name
    name = volume_name("name", name, name) if name else new_id()
    volume = Volume(name=name, driver=parsed["driver"], labels=labels(parsed["label"]), anonymous=anonymous,
                    options=dict(pair("opt", text) for text in parsed["opt"]))
    make(context.places, volume)
    out(f"{name}\n")
    return 0
