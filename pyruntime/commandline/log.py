"""Messages: text or JSON, on stderr or in a file, with runc's keys (level, msg, time) and our path, step and spec.

With ``--log FILE``, every line is written to the file; errors are also written to stderr, without the other keys.
"""

from __future__ import annotations

import os
import sys

from pyruntime.errors import PyruntimeError, UsageError
from pyruntime.system.json import encode

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._/@^+")


class Log:
    """The destination of messages. ``debug``: whether debug messages are written."""

    def __init__(self) -> None:
        self.fd = 2
        self.to_file = False
        self.json = False
        self.debug_wanted = False
        self.sentences = False

    def configure(self, *, file: str = "", format: str = "text", debug: bool = False, sentences: bool = False) -> None:
        """Apply the global options; raises UsageError for a format or file that cannot be used. ``sentences``: a
        message is one line unless a person reads it."""
        self.sentences = sentences
        if format not in ("", "text", "json"):
            raise UsageError(f'invalid log-format: {format}; write "text" or "json"')
        self.json = format == "json"
        self.debug_wanted = debug
        if file:
            try:
                self.fd = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_SYNC | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise UsageError(f'--log "{file}": {error.strerror}') from None
            self.to_file = True

    def write(self, level: str, message: str, **fields: str) -> None:
        """One line."""
        if level == "debug" and not self.debug_wanted:
            return
        if self.debug_wanted and "func" not in fields:
            fields = {**_caller(), **fields}
        from pyruntime.system.times import timestamp_in_seconds  # lazy: most commands log nothing

        now = timestamp_in_seconds()
        if self.json:
            values = {"level": level, "msg": message, "time": now, **{k: v for k, v in fields.items() if v}}
            line = encode({key: values[key] for key in sorted(values)})
            line = line.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        elif self.to_file or level == "debug":
            line = f'time="{now}" level={level} msg={_quoted(message)}'
            line += "".join(f" {key}={_quoted(value)}" for key, value in fields.items() if value)
        else:
            line = f"{level}: {safe(message)}"   # for a person, without the keys
        self._put(self.fd, line)

    def error(self, error: PyruntimeError | str) -> None:
        """An error that ends the command."""
        if not isinstance(error, PyruntimeError):
            self.write("error", error)
            if self.to_file:
                self._put(2, safe(error))
            return
        for_people = str(error) if error.for_people or self._has_reader(2) else error.sentence
        if error.place:
            self.debug(error.place)
        self.write("error", error.sentence if self.sentences and (self.to_file or self.json) else for_people,
                   path=error.where, step=error.step, place=error.place, spec=error.spec)
        if self.to_file:
            self._put(2, safe(for_people))

    def _has_reader(self, fd: int) -> bool:
        """Whether a message may have several lines: a person reads them."""
        return not self.sentences or os.isatty(fd)

    def warning(self, message: str) -> None:
        """A warning that the specification asks for."""
        self.write("warning", message if self._has_reader(self.fd) else PyruntimeError(message).sentence)

    def debug(self, message: str) -> None:
        """A message for debugging. Called often: without --debug it returns at once."""
        if self.debug_wanted:
            self.write("debug", message)

    @staticmethod
    def _put(fd: int, line: str) -> None:
        try:
            os.write(fd, line.encode("utf-8", "surrogateescape") + b"\n")
        except OSError:
            return   # the message is lost (closed stderr, full disk): the exit status still shows the error


def safe(text: str) -> str:
    """The text without control characters, which a terminal would obey: text of images and registries may contain them.
    Newlines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else repr(sign)[1:-1] for sign in text)


def _caller() -> dict[str, str]:
    """The function that writes a message, as in runc's --debug: the first frame outside of this module."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    name = frame.f_globals.get("__name__", "")
    return {"func": f"{name}.{frame.f_code.co_name}", "file": f"{name.replace('.', '/')}.py:{frame.f_lineno}"}


def _quoted(text: str) -> str:
    if text and _PLAIN.issuperset(text):
        return text
    return encode(text)


LOG = Log()
