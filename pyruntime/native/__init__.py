"""The stub (C, static) and the bindings (cffi) for what Python lacks."""
