"""The commands of ``pocker builder``."""
