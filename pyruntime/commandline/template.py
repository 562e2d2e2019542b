"""``--format``: ``json``, or a template with actions such as ``{{.Config.Env}}`` and ``{{json .Config}}``.

The subset of Go's templates (pkg.go.dev/text/template) that scripts use with these tools:

    {{.Name.Name}}  {{index .Ports "80/tcp"}}  {{(index .Config 0).Subnet}}  {{$}}  {{$name := .Name}}  {{"text"}}
    {{if .A}}...{{else if .B}}...{{else}}...{{end}}  {{with .A}}...{{end}}
    {{range .List}}...{{else}}...{{end}}  {{range $key, $value := .Map}}...{{end}}
    {{.Name | upper}}  {{- trims blanks -}}  {{/* says nothing */}}  {{.Label "name"}}  and the functions below

Names of members are case-insensitive. A missing member is an error, but false in a condition. A missing key of a map
such as Labels is "<no value>", as in Docker, and so are its members. Anything else is refused; the message lists the
supported forms.
"""

from __future__ import annotations

from pyruntime.errors import UsageError
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any


def render(text: str, value: Any) -> str:
    """Render the template with a value. Raises UsageError for an unsupported action."""
    return _Template(text).render(value)


def heading(text: str, words: Mapping[str, str]) -> str:
    """The heading of a table: the names of the template's members, or their headings in ``words``."""
    template = _Template(text)
    return "".join(block.text if block.kind == "text" else words.get(name := _last(block.text), _spaced(name))
                   for block in template.blocks)


def _last(expression: str) -> str:
    """The last member in an expression."""
    named = [word for word in expression.replace("(", " ").replace(")", " ").split() if word.startswith(".")]
    return named[-1].rpartition(".")[2] if named else ""


def _spaced(name: str) -> str:
    """CreatedAt as CREATED AT."""
    return "".join(f" {sign}" if number and sign.isupper() and not name[number - 1].isupper() else sign
                   for number, sign in enumerate(name)).upper()


class _Missing(UsageError):
    """A missing member."""


class _NoValue(str):
    """The value of a missing key of a map: Go's "<no value>" in a text, false in a condition."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


_NO_VALUE = _NoValue("<no value>")
# Members whose keys are chosen by users, in lower case.
_MAPS = frozenset({"annotations", "containers", "driveropts", "exposedports", "labels", "networks", "options",
                   "portbindings", "ports", "storageopt", "sysctls", "tmpfs", "volumes"})
# Pointers that Docker omits from the JSON if they are nil, in lower case.
_POINTERS = frozenset({"health", "sizerootfs", "sizerw"})


class _Block:
    """A part of a template: text, or an action with its blocks."""

    __slots__ = ("body", "kind", "otherwise", "text")

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind                     # text, value, if, with or range
        self.text = text                     # the text, or the words after the kind
        self.body: list[_Block] = []
        self.otherwise: list[_Block] = []    # after else


class _Template:
    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces = list(self._split(text))
        self._at = 0
        self.blocks, closed = self._blocks()
        if closed:
            raise self._wrong(closed, "it ends nothing")

    def render(self, value: Any) -> str:
        return self._all(self.blocks, value, {"$": value})

    def _wrong(self, place: str, hint: str = "") -> UsageError:
        return UsageError(f'--format "{self._text}": "{place}" is not supported: ' + (hint or (
            "write {{.Name.Name}}, {{json .Name}}, {{index .Name KEY}}, or if, with, range and end; functions are"
            f" {', '.join(sorted(_FUNCTIONS))}")))

    # --- reading ------------------------------------------------------------------------------------------------------

    def _split(self, text: str) -> Iterator[tuple[bool, str]]:
        """Pieces of text, and actions (True)."""
        rest, trim = text, False
        while "{{" in rest:
            before, _, rest = rest.partition("{{")
            place, closed, rest = rest.partition("}}")
            if not closed:
                raise UsageError(f'--format "{self._text}": "{{{{" without "}}}}"')
            before = before.lstrip() if trim else before
            if place.startswith("- "):
                before, place = before.rstrip(), place[2:]
            trim = place.endswith(" -")
            yield False, before.replace("\\n", "\n").replace("\\t", "\t")
            yield True, place.removesuffix(" -").strip()
        rest = rest.lstrip() if trim else rest
        yield False, rest.replace("\\n", "\n").replace("\\t", "\t")

    def _blocks(self) -> tuple[list[_Block], str]:
        """The blocks up to an end or else action, and that action; "" at the end of the template."""
        found = []
        while self._at < len(self._pieces):
            action, text = self._pieces[self._at]
            self._at += 1
            word, _, rest = text.partition(" ")
            if not action:
                found.append(_Block("text", text))
            elif word in ("end", "else"):
                return found, text
            elif word in ("if", "with", "range"):
                found.append(self._ruled(_Block(word, rest)))
            elif not text.startswith("/*"):
                found.append(_Block("value", text))
        return found, ""

    def _ruled(self, block: _Block) -> _Block:
        block.body, closed = self._blocks()
        word, _, rest = closed.partition(" ")
        if word == "else" and rest:
            kind, _, condition = rest.partition(" ")
            if kind not in ("if", "with"):
                raise self._wrong(closed)
            block.otherwise = [self._ruled(_Block(kind, condition))]   # the inner if consumes the end of both
        elif word == "else":
            block.otherwise, closed = self._blocks()
        if closed.partition(" ")[0] not in ("end", "else") or (closed != "end" and not rest):
            raise self._wrong(f"{block.kind} {block.text}", "its {{end}} is missing")
        return block

    # --- filling in ---------------------------------------------------------------------------------------------------

    def _all(self, blocks: list[_Block], dot: Any, names: dict[str, Any]) -> str:
        return "".join(self._one(block, dot, names) for block in blocks)

    def _one(self, block: _Block, dot: Any, names: dict[str, Any]) -> str:
        if block.kind == "text":
            return block.text
        variables, expression = self._declared(block.text)
        if block.kind == "value":
            value = self._pipeline(expression, dot, names)
            if variables:
                names[variables[0]] = value
                return ""
            return plain(value)
        try:
            value = self._pipeline(expression, dot, names)
        except _Missing:
            value = None
        if block.kind == "range":
            return self._range(block, variables, value, dot, names)
        if not value:
            return self._all(block.otherwise, dot, names)
        inner = {**names, **({variables[0]: value} if variables else {})}
        return self._all(block.body, value if block.kind == "with" else dot, inner)

    def _range(self, block: _Block, variables: list[str], value: Any, dot: Any, names: dict[str, Any]) -> str:
        if isinstance(value, dict):
            pairs = sorted(value.items())
        elif isinstance(value, list | tuple) or not value:
            pairs = list(enumerate(value or []))
        else:
            raise self._wrong(f"range {block.text}", "this is not a list")
        result = ""
        for key, item in pairs:
            own = dict(zip(variables, (key, item) if len(variables) == 2 else (item,), strict=False))
            result += self._all(block.body, item, {**names, **own})
        return result if pairs else self._all(block.otherwise, dot, names)

    def _declared(self, text: str) -> tuple[list[str], str]:
        """The variables that an action sets, and the expression after them."""
        left, sign, right = text.partition(":=")
        if not sign or not left.startswith("$"):
            return [], text
        return [word.strip() for word in left.split(",")], right

    def _pipeline(self, text: str, dot: Any, names: dict[str, Any]) -> Any:
        words = _words(text)
        if words is None or not words:
            raise self._wrong(text)
        commands: list[list[str]] = [[]]
        for word in words:
            if word == "|":
                commands.append([])
            else:
                commands[-1].append(word)
        value: Any = None
        for number, command in enumerate(commands):
            if not command:
                raise self._wrong(text)
            value = self._command(command, [value] if number else [], dot, names, text)
        return value

    def _command(self, words: list[str], piped: list[Any], dot: Any, names: dict[str, Any], text: str) -> Any:
        function = _FUNCTIONS.get(words[0])
        if function is None:
            found = self._operand(words[0], dot, names, text)
            if callable(found):
                function = found
            elif len(words) > 1 or piped:
                raise self._wrong(text)
            else:
                return found
        arguments = [self._operand(word, dot, names, text) for word in words[1:]] + piped
        try:
            return function(*arguments)
        except (KeyError, IndexError):
            raise UsageError(f'--format "{self._text}": there is no item {words[-1]}') from None
        except (TypeError, ValueError, AttributeError):
            raise self._wrong(text, f"{words[0]} does not take these values") from None

    def _operand(self, word: str, dot: Any, names: dict[str, Any], text: str) -> Any:
        if word[0] == '"':
            return word[1:-1].replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")
        if word[0] == "`":
            return word[1:-1]
        if word.lstrip("-").isdecimal():
            return int(word)
        if word in _CONSTANTS:
            return _CONSTANTS[word]
        if word in _FUNCTIONS:
            return self._command([word], [], dot, names, text)
        start, path = dot, word
        if word[0] == "(":
            inner, _, path = word[1:].rpartition(")")
            start = self._pipeline(inner, dot, names)
        elif word[0] == "$":
            name, mark, path = word.partition(".")
            if name not in names:
                raise self._wrong(text, f"there is no {name}")
            start, path = names[name], mark + path
        if path and not path.startswith("."):
            raise self._wrong(text)
        return self._follow(path, start)

    def _follow(self, path: str, value: Any) -> Any:
        above = ""
        for name in path.split(".")[1:]:
            if not name or value is _NO_VALUE:
                continue   # "." alone is the value itself
            found = {key.lower(): key for key in value} if isinstance(value, dict) else {}
            key = name if isinstance(value, dict) and name in value else found.get(name.lower())
            if key is None and above in _MAPS and (value is None or isinstance(value, dict)):
                value = _NO_VALUE
                continue
            if key is None and name.lower() in _POINTERS and isinstance(value, dict):
                value = None
                continue
            if key is None:
                there = ", ".join(found.values()) or "nothing"
                raise _Missing(f'--format "{self._text}": there is no "{name}"; there is: {there}')
            value, above = value[key], name.lower()
        return value


def _words(text: str) -> list[str] | None:
    """The words of an expression; quoted text, and parentheses with the path after them, are one word. None if a quote
    or parenthesis is not closed."""
    words, word, depth, quote = [], "", 0, ""
    signs = iter(text)
    for sign in signs:
        if quote:
            word += sign
            if sign == "\\" and quote == '"':
                word += next(signs, "")
            elif sign == quote:
                quote = ""
        elif sign in '"`':
            quote = sign
            word += sign
        elif depth == 0 and (sign.isspace() or sign == "|"):
            words += [word] if word else []
            words += [sign] if sign == "|" else []
            word = ""
        else:
            depth += (sign == "(") - (sign == ")")
            word += sign
    if quote or depth:
        return None
    return words + ([word] if word else [])


def plain(value: Any) -> str:
    """A value as Go prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(plain, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{plain(item)}" for key, item in sorted(value.items())) + "]"
    return "<nil>" if value is None else str(value)


def _json(value: Any) -> str:
    return encode(None if value is _NO_VALUE else value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:   # Go returns the empty value for a missing key, and for any key of a nil map
        value = {} if value is None else value
        if not isinstance(value, dict | list | str):
            raise IndexError
        value = value.get(key, "") if isinstance(value, dict) else value[int(key)]
    return value


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _all_of(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _any_of(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


def _printf(form: str, *values: Any) -> str:
    """Go's verbs s, v, d, q and t, with a width."""
    result, rest, left = "", form, list(values)
    while "%" in rest:
        before, _, rest = rest.partition("%")
        width = rest[:len(rest) - len(rest.lstrip("-0123456789"))]
        verb, rest = rest[len(width):len(width) + 1], rest[len(width) + 1:]
        if verb == "%":
            result += before + "%"
            continue
        if verb not in ("s", "v", "d", "q", "t"):
            raise ValueError
        value = left.pop(0)
        text = encode(plain(value)) if verb == "q" else plain(value)
        size = int(width.lstrip("-") or 0)
        result += before + (text.ljust(size) if width.startswith("-") else text.rjust(size))
    return result + rest


_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "nil": None}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _all_of, "eq": _equal, "ge": lambda a, b: a >= b, "gt": lambda a, b: a > b, "index": _index,
    "join": lambda words, sign: sign.join(map(plain, words)), "json": _json, "le": lambda a, b: a <= b, "len": len,
    "lower": lambda text: text.lower(), "lt": lambda a, b: a < b, "ne": lambda a, b: a != b,
    "not": lambda value: not value, "or": _any_of, "print": lambda *values: "".join(map(plain, values)),
    "printf": _printf, "println": lambda *values: " ".join(map(plain, values)) + "\n",
    "split": lambda text, sign: text.split(sign), "title": lambda text: text.title(),
    "truncate": lambda text, size: text[:size], "upper": lambda text: text.upper()}
