"""config.json: read and check the configuration, and return it as values that know their path.

Modules that run on every command (decode, node, check, rules and its parts, load) have no slow imports: no json, no re,
no typing. The modules that word precise messages (syntax, validate) are imported only if something is wrong.
"""
