"""Platforms: normalised names, and the selection from an index."""

from __future__ import annotations

import pytest

from pyruntime.errors import ImageError, UsageError
from pyruntime.images import media
from pyruntime.images.document import Descriptor
from pyruntime.images.platform import Platform, select


@pytest.mark.parametrize(("text", "meant"), [
    ("linux/amd64", "linux/amd64"), ("linux/x86_64", "linux/amd64"), ("Linux/AMD64", "linux/amd64"),
    ("linux/amd64/v1", "linux/amd64"), ("linux/amd64/v3", "linux/amd64/v3"),
    ("linux/aarch64", "linux/arm64"), ("linux/arm64/v8", "linux/arm64"), ("linux/arm64/v9", "linux/arm64/v9"),
    ("linux/arm", "linux/arm/v7"), ("linux/armhf", "linux/arm/v7"), ("linux/arm/6", "linux/arm/v6"),
    ("linux/armel", "linux/arm/v6"), ("linux/i686", "linux/386"), ("macos/arm64", "darwin/arm64"),
    ("arm64", "linux/arm64"), ("s390x", "linux/s390x"), ("windows/amd64", "windows/amd64"),
])
def test_names(text: str, meant: str) -> None:
    assert str(Platform.parse(text)) == meant


@pytest.mark.parametrize("text", ["", "linux/", "a/b/c/d", "/amd64", "linux/am d", "nonsense", "linux/../x"])
def test_invalid_platforms(text: str) -> None:
    with pytest.raises(UsageError, match="is not a platform"):
        Platform.parse(text)


def test_an_operating_system_alone_means_the_hosts_architecture() -> None:
    assert Platform.parse("linux") == Platform("linux", Platform.host().architecture)


def entry(number: int, platform: str = "", **more: object) -> Descriptor:
    extra = dict(more)
    if platform:
        keys = ("os", "architecture", "variant")
        extra["platform"] = dict(zip(keys, platform.split("/"), strict=False))
    return Descriptor(media.OCI_MANIFEST, f"sha256:{number:064x}", 1, extra)


@pytest.mark.parametrize(("wanted", "there", "chosen"), [
    ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
    ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v4", "linux/amd64/v2"], 2),
    ("linux/amd64/v3", ["linux/amd64/v4", "linux/amd64"], 1),
    ("linux/amd64", ["linux/amd64/v1"], 0),
    ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
    ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], 1),
    ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], 1),
    ("linux/arm64", ["linux/amd64", "linux/arm/v6", "linux/arm/v7"], 2),
    ("linux/arm/v7", ["linux/arm"], 0),
    ("linux/amd64", ["linux/amd64", "linux/amd64"], 0),
    ("linux/amd64", ["unknown/unknown", "linux/amd64"], 1),
])
def test_choice(wanted: str, there: list[str], chosen: int) -> None:
    entries = [entry(number, platform) for number, platform in enumerate(there)]
    assert select(entries, Platform.parse(wanted)) is entries[chosen]


def test_a_single_entry_without_platform_is_selected() -> None:
    only = entry(1)
    others = [entry(2, "unknown/unknown"), entry(3, annotations={"vnd.docker.reference.type": "attestation-manifest"})]
    assert select([*others, only], Platform.parse("linux/amd64")) is only


def test_the_error_lists_the_platforms() -> None:
    with pytest.raises(ImageError) as caught:
        select([entry(1, "linux/arm64"), entry(2, "linux/386"), entry(3)], Platform.parse("linux/amd64"))
    assert str(caught.value) == ('the index has no image for "linux/amd64"; there are linux/arm64, linux/386,'
                                 " an image without a platform")
    with pytest.raises(ImageError, match="it has no images"):
        select([], Platform.parse("linux/amd64"))


def test_386_is_no_substitute_unless_asked_for() -> None:
    assert not Platform.parse("linux/amd64").runs(Platform.parse("linux/386"))
    assert Platform.parse("linux/arm64").runs(Platform.parse("linux/arm/v7"))
    assert Platform.of({"os": "linux", "architecture": "arm", "variant": "v7"}) == Platform.parse("linux/arm")
    assert Platform.of({}) is None
