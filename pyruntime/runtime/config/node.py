"""A value of a document together with its place."""

from __future__ import annotations

from pyruntime.system.json_path import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class Node:
    """A value of the document that knows its path.

    ``value``  the plain JSON value; None when absent. JSON's null counts as absent.
    ``where``  the path, for example ``mounts[3].options``; empty for the document itself.
    """

    __slots__ = ("value", "where")

    def __init__(self, value: Any, where: str = "") -> None:
        self.value = value
        self.where = where

    def __getitem__(self, path: str) -> Node:
        """The node at a dotted path below this one; absent (``Node(None, path)``) when any part is missing."""
        value = self.value
        for name in path.split("."):
            value = value.get(name) if value.__class__ is dict else None
        return Node(value, f"{self.where}.{path}" if self.where else path)

    def key(self, name: str) -> Node:
        """The member ``name``, taken literally: for annotations, sysctls and other maps with free keys."""
        value = self.value
        return Node(value.get(name) if value.__class__ is dict else None, member(self.where, name))

    def __bool__(self) -> bool:
        """Whether the value is present; 0, "", [] and {} are."""
        return self.value is not None

    def each(self) -> Iterator[Node]:
        """The items of a list; empty if absent."""
        if self.value.__class__ is list:
            where = self.where
            for index, item in enumerate(self.value):
                yield Node(item, f"{where}[{index}]")

    def items(self) -> Iterator[tuple[str, Node]]:
        """The entries of an object in the document's order, without those that are null; empty if absent."""
        if self.value.__class__ is dict:
            for name, item in self.value.items():
                if item is not None:
                    yield name, Node(item, member(self.where, name))

    def get(self, path: str, default: Any = None) -> Any:
        """The plain value at a dotted path, or ``default`` when absent."""
        value = self.value
        for name in path.split("."):
            if value.__class__ is not dict:
                return default
            value = value.get(name)
        return default if value is None else value

    def or_(self, default: Any) -> Any:
        """The plain value, or ``default`` when absent."""
        return default if self.value is None else self.value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r}, {self.where!r})"
