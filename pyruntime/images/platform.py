"""Platforms: what an image runs on, and which image of an index suits the host (image-index.md).

Names are Go's (``amd64``, ``arm64``, ``arm`` with ``v7``); the names of users and other tools are converted. A newer
processor runs programs for its predecessors, so each platform has a list of compatible platforms.
"""

from __future__ import annotations

import os

from pyruntime.errors import ImageError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.images.document import Descriptor

# The names of users, uname and Debian for an architecture -> Go's name and variant.
_ALIASES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "x64": ("amd64", ""),
    "i386": ("386", ""), "i486": ("386", ""), "i586": ("386", ""), "i686": ("386", ""), "x86": ("386", ""),
    "aarch64": ("arm64", ""), "arm64v8": ("arm64", ""), "armv8l": ("arm", "v8"), "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"), "armv7l": ("arm", "v7"), "armv7": ("arm", "v7"), "armv6l": ("arm", "v6"),
    "armv6": ("arm", "v6"), "armv5tel": ("arm", "v5"), "loongarch64": ("loong64", ""), "ppc64el": ("ppc64le", ""),
    "mips64el": ("mips64le", ""), "mipsel": ("mipsle", ""),
}
_ARCHITECTURES = frozenset((
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "wasm"))
_SYSTEMS = frozenset(("linux", "windows", "darwin", "freebsd", "wasip1", "netbsd", "openbsd", "solaris", "illumos"))
_PLAIN = {("arm64", "v8"): "", ("arm64", "8"): "", ("amd64", "v1"): "", ("arm", ""): "v7"}
_ATTESTATION = "vnd.docker.reference.type"   # BuildKit's annotation of attestations


class Platform:
    """An operating system, an architecture and its variant, in Go's names; ``variant`` may be empty."""

    __slots__ = ("architecture", "os", "variant")

    def __init__(self, system: str, architecture: str, variant: str = "") -> None:
        system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
        architecture, implied = _ALIASES.get(architecture, (architecture, ""))
        variant = variant or implied
        if variant.isdigit():
            variant = "v" + variant
        self.os = "darwin" if system == "macos" else system
        self.architecture = architecture
        self.variant = _PLAIN.get((architecture, variant), variant)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/architecture[/variant]``, or only one of the first two; raises UsageError for anything else."""
        parts = text.strip().split("/")
        if len(parts) == 1 and parts[0].lower() in _SYSTEMS:
            parts = [parts[0], cls.host().architecture]
        elif len(parts) == 1 and (parts[0].lower() in _ARCHITECTURES or parts[0].lower() in _ALIASES):
            parts = ["linux", parts[0]]
        if not 2 <= len(parts) <= 3 or not all(part and part.replace("_", "").replace("-", "").replace(".", "")
                                               .isalnum() for part in parts):
            raise UsageError(f'"{text:.100}" is not a platform: write os/architecture[/variant], for example'
                             ' "linux/arm64" or "linux/arm/v7"')
        return cls(*parts)

    @classmethod
    def host(cls) -> Platform:
        """The host's platform, by uname(2)."""
        return cls("linux", os.uname().machine)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Platform | None:
        """The platform of a descriptor's ``platform`` or an image configuration; None if it has none."""
        system, architecture = document.get("os"), document.get("architecture")
        if not isinstance(system, str) or not isinstance(architecture, str) or not architecture:
            return None
        return cls(system, architecture, str(document.get("variant") or ""))

    def document(self) -> dict[str, str]:
        """The platform as members of a descriptor or an image configuration."""
        return {"architecture": self.architecture, "os": self.os, **({"variant": self.variant} if self.variant else {})}

    def accepts(self) -> list[Platform]:
        """The platforms whose images run on this one, the best first, starting with itself."""
        choices = [Platform(self.os, self.architecture, self.variant)]
        if self.variant:
            choices += [Platform(self.os, self.architecture, lower) for lower in _below(self.variant)
                        if self.architecture != "arm" or int(lower[1:]) >= 5]
        if self.architecture in ("amd64", "arm64"):
            choices.append(Platform(self.os, self.architecture))
        if self.architecture == "arm64":   # the 32-bit mode of nearly every processor
            choices += [Platform(self.os, "arm", variant) for variant in ("v8", "v7", "v6", "v5")]
        return list(dict.fromkeys(choices))

    def runs(self, other: Platform) -> bool:
        """Whether an image for the other platform runs on this one."""
        return other in self.accepts()

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")

    def __repr__(self) -> str:
        return f"Platform({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Platform) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _below(variant: str) -> list[str]:
    """The earlier variants: of v3, v2 and v1."""
    number = variant.removeprefix("v")
    if not number.isdigit() or len(number) > 2:
        return []
    return [f"v{lower}" for lower in range(int(number) - 1, 0, -1)]


def is_image(descriptor: Descriptor) -> bool:
    """Whether an index's entry is an image, and not the attestation of an image."""
    platform = descriptor.platform
    unknown = platform.get("os") == "unknown" and platform.get("architecture") == "unknown"
    return not unknown and _ATTESTATION not in descriptor.annotations


def select(descriptors: Sequence[Descriptor], wanted: Platform) -> Descriptor:
    """The entry of an index that suits the wanted platform best; the first of equals.

    The only entry is selected even without a platform. An entry may be an index, in which the caller selects again.
    Raises ImageError, which lists the platforms.
    """
    images = [descriptor for descriptor in descriptors if is_image(descriptor)]
    if len(images) == 1 and not images[0].platform:
        return images[0]
    found = [(Platform.of(descriptor.platform), descriptor) for descriptor in images]
    for choice in wanted.accepts():
        for platform, descriptor in found:
            if platform == choice:
                return descriptor
    there = list(dict.fromkeys(str(platform or "an image without a platform") for platform, _ in found))
    raise ImageError(f'the index has no image for "{wanted}"; '
                     + (f"there are {', '.join(there)}" if there else "it has no images"))
