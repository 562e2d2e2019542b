"""Images: from registries, archives and directories into the local store, and from the store into bundles.

reference, platform, digest, media, document     the terms of image-spec and distribution-spec as values
registry/     the distribution protocol: connections, authentication, mirrors, retries
store/        the local store: blobs by digest, names, leases, garbage collection, verification
layers/       layer archives: read, verified, extracted; and created from changes
snapshots/    root filesystems from extracted layers: overlayfs, btrfs, copies
transports/   locations of images: docker://, oci:, oci-archive:, docker-archive:, dir:, the local store

``api`` is the library, and ``cli`` the command ``pyimage`` over it.
"""
