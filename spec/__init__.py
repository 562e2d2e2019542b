"""JSON schemas as package data: ``runtime/`` for config.json, the state and the features of runtime-spec 1.3.0,
``image/`` for the documents of image-spec 1.1.1: manifest, index, configuration, descriptor and layout.

The directory is installed as ``pyruntime.spec``; ``pyruntime.runtime.config.schemas.directory`` finds it there and in
the source tree.
"""
