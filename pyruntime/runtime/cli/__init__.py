"""The command lines: parse, call, print. Each command is a module with its own help text."""
