"""Images: from a registry, an archive or a directory into a store, and from the store into bundles.

    reference, platform, digest, media, document     the words of image-spec and distribution-spec as values
    registry/    the distribution protocol: connections, authentication, mirrors, retries
    store/       the content store: blobs by digest, names, leases, garbage collection, verification
    layer/       a layer's archive: read, checked, applied; made again from what changed
    snapshot/    root filesystems from extracted layers: overlayfs, btrfs, copies
    transport/   where images can be: docker://, oci:, oci-archive:, docker-archive:, dir:, the store

``pyimage`` (pyruntime.images.cli) is the command over it.
"""
