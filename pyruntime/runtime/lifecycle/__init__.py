"""The lifecycle of a container; no other package spawns the stub or writes state (runtime.md#lifecycle)."""
