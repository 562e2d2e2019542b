"""Options for the limits of extraction."""

from __future__ import annotations

from pyruntime.commandline.parse import Flag, Parsed
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.layers.options import LayerLimits

LIMITS = (
    Flag("max-size", "str", "maximum unpacked size of a layer, for example 500M (default: 256G)", value="SIZE"),
    Flag("max-entries", "int", "maximum number of entries in a layer", default=2_000_000),
)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def limits_of(parsed: Parsed) -> LayerLimits | None:
    """The limits of the options; None without options."""
    if not {"max-size", "max-entries"} & parsed.given:
        return None
    from pyruntime.images.layers.options import LayerLimits  # lazy: only when the command runs

    limits = LayerLimits(entries=parsed["max-entries"])
    text = parsed["max-size"].upper().removesuffix("B").removesuffix("I")
    if text:
        number, unit = (text[:-1], text[-1]) if text[-1] in _UNITS else (text, "")
        if not (number.isascii() and number.isdigit()):
            raise UsageError(f'--max-size "{parsed["max-size"]}": write bytes, with an optional K, M, G or T')
        limits.bytes = int(number) * _UNITS[unit]
    return limits
