"""The rules of the specification that no schema expresses, one module per part of config.json.

Each module has ``problems`` (what must be refused) and, where the specification or good manners ask for it,
``warnings`` (what is logged and then carried out). They read a document that conforms to the schema, and look at
nothing else: no file, no kernel.
"""
