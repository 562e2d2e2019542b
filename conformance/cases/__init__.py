"""Our cases, a module per section of the specification. See conformance/lib/requirement.py for how they are written."""
