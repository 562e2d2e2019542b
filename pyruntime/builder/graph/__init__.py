"""A build as a graph of steps: planned from a Dockerfile, carried out stage by stage."""
