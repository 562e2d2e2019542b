"""The options of a runtime, as the client gives them to Create: those of containerd's shim for runc, or TOML.

A client sends `containerd.runc.v1.Options` (api/types/runc/options/oci.proto). CRI sends the table ``options`` of its
configuration as text to every runtime but runc's; it has the same names there (`SystemdCgroup`, `NoPivotRoot`, ...),
and `Server`, which native/shim/parameters.c reads, as it does `ShimCgroup`.
"""

from __future__ import annotations

import os

from pyruntime.errors import UsageError
from pyruntime.shim import messages
from pyruntime.system.files import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = {name.replace("_", ""): name for name in messages.OPTIONS.decode(b"")}
_SPELLED = ", ".join(sorted(["Server", *(name.title().replace("_", "") for name in _NAMES.values())]))
_OF_START = {"server"}


def read_options(given: dict[str, Any] | None) -> dict[str, Any]:
    """All options, with a value that says "not given" (False, 0 or "") for those that are missing. ``given`` is an Any;
    one of another type is ignored. Raises UsageError."""
    kind = given["type_url"].rpartition("/")[2] if given else ""
    if given and kind == messages.OPTIONS_TYPE:
        options = messages.OPTIONS.decode(given["value"])
    elif given and kind == messages.TOML_TYPE:
        options = _from_toml(messages.TOML_OPTIONS.decode(given["value"]))
    else:
        options = messages.OPTIONS.decode(b"")
    _refuse_others(options["binary_name"])
    return options


def _from_toml(message: dict[str, Any]) -> dict[str, Any]:
    import tomllib  # lazy: under CRI only, and not without options

    text, place = message["config_body"], "options"
    if message["config_path"]:
        place = message["config_path"]
        try:
            text = read(place)
        except OSError as error:
            raise UsageError(f'cannot read the options of the runtime, "{place}": {error.strerror}') from None
    options = messages.OPTIONS.decode(b"")
    try:
        table = tomllib.loads(text.decode())
    except ValueError as error:   # TOMLDecodeError and UnicodeDecodeError
        raise UsageError(f"{place}: not TOML: {error}") from None
    for key, value in table.items():
        name = _NAMES.get(key.lower())
        if name is None:
            if key.lower() in _OF_START:
                continue
            raise UsageError(f"{place}: unknown option {key}; known are {_SPELLED}")
        if type(value) is not type(options[name]):
            raise UsageError(f"{place}: {key} = {value!r}: write a {type(options[name]).__name__}")
        options[name] = value
    return options


def _refuse_others(binary: str) -> None:
    """BinaryName names the program that containerd's shim for runc runs. This shim runs none: it is the runtime."""
    if not binary or os.path.basename(binary) == "pyruntime":
        return
    where = [binary] if "/" in binary else [os.path.join(directory, binary)
                                            for directory in os.environ.get("PATH", "").split(":") if directory]
    if not any(os.access(path, os.X_OK) for path in where):
        problem = "no such file or directory" if "/" in binary else "executable file not found in $PATH"
        raise UsageError(f'exec: "{binary}": {problem}')
    raise UsageError(f'BinaryName is "{binary}", but this shim runs no other runtime: remove it, or use'
                     " io.containerd.runc.v2")
