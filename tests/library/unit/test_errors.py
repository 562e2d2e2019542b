"""pyruntime.errors: messages of errors, and their transfer from one process to another."""

from __future__ import annotations

import pytest

from pyruntime import errors
from pyruntime.errors import told, words


@pytest.mark.parametrize(("error", "expected"), [
    (FileNotFoundError(2, "No such file or directory", "/a"), '"/a": No such file or directory'),
    (PermissionError(13, "Permission denied", b"/a\xff"), '"/a\ufffd": Permission denied'),
    (OSError(28, "No space left on device"), "No space left on device"), (OSError("no layers"), "no layers"),
    (ValueError("x"), "x"),
])
def test_words_have_no_number(error: Exception, expected: str) -> None:
    assert words(error) == expected


@pytest.mark.parametrize("name", errors.__dict__)
def test_every_error_can_be_rebuilt_in_another_process(name: str) -> None:
    """Errors with more than a message lose their class, but not the message."""
    error = told(name, "a message", "a place")
    assert str(error) == "a message" and error.where == "a place" and isinstance(error, errors.PyruntimeError)
    kind = getattr(errors, name)
    if kind in (errors.ImageError, errors.DigestError, errors.LayerError, errors.BuildError, errors.RegistryError):
        assert type(error) is kind
