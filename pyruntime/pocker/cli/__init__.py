"""The commands of ``pocker``: a module for each."""
