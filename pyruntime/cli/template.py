"""``--format``: ``json``, or a template with places such as ``{{.Config.Env}}`` and ``{{json .Config}}``.

The part of Go's templates that scripts use with these tools: a path of names after a dot, ``json`` before it, and
``{{index .List 0}}``. Anything else is refused with what is understood, not printed as it stands.
"""

from __future__ import annotations

from pyruntime.config.decode import encode
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def render(text: str, value: Any) -> str:
    """The template with the value's members in their places; raises UsageError for a place that is not understood."""
    result, rest = "", text.replace("\\n", "\n").replace("\\t", "\t")
    while "{{" in rest:
        before, _, rest = rest.partition("{{")
        place, closed, rest = rest.partition("}}")
        if not closed:
            raise UsageError(f'--format "{text}": "{{{{" without "}}}}"')
        result += before + _place(place.strip(), value, text)
    return result + rest


def _place(place: str, value: Any, text: str) -> str:
    words = place.split()
    if len(words) == 1 and words[0].startswith("."):
        return _plain(_follow(words[0], value, text))
    if len(words) == 2 and words[0] == "json" and words[1].startswith("."):
        return encode(_follow(words[1], value, text))
    if len(words) == 3 and words[0] == "index" and words[1].startswith("."):
        return _plain(_item(_follow(words[1], value, text), words[2], text))
    raise UsageError(f'--format "{text}": "{place}" is not understood: write {{{{.Name.Name}}}}, {{{{json .Name}}}} or'
                     " {{index .Name KEY}}")


def _follow(path: str, value: Any, text: str) -> Any:
    for name in path.split(".")[1:]:
        if not name:
            continue   # "." alone is the value itself
        found = {key.lower(): key for key in value} if isinstance(value, dict) else {}
        if name.lower() not in found:
            there = ", ".join(found.values()) or "nothing"
            raise UsageError(f'--format "{text}": there is no "{name}"; there is: {there}')
        value = value[found[name.lower()]]
    return value


def _item(value: Any, key: str, text: str) -> Any:
    try:
        return value[int(key)] if isinstance(value, list) else value[key.strip('"')]
    except (KeyError, IndexError, ValueError, TypeError):
        raise UsageError(f'--format "{text}": there is no item {key}') from None


def _plain(value: Any) -> str:
    """A value as Go prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(map(_plain, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_plain(item)}" for key, item in sorted(value.items())) + "]"
    return "<no value>" if value is None else str(value)
