"""From a bundle directory to a Config, with everything that is wrong reported at once."""

from __future__ import annotations

import os
import stat

from pyruntime.config.decode import decode
from pyruntime.config.node import Node
from pyruntime.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "config.json"
SIZE = 16 << 20  # bytes; a configuration of a thousand mounts has a few hundred KiB


class Config(Node):
    """The root of a configuration.

    ``document``  the file's name for messages, for example ``config.json``
    ``bundle``    the absolute path of the bundle directory
    """

    __slots__ = ("bundle", "document")

    def __init__(self, value: Any, document: str = FILE, bundle: str = "") -> None:
        super().__init__(value)
        self.document = document
        self.bundle = bundle


def read_file(path: str, document: str) -> bytes:
    """The bytes of a regular file of at most SIZE bytes; raises ConfigError with the system's words otherwise."""
    try:
        # Without O_NONBLOCK a FIFO in the bundle would hold the command for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        remedy = f'write one, or name a directory that has one; looked for "{path}"'
        what = f"JSON specification file {document} not found"
        raise ConfigError(document, [Problem("", what, remedy, "bundle.md")]) from None
    except OSError as error:
        raise ConfigError(document, [Problem("", f'open "{path}": {error.strerror}')]) from None
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError(document, [Problem("", f'"{path}" is not a regular file', "", "bundle.md")])
        if about.st_size > SIZE:
            what = f'"{path}" has {about.st_size} bytes, more than the {SIZE} that are read'
            raise ConfigError(document, [Problem("", what, "", "bundle.md")])
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    except OSError as error:
        raise ConfigError(document, [Problem("", f'read "{path}": {error.strerror}')]) from None
    finally:
        os.close(fd)


def load_bundle(bundle: str) -> Config:
    """The checked configuration of the bundle directory ``bundle``; raises ConfigError with every problem found."""
    bundle = os.path.abspath(bundle)
    value = decode(read_file(os.path.join(bundle, FILE), FILE), FILE)
    problems = check_value(value, FILE)
    if problems:
        raise ConfigError(FILE, problems)
    return Config(value, FILE, bundle)


def check_value(value: object, document: str) -> list[Problem]:
    """Everything that is wrong with a configuration that was read from ``document``."""
    if value.__class__ is not dict:
        return [Problem("", "expected an object", 'write {"ociVersion": "1.3.0", ...}', "config.md#configuration")]
    return []
