"""The commands of ``pocker system``."""
