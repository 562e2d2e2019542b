"""The build cache: keys of steps, and caches that are exported and imported."""
