"""--disable-content-trust of pull, push, build and run."""

from __future__ import annotations

from pyruntime.commandline.units import wrong


def check_trust(*, disabled: bool) -> None:
    """Raise UsageError for --disable-content-trust=false, which asks to verify signatures."""
    if not disabled:
        raise wrong("disable-content-trust", "false", "signatures cannot be verified: omit the flag, and name the"
                    " image by its digest")
