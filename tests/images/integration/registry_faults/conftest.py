"""The registry of these tests."""

from __future__ import annotations

import pytest

from tests.images.integration.registries import FakeRegistry
from tests.images.integration.registry_faults.fetched import LAYER


@pytest.fixture
def fake(fake: FakeRegistry) -> FakeRegistry:
    """A registry with an image "app:1" of one layer."""
    fake.add_image("app", "1", LAYER)
    return fake
