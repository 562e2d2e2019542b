"""The fast check of the structure, valid or invalid, without jsonschema.

The result is that of the schemas in ``spec/runtime``; a member that is null counts as absent. ``validate`` words the
mistakes, and takes a hundred times as long.
"""

from __future__ import annotations

from pyruntime.runtime.config import _shape


def conforms(value: object) -> bool:
    """Whether ``value`` has the structure of a config.json."""
    return _shape.config(value)


def conforms_process(value: object) -> bool:
    """Whether ``value`` has the structure of ``process`` in a config.json, as ``exec --process`` reads it."""
    return _shape.process(value)


def conforms_resources(value: object) -> bool:
    """Whether ``value`` has the structure of ``linux.resources``, as ``update --resources`` reads it."""
    return _shape.resources(value)
