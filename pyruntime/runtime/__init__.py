"""runc's peer: containers of the runtime specification. pyruntime.runtime.api is its interface."""
