"""`pyimage`: the command line of the image tool, one module a command."""
