"""Platforms: what an image runs on, and which of an index's images this machine takes (image-index.md).

Names are Go's (``amd64``, ``arm64``, ``arm`` with ``v7``); what people and other tools write is brought to them. A
newer processor runs what was made for its predecessors, so each platform has a list of others that do as well.
"""

from __future__ import annotations

import os

from pyruntime.errors import ImageError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.images.document import Descriptor

# What people, uname and Debian call an architecture -> Go's name and variant.
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
_ATTESTATION = "vnd.docker.reference.type"   # the annotation by which BuildKit marks what is no image


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
        """This machine's platform, by uname(2)."""
        return cls("linux", os.uname().machine)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Platform | None:
        """The platform that a descriptor's ``platform`` or an image configuration names; None if it names none."""
        system, architecture = document.get("os"), document.get("architecture")
        if not isinstance(system, str) or not isinstance(architecture, str) or not architecture:
            return None
        return cls(system, architecture, str(document.get("variant") or ""))

    def document(self) -> dict[str, str]:
        """The platform as a descriptor or an image configuration has it."""
        return {"architecture": self.architecture, "os": self.os, **({"variant": self.variant} if self.variant else {})}

    def accepts(self) -> list[Platform]:
        """The platforms whose images run here, best first, beginning with this one."""
        choices = [Platform(self.os, self.architecture, self.variant)]
        if self.variant:
            choices += [Platform(self.os, self.architecture, lower) for lower in _below(self.variant)
                        if self.architecture != "arm" or int(lower[1:]) >= 5]
        if self.architecture in ("amd64", "arm64"):
            choices.append(Platform(self.os, self.architecture))
        if self.architecture == "arm64":   # its 32-bit mode, which nearly every processor has
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
    """The variants that came before: of v3 these are v2 and v1."""
    number = variant.removeprefix("v")
    if not number.isdigit() or len(number) > 2:
        return []
    return [f"v{lower}" for lower in range(int(number) - 1, 0, -1)]


def is_image(descriptor: Descriptor) -> bool:
    """Whether an index's entry is an image, rather than an attestation that is kept beside one."""
    platform = descriptor.platform
    unknown = platform.get("os") == "unknown" and platform.get("architecture") == "unknown"
    return not unknown and _ATTESTATION not in descriptor.annotations


def select(descriptors: Sequence[Descriptor], wanted: Platform) -> Descriptor:
    """The entry of an index that suits the wanted platform best; the first one of equals.

    An only entry without a platform is taken as it is. An entry may be an index again, from which the caller
    selects anew. Raises ImageError that lists what there is.
    """
    images = [descriptor for descriptor in descriptors if is_image(descriptor)]
    if len(images) == 1 and not images[0].platform:
        return images[0]
    found = [(Platform.of(descriptor.platform), descriptor) for descriptor in images]
    for choice in wanted.accepts():
        for platform, descriptor in found:
            if platform == choice:
                return descriptor
    there = list(dict.fromkeys(str(platform or "one that names no platform") for platform, _ in found))
    raise ImageError(f'the index has no image for "{wanted}"; '
                     + (f"there are {', '.join(there)}" if there else "there are no images in it at all"))
