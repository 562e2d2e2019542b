"""The commands of ``pocker volume``."""
