"""Harmless reproductions of published escapes; docs/security.md has the table."""

from tests.integration.conftest import (  # noqa: F401  # fixtures
    bundle,
    own_bundle,
    own_cgroup,
    pytest_collection_modifyitems,
    runtime,
    sample,
    shared_rootfs,
)
