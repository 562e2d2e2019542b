"""What our own cases are written with: the registry, the bundle, the container, the facts of the host."""
