"""Media types of descriptors (media-types.md, and Docker's schema 2)."""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
SCHEMA_1 = ("application/vnd.docker.distribution.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v1+prettyjws")

INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
# The Accept header, as one line: some registries read only the first of several.
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))
# Layer media type -> compression. Docker's zstd type is undocumented; BuildKit writes it.
LAYERS = {base + suffix: compression
          for base, suffixes in ((OCI_LAYER, ("", "+gzip", "+zstd")), (OCI_FOREIGN, ("", "+gzip", "+zstd")),
                                 (DOCKER_LAYER, ("", ".gzip", ".zstd")), (DOCKER_FOREIGN, ("", ".gzip", ".zstd")))
          for suffix, compression in zip(suffixes, ("none", "gzip", "zstd"), strict=True)}


def is_foreign(media_type: str) -> bool:
    """Whether layers of this type must not be pushed (layer.md#non-distributable-layers)."""
    return media_type.startswith((OCI_FOREIGN, DOCKER_FOREIGN))


def layer_type(compression: str, *, docker: bool = False) -> str:
    """The media type of a new layer; ``compression``: none, gzip or zstd."""
    return next(kind for kind, how in LAYERS.items()
                if how == compression and kind.startswith(DOCKER_LAYER if docker else OCI_LAYER))
