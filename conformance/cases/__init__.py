"""Our cases, with a module for each section of the specification. conformance/lib/requirement.py shows the form of a
case."""
