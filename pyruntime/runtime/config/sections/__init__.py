"""The rules of the specification that no schema expresses, one module per part of config.json.

Each module has ``problems`` (violations to refuse) and, where the specification or good practice calls for it,
``warnings`` (settings that are logged and accepted). The functions read a document that conforms to the schema, and
nothing else: no files, no kernel interfaces.
"""
