"""A build as a graph of steps: planned from a Dockerfile, executed stage by stage."""
