"""The C header of what `-v` and `-info` answer, so that no Python is started for them: ``make generate`` writes it.

The document is that of `pyruntime features`, but for what depends on the host: libseccomp's version is left out, and
native/shim/info.c finds out whether CRIU is there.
"""

from __future__ import annotations

import json
import sys

from pyruntime._version import __version__
from pyruntime.runtime.api import Runtime

_CHECKPOINT = "org.opencontainers.runc.checkpoint.enabled"
_MARK = "@checkpoint@"
_WIDTH = 90


def header() -> str:
    """The text of native/shim/features.h."""
    document = Runtime.features()
    del document["annotations"]["io.github.seccomp.libseccomp.version"]
    document["annotations"][_CHECKPOINT] = _MARK
    before, after = json.dumps(document, separators=(",", ":"), sort_keys=True).split(_MARK)
    return "\n".join([
        "/* Written by `make generate` (pyruntime/shim/features.py). */", "#pragma once", "/* clang-format off */",
        f"#define VERSION {json.dumps(__version__)}",
        "/* The document of `pyruntime features`, before and after whether checkpoints are possible. */",
        *_text("FEATURES_BEFORE", before), *_text("FEATURES_AFTER", after), "/* clang-format on */", ""])


def _text(name: str, value: str) -> list[str]:
    parts = [value[at:at + _WIDTH] for at in range(0, len(value), _WIDTH)]
    return [f"#define {name} \\", *(f"\t{json.dumps(part)} \\" for part in parts[:-1]), f"\t{json.dumps(parts[-1])}"]


if __name__ == "__main__":
    sys.stdout.write(header())
