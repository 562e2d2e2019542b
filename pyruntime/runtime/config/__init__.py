"""config.json: read, check, and hand out as values that know their path.

Modules that run on every command (decode, node, check, rules and its parts, load) import nothing that costs start-up
time: no json, no re, no typing. What makes messages precise (syntax, validate) is imported once something is wrong.
"""
