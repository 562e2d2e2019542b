"""The build cache: keys of steps, and caches that travel between machines."""
