"""Load the configuration of a bundle directory, and report all problems at once."""

from __future__ import annotations

import os
import stat

from pyruntime.errors import ConfigError, Problem, PyruntimeError, UsageError
from pyruntime.runtime.config import rules
from pyruntime.runtime.config.check import conforms
from pyruntime.runtime.config.node import Node
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "config.json"
SIZE = 16 << 20  # bytes; a configuration with a thousand mounts has a few hundred KiB


class Config(Node):
    """The root of a configuration.

    ``document``  the file's name for messages, for example ``config.json``
    ``bundle``    the absolute path of the bundle directory
    ``forgiven``  violations of the specification that are accepted, as by runc and crun
    """

    __slots__ = ("bundle", "document", "forgiven")

    def __init__(self, value: Any, document: str = FILE, bundle: str = "", forgiven: list[Problem] | None = None
                 ) -> None:
        super().__init__(value)
        self.forgiven = forgiven or []
        self.document = document
        self.bundle = bundle


def read_file(path: str, document: str) -> bytes:
    """The bytes of a regular file of at most SIZE bytes; otherwise raises ConfigError with the system's message."""
    try:
        # Without O_NONBLOCK a FIFO in the bundle would block the command indefinitely.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        remedy = f'write the file, or name a directory that has it; looked for "{path}"'
        what = f"JSON specification file {document} not found"
        raise ConfigError(document, [Problem("", what, remedy, "bundle.md")]) from None
    except OSError as error:
        raise ConfigError(document, [Problem("", f'open "{path}": {error.strerror}')]) from None
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError(document, [Problem("", f'"{path}" is not a regular file', "", "bundle.md")])
        if about.st_size > SIZE:
            what = f'"{path}" has {about.st_size} bytes, more than the limit of {SIZE}'
            raise ConfigError(document, [Problem("", what, "", "bundle.md")])
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    except OSError as error:
        raise ConfigError(document, [Problem("", f'read "{path}": {error.strerror}')]) from None
    finally:
        os.close(fd)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def load_bundle(bundle: str, process_needed: bool = True, file: str = "") -> Config:
    """The checked configuration of the bundle directory ``bundle``, or that of ``file`` if given.

    With ``process_needed`` a configuration without a process is refused, as other runtimes do in ``create``; the
    specification requires this only for ``start``. Raises ConfigError with every problem found, except those that other
    runtimes accept (config/lenient.py), and UsageError for a path that is not UTF-8.
    """
    bundle = os.path.abspath(bundle)
    if not _is_text(bundle):
        raise UsageError(f"the path of the bundle is not UTF-8: {os.fsencode(bundle)!r}; `state` shows it as JSON text")
    name = os.path.basename(file) or FILE
    value = decode(read_file(os.path.abspath(file) if file else os.path.join(bundle, FILE), name), name)
    if value is None:
        raise ConfigError(name, [Problem("", "config cannot be null", "write an object", "config.md#configuration")])
    if conforms(value):
        config = Config(value, name, bundle)
        if not rules.problems(config) and not rules.unsupported(config, process_needed):
            return config
    from pyruntime.runtime.config.lenient import forgive  # lazy: only for a configuration that is wrong

    accepted, forgiven = forgive(value)
    if not forgiven or problems_of(accepted, name, process_needed):
        raise ConfigError(name, problems_of(value, name, process_needed))
    return Config(accepted, name, bundle, forgiven)


def problems_of(value: object, document: str, process_needed: bool = True) -> list[Problem]:
    """All problems for which a configuration is refused: violations of the specification and unsupported settings."""
    problems = check_value(value, document)
    if conforms(value):
        problems += rules.unsupported(Node(value), process_needed)
    return problems


def check_value(value: object, document: str) -> list[Problem]:
    """All violations of the specification: of the schema first, then of the other rules.

    ``document`` is the file's name. The other rules are applied to the sections that conform to the schema.
    """
    if conforms(value):
        return rules.problems(Config(value, document))
    # Loading jsonschema costs more than the whole command.
    # lazy: jsonschema (60 ms): only to word errors
    from pyruntime.runtime.config.partial import remaining_problems
    from pyruntime.runtime.config.validate import validate

    problems = validate(value)
    if not problems:
        raise PyruntimeError(f"{document}: the fast check and the schema disagree; please report this document")
    return problems + remaining_problems(value, problems)
