"""From a checked configuration, facts of the host and options to a launch plan. No I/O."""
