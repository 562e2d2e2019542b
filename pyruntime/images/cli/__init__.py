"""`pyimage`: the command line of the image tool, one module for each command."""
