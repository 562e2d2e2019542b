"""One module per section of config.md and config-linux.md; each emits the steps of its section and does no I/O."""
