"""Compile a checked configuration, facts of the host and options into a launch plan. No I/O."""
