"""A layer, and how the tests fetch it."""

from __future__ import annotations

from typing import Any

from pyruntime.images import media
from pyruntime.images.digest import Verifier, of
from pyruntime.images.document import Descriptor
from tests.images.integration.conftest import Client
from tests.images.integration.registries import FakeRegistry
from tests.images.integration.test_registry_client import Sink

LAYER = bytes(range(251)) * 12000   # 3 MB
DESCRIPTOR = Descriptor(media.OCI_LAYER, of(LAYER), len(LAYER))


def fetch(client: Client, fake: FakeRegistry, descriptor: Descriptor = DESCRIPTOR, **options: Any) -> bytes:
    """The blob, as the store would receive it; the progress must add up."""
    sink, told = Sink(), [0]

    def progress(count: int) -> None:
        told[0] += count

    def verify() -> None:
        verifier = Verifier(descriptor.digest, descriptor.size)
        verifier.update(bytes(sink.data))
        verifier.done()
    client.open(f"{fake.host}/app", **options).fetch_blob(descriptor, sink, progress, verify)
    assert told[0] == len(sink.data)
    return bytes(sink.data)
