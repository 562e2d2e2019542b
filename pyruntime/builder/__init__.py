"""Builds images from Dockerfiles: the language, the graph of steps, the cache, the execution of steps."""
