"""The commands of ``pyruntime sandbox``."""
