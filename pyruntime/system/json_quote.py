"""Texts as JSON strings, for an interpreter without the accelerator of ``json``."""

from __future__ import annotations

_NAMED = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


def quote(text: str) -> str:
    """``text`` as a JSON string in ASCII."""
    out = ['"']
    for char in text:
        if char in _NAMED:
            out.append("\\" + _NAMED[char])
        elif " " <= char <= "~":
            out.append(char)
        elif char <= "\uffff":
            out.append(f"\\u{ord(char):04x}")
        else:
            code = ord(char) - 0x10000
            out.append(f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}")
    return "".join([*out, '"'])
