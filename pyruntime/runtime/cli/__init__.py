"""The command lines: parse, call, print. One module a command; each says its own usage."""
