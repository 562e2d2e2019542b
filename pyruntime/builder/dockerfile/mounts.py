"""The values of RUN --mount, by Docker's rules: ``type=cache,target=/root/.cache,sharing=locked``."""

from __future__ import annotations

import posixpath

from pyruntime.builder.dockerfile.names import nearest

KINDS = ("bind", "cache", "secret", "ssh", "tmpfs")
SHARING = ("shared", "private", "locked")   # from the weakest to the strongest
_ALIASES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}
_YES = frozenset(("", "true", "1"))
_NO = frozenset(("false", "0"))
_BOTH = ("readonly", "readwrite", "target", "type")
# kind -> its options
_OPTIONS = {"bind": {*_BOTH, "from", "source"},
            "cache": {*_BOTH, "from", "gid", "id", "mode", "sharing", "source", "uid"},
            "secret": {"env", "gid", "id", "mode", "required", "source", "target", "type", "uid"},
            "ssh": {"gid", "id", "mode", "required", "target", "type", "uid"},
            "tmpfs": {"size", "target", "type", "readonly", "readwrite"}}
_SIZES = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class MountError(Exception):
    """An invalid value; ``remedy`` says what to write."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


class Mount:
    """One mount. ``mode``, ``uid`` and ``gid`` are -1 if absent; ``size`` in bytes, 0 for no limit."""

    FIELDS = ("kind", "target", "source", "origin", "readonly", "id", "sharing", "mode", "uid", "gid", "size",
              "required", "env")
    __slots__ = FIELDS

    def __init__(self) -> None:
        self.kind = "bind"
        self.target = ""
        self.source = ""
        self.origin = ""       # stage, image or context; "": the build's context
        self.readonly = False
        self.id = ""
        self.sharing = "shared"
        self.mode = self.uid = self.gid = -1
        self.size = 0
        self.required = False
        self.env = ""

    def words(self) -> list[str]:
        """The mount's part of the cache key."""
        return [f"{name}={getattr(self, name)}" for name in self.FIELDS]

    def __repr__(self) -> str:
        return f"Mount({', '.join(self.words())})"


def parse_mount(text: str, workdir: str = "/") -> Mount:
    """Read a value; a relative target is below ``workdir``. Raises MountError."""
    mount = Mount()
    given: dict[str, str] = {}
    for field in _fields(text):
        name, _, value = field.partition("=")
        name = _ALIASES.get(name.strip().lower(), name.strip().lower())
        given[name] = value
    mount.kind = given.pop("type", "bind")
    if mount.kind not in KINDS:
        raise MountError(f'unknown mount type "{mount.kind}"', f"write {', '.join(KINDS)}")
    mount.readonly = mount.kind == "bind"
    for name, value in given.items():
        if name not in _OPTIONS[mount.kind]:
            close = nearest(name, _OPTIONS[mount.kind])
            raise MountError(f'a mount of type {mount.kind} has no option "{name}"', f'write "{close}"' if close else
                             f"it has {', '.join(sorted(_OPTIONS[mount.kind]))}")
        _set(mount, name, value)
    _complete(mount, workdir)
    return mount


def _fields(text: str) -> list[str]:
    """The values between commas; a value in double quotes may contain commas (RFC 4180)."""
    fields, current, quoted = [], "", False
    for letter in text:
        if letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            fields.append(current)
            current = ""
        else:
            current += letter
    return [field for field in (*fields, current) if field]


def _set(mount: Mount, name: str, value: str) -> None:
    if name in ("readonly", "readwrite", "required"):
        if value.lower() not in _YES | _NO:
            raise MountError(f'"{name}" must be true or false, not "{value}"', f'write "{name}"')
        yes = value.lower() in _YES
        if name == "required":
            mount.required = yes
        else:
            mount.readonly = yes == (name == "readonly")
    elif name in ("uid", "gid", "mode"):
        try:
            number = int(value, 8 if name == "mode" else 10)
        except ValueError:
            number = -1
        if number < 0 or (name == "mode" and number > 0o7777):
            example = "0755" if name == "mode" else "0"
            raise MountError(f'"{name}" must be a number, not "{value}"', f'write "{name}={example}"')
        setattr(mount, name, number)
    elif name == "size":
        digits = value.lower().removesuffix("ib").removesuffix("b") or value
        unit = _SIZES.get(digits[-1:], 0)
        number_text = digits[:-1] if unit else digits
        if not number_text.isascii() or not number_text.isdigit():
            raise MountError(f'"size" must be a number of bytes, not "{value}"', 'write "size=64m", for example')
        mount.size = int(number_text) * (unit or 1)
    elif name == "sharing":
        if value not in SHARING:
            raise MountError(f'"sharing" cannot be "{value}"', f"write {', '.join(SHARING)}")
        mount.sharing = value
    elif name == "from":
        mount.origin = value
    else:
        setattr(mount, name, value)


def _complete(mount: Mount, workdir: str) -> None:
    if mount.kind == "secret":
        mount.id = mount.id or mount.source or posixpath.basename(mount.target)
        if not mount.id:
            raise MountError("the secret has no name", 'write "id=name"')
        if not mount.target and not mount.env:
            mount.target = f"/run/secrets/{posixpath.basename(mount.id)}"
        mount.mode = 0o400 if mount.mode < 0 else mount.mode
    elif mount.kind == "ssh":
        mount.id = mount.id or "default"
        mount.mode = 0o600 if mount.mode < 0 else mount.mode
    elif not mount.target:
        raise MountError("the mount has no target", 'write "target=/path"')
    if mount.target:
        mount.target = posixpath.normpath(posixpath.join("/", workdir, mount.target))
        if mount.target == "/" or mount.target.startswith("//"):
            raise MountError("a mount cannot replace the root", "name a directory below it")
    if mount.kind == "cache":
        mount.id = mount.id or mount.target
        mount.mode = 0o755 if mount.mode < 0 else mount.mode
