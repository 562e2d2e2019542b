"""Locations of images: docker://, oci:DIR, oci-archive:FILE, docker-archive:FILE, dir:DIR, and the store."""
