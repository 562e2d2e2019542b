"""The content store: blobs by digest, names, leases, extracted layers, garbage collection, verification."""
