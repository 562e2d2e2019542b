"""Primitives that every product uses: processes, files, sockets, JSON, system calls. Nothing here knows containers."""
