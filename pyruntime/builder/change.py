"""Dockerfile instructions that change an image's configuration without a build, for `commit` and `import`."""

from __future__ import annotations

from pyruntime.builder.graph.plan import PATH, BuildPlan
from pyruntime.errors import DockerfileError, UsageError
from pyruntime.images.document import Descriptor, ImageConfig, Manifest
from pyruntime.images.lookup import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.images.platform import Platform

INSTRUCTIONS = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")


class _Base:
    """The base of the one stage: an image of which only the configuration counts."""

    def __init__(self, config: dict[str, Any]) -> None:
        nothing = Descriptor("", "", 0)
        self._image = Image([], nothing, nothing, Manifest(b"", "", {}),
                            ImageConfig(b"", {"config": config, "rootfs": {}}))

    def image(self, name: str, platform: Platform | None) -> Image:
        """The base image, for any name in FROM."""
        return self._image


def changed(config: dict[str, Any], lines: Sequence[str]) -> dict[str, Any]:
    """The ``config`` of an image after these instructions. Raises UsageError for a wrong instruction."""
    for line in lines:
        word = line.strip().partition(" ")[0].upper()
        if word not in INSTRUCTIONS:
            raise UsageError(f'cannot change an image by "{line}": write one of {", ".join(INSTRUCTIONS)}, and its'
                             " arguments")
    # The triggers of the image are for a build, and PATH is set for a build's steps: neither is a change.
    known = {name: value for name, value in config.items() if name != "OnBuild"}
    try:
        found = dict(BuildPlan("\n".join(["FROM image", *lines]), "change", _Base(known), arguments={}).target.config)
    except DockerfileError as error:
        text = str(error)
        for number in range(1, len(lines) + 1):   # the first line of the text is not the caller's
            text = text.replace(f"change:{number + 1}:", f"change {number}:")
        raise UsageError(text) from None
    if PATH not in (config.get("Env") or []):
        found["Env"] = [entry for entry in found["Env"] if entry != PATH]
    triggers = [*(config.get("OnBuild") or []), *(found.get("OnBuild") or [])]
    return {name: value for name, value in {**found, "OnBuild": triggers}.items() if value or name in config}
