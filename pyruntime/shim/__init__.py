"""containerd's shim v2: the server that holds the library, for all containers of a containerd namespace."""
