"""Records: the JSON files in which a process describes what it has made, for the processes after it.

The later process may be of another version of pyruntime (docs/upgrade.md). The member ``version`` of a record is the
number of its format; a record without it has format 1. A member that older versions may ignore, and whose absence means
what was so before, is added without a new number; any other change raises the number, and `Record.VERSION`.
"""

from __future__ import annotations

from pyruntime._version import __version__
from pyruntime.errors import ConfigError, PyruntimeError, RecordError
from pyruntime.system.files import read as read_file
from pyruntime.system.json import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar, Self

_MOST = 64 << 20   # bytes of a record
_KINDS = {bool: "true or false", int: "a number", str: "a string", list: "an array", dict: "an object"}


class Record:
    """The base of all records: a subclass names its members in FIELDS, and sets them to their defaults.

    ``VERSION``   the number of the format that is written; formats from 1 on are read
    ``NEEDED``    members without which a record is damaged
    ``READ``      how a member is read whose form in the file is not that of the attribute
    """

    FIELDS: ClassVar[tuple[str, ...]] = ()
    VERSION: ClassVar[int] = 1
    NEEDED: ClassVar[tuple[str, ...]] = ()
    READ: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    def _set(self, values: Mapping[str, Any]) -> None:
        """Set these members; for constructors, after the defaults."""
        for name, value in values.items():
            assert name in self.FIELDS, name
            setattr(self, name, value)

    def document(self) -> dict[str, Any]:
        """The members, in their form in the file."""
        return {name: getattr(self, name) for name in self.FIELDS}

    def encoded(self) -> bytes:
        """The content of the file."""
        return encode({"version": self.VERSION, **self.document()}).encode()

    @classmethod
    def parse(cls, data: bytes, path: str, remedy: str) -> Self:
        """Read the content of the file ``path``. Unknown members are ignored. Raises RecordError for a record that is
        damaged or has an unknown format; ``remedy`` is what to do then, for example ``remove the volume``."""
        value = members(data, path, remedy)
        check_version(value, path, cls.VERSION, remedy)
        found = cls()
        for name in cls.FIELDS:
            if name in value:
                setattr(found, name, cls._member(name, value[name], getattr(found, name), path, remedy))
            elif name in cls.NEEDED:
                raise damaged(path, f'"{name}" is missing', remedy)
        return found

    @classmethod
    def read(cls, path: str, remedy: str) -> Self | None:
        """As `parse`, with the content of the file ``path``; None if there is no such file. Raises PyruntimeError for a
        file that cannot be read, too."""
        try:
            data = read_file(path, _MOST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PyruntimeError(f'cannot read "{path}": {error.strerror}') from None
        return cls.parse(data, path, remedy)

    @classmethod
    def _member(cls, name: str, value: Any, blank: Any, path: str, remedy: str) -> Any:
        if read := cls.READ.get(name):
            try:
                return read(value)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise damaged(path, f"{name}: {error}", remedy) from None
        if type(value) is not type(blank):
            raise damaged(path, f"{name}: expected {_KINDS[type(blank)]}, got {encode(value):.80}", remedy)
        return value


def members(data: bytes, path: str, remedy: str) -> dict[str, Any]:
    """The members of a file that is a JSON object. Raises RecordError."""
    try:
        value = decode(data, path)
    except ConfigError as error:
        raise damaged(path, error.problems[0].what if data else "it is empty", remedy) from None
    if not isinstance(value, dict):
        raise damaged(path, f"expected an object, got {encode(value):.80}", remedy)
    return value


def damaged(path: str, what: str, remedy: str) -> RecordError:
    """The error for a record that is not what any version has written."""
    return RecordError(f'"{path}" is damaged: {what}; {remedy}')


def check_version(value: Mapping[str, Any], path: str, known: int, remedy: str) -> None:
    """Raise RecordError unless the record has a format from 1 to ``known``."""
    version = value.get("version", 1)
    if type(version) is not int or not 1 <= version <= known:
        error = RecordError(
            f'"{path}" has format {encode(version):.80}, and pyruntime {__version__} knows formats up to {known}: use'
            f" the version of pyruntime that wrote it, or {remedy}")
        error.unknown = True
        raise error
