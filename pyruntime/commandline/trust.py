"""--disable-content-trust, which Docker's pull, push, build and run have."""

from __future__ import annotations

from pyruntime.commandline.units import wrong


def check_trust(*, disabled: bool) -> None:
    """Raise UsageError where --disable-content-trust=false asks for signatures to be verified."""
    if not disabled:
        raise wrong("disable-content-trust", "false", "signatures are not verified here: leave it out, and name the"
                    " image by its digest")
