"""What the command lines of all products share: parsing, help, completion, man pages, tables, templates, messages."""
