"""The life of a container: the only room that spawns the stub and writes state (runtime.md#lifecycle)."""
