"""Lines of a Dockerfile that change an image's configuration, as `commit --change` takes them.

CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR. Spec: Dockerfile reference.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, UsageError
from pyruntime.images.make import changed
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SHELL = ["/bin/sh", "-c"]
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def apply(config: dict[str, Any], lines: list[str]) -> dict[str, Any]:
    """The ``config`` of an image after these instructions. Raises UsageError for one that is none of them."""
    with_cmd = False
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        known = _KNOWN.get(word.upper())
        if known is None or not rest.strip():
            raise UsageError(f'--change "{line}": write one of {", ".join(_KNOWN)}, and its arguments')
        try:
            change = known(config, rest.strip())
        except ValueError as error:
            raise UsageError(f'--change "{line}": {error}') from None
        cmd = config.get("Cmd")
        config = changed(config, change)
        if "Entrypoint" in change and with_cmd:   # one of these lines said CMD: it is meant for this entry point
            config["Cmd"] = cmd
        with_cmd = with_cmd or "Cmd" in change
    return config


def _command(member: str) -> Callable[[dict[str, Any], str], dict[str, Any]]:
    def change(config: dict[str, Any], text: str) -> dict[str, Any]:
        words = _json(text)
        return {member: [*(config.get("Shell") or _SHELL), text] if words is None else words}
    return change


def _json(text: str) -> list[str] | None:
    """The words of the form with brackets; None for the form of a shell."""
    if not text.startswith("["):
        return None
    try:
        value = decode(text.encode(), "change")
    except ConfigError:
        return None   # as Docker: what is no JSON is a command line
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return value


def _env(config: dict[str, Any], text: str) -> dict[str, Any]:
    return {"Env": [f"{name}={value}" for name, value in _pairs(config, text)]}


def _label(config: dict[str, Any], text: str) -> dict[str, Any]:
    return {"Labels": dict(_pairs(config, text))}


def _pairs(config: dict[str, Any], text: str) -> list[tuple[str, str]]:
    """NAME=VALUE..., or the old form NAME VALUE of one."""
    words = _words(config, text)
    if "=" not in words[0]:
        name, _, value = text.partition(" ")
        if not value.strip():
            raise ValueError("write NAME=VALUE")
        return [(name, " ".join(_words(config, value.strip())))]
    pairs = [word.partition("=") for word in words]
    if any(not equals or not name for name, equals, _ in pairs):
        raise ValueError("write NAME=VALUE")
    return [(name, value) for name, _, value in pairs]


def _expose(config: dict[str, Any], text: str) -> dict[str, Any]:
    ports: dict[str, dict[str, Any]] = {}
    for word in _words(config, text):
        port, _, protocol = word.partition("/")
        first, _, last = port.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or not 0 < int(first) <= int(last or first) < 65536:
            raise ValueError(f'"{word}" is not a port: write PORT[/PROTOCOL]')
        for number in range(int(first), int(last or first) + 1):
            ports[f"{number}/{protocol.lower() or 'tcp'}"] = {}
    return {"ExposedPorts": ports}


def _volume(config: dict[str, Any], text: str) -> dict[str, Any]:
    return {"Volumes": {path: {} for path in _json(text) or _words(config, text)}}


def _onbuild(config: dict[str, Any], text: str) -> dict[str, Any]:
    if text.partition(" ")[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        raise ValueError("this instruction cannot be a trigger")
    return {"OnBuild": [*(config.get("OnBuild") or []), text]}


def _workdir(config: dict[str, Any], text: str) -> dict[str, Any]:
    import posixpath

    path = " ".join(_words(config, text))
    return {"WorkingDir": posixpath.normpath(posixpath.join("/", config.get("WorkingDir") or "/", path))}


def _text(member: str) -> Callable[[dict[str, Any], str], dict[str, Any]]:
    return lambda config, text: {member: " ".join(_words(config, text))}


_KNOWN: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "CMD": _command("Cmd"), "ENTRYPOINT": _command("Entrypoint"), "ENV": _env, "EXPOSE": _expose, "LABEL": _label,
    "ONBUILD": _onbuild, "STOPSIGNAL": _text("StopSignal"), "USER": _text("User"), "VOLUME": _volume,
    "WORKDIR": _workdir,
}


# --- words ------------------------------------------------------------------------------------------------------------


def _words(config: dict[str, Any], text: str) -> list[str]:
    """The words of a line: quotes and backslashes as in a shell, and the image's own variables in place of $NAME."""
    env = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    words: list[str] = []
    word, quote, inside, index = "", "", False, 0
    while index < len(text):
        sign = text[index]
        index += 1
        if sign == "\\" and quote != "'" and index < len(text):
            following = text[index]
            index += 1
            word += following if not quote or following in '"$\\' else "\\" + following
        elif sign == "$" and quote != "'":
            value, index = _variable(env, text, index)
            word += value
        elif quote:
            quote, word = ("", word) if sign == quote else (quote, word + sign)
        elif sign in "\"'":
            quote = sign
        elif sign.isspace():
            if inside:
                words.append(word)
            word, inside = "", False
            continue
        else:
            word += sign
        inside = True
    if quote:
        raise ValueError(f"a quote is not closed: {quote}")
    return [*words, word] if inside else words


def _variable(env: dict[str, str], text: str, index: int) -> tuple[str, int]:
    """The value of the variable that is named behind a $, and where the name ends. ${NAME:-WORD} and ${NAME:+WORD}
    are understood."""
    if text[index:index + 1] == "{":
        end = text.find("}", index)
        if end < 0:
            raise ValueError('"${" without "}"')
        name, _, rest = text[index + 1:end].partition(":")
        value = env.get(name, "")
        if rest.startswith("-"):
            value = value or rest[1:]
        elif rest.startswith("+"):
            value = rest[1:] if value else ""
        return value, end + 1
    end = index
    while end < len(text) and text[end] in _LETTERS:
        end += 1
    return (env.get(text[index:end], ""), end) if end > index else ("$", end)
