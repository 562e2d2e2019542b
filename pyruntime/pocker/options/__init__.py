"""Docker's flags as settings of a container."""
