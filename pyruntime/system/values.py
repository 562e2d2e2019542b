"""Frozen values: a class whose annotations are its fields.

    class Port(Value):
        number: int
        protocol: str = "tcp"

    port = Port(number=80)
    port.replace(protocol="udp")

This is what ``dataclasses`` offers with ``frozen`` and ``kw_only``, without its import, which costs a command 10 ms. A
list that is passed for a field becomes a tuple, so that a value never changes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:
    def dataclass_transform(**_: object) -> object:
        """Only for type checkers."""
        return lambda cls: cls


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Value:
    """The base of all values; equal when the class and all fields are equal."""

    _names: ClassVar[tuple[str, ...]] = ()
    _lists: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        annotations = cls.__dict__.get("__annotations__", {})   # noqa: RUF063  inspect costs 10 ms
        cls._names = (*cls._names, *annotations)
        cls._lists = cls._lists | {name for name, kind in annotations.items() if str(kind).startswith("Sequence[")}

    def __init__(self, **values: Any) -> None:
        cls = type(self)
        for name, value in values.items():
            if name not in cls._names:
                raise TypeError(f'{cls.__name__} has no field "{name}"')
            if isinstance(value, str) and name in cls._lists:   # a text is a sequence of letters
                raise TypeError(f'{cls.__name__}: {name} "{value}": give a list of texts')
            self.__dict__[name] = tuple(value) if isinstance(value, list) else value
        for name in cls._names:
            if name not in values and not hasattr(cls, name):
                raise TypeError(f'{cls.__name__} needs the field "{name}"')

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """The names of the fields, in their order."""
        return cls._names

    def replace(self, **values: Any) -> Self:
        """A copy with other values."""
        return type(self)(**{**self.__dict__, **values})

    def changed(self) -> dict[str, Any]:
        """The fields that differ from their defaults; a field without a default is always among them."""
        cls = type(self)
        return {name: getattr(self, name) for name in cls._names
                if not hasattr(cls, name) or getattr(self, name) != getattr(cls, name)}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: replace({name}=...) makes a changed copy")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name) for name in type(self)._names)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in type(self)._names))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.changed().items())})"
