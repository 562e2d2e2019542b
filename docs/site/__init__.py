"""The documentation site: `make docs` builds it from the documents of the project, and from what generates some."""
