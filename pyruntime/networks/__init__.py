"""Networks of containers: bridges, addresses, published ports, names. pyruntime.networks.attach is the entry point."""
