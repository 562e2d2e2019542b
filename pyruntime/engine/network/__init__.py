"""Networks of containers: bridges, addresses, published ports, names. pyruntime.engine.network.attach is the door."""
