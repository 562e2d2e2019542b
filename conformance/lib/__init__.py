"""The library for our own cases: the registry, the bundle, the container, the facts of the host."""
