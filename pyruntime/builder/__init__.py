"""Images from Dockerfiles: the language, the graph of steps, the cache, the builder."""
