"""Converts an image's configuration to a runtime's config.json (image-spec conversion.md).

Defaults are Docker's, so that images that run with Docker run here: its fourteen capabilities, a writable root, no
terminal. An image's own values are copied verbatim.
"""

from __future__ import annotations

from pyruntime.errors import ImageError
from pyruntime.images.users import find_user
from pyruntime.runtime.config.template import template
from pyruntime.system.environment import last_of_each
from pyruntime.system.user_namespace import setgroups_denied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.document import ImageConfig

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Docker's default capabilities: entrypoints of common images change owners and switch users.
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
                "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID",
                "CAP_SYS_CHROOT"]
_PREFIX = "org.opencontainers.image."
# Image member -> annotation (conversion.md#annotation-fields)
_ANNOTATIONS = {"os": "os", "architecture": "architecture", "variant": "variant", "os.version": "os.version",
                "os.features": "os.features", "author": "author", "created": "created"}


class Wishes:
    """The caller's values, which override the image's (conversion.md: externally provided inputs)."""

    __slots__ = ("args", "entrypoint", "env", "home", "host_network", "hostname", "readonly", "rootless", "terminal",
                 "user", "workdir")

    def __init__(self, **values: Any) -> None:
        self.args: list[str] = []             # instead of Cmd
        self.entrypoint: list[str] | None = None   # instead of Entrypoint; Cmd is dropped then
        self.env: list[str] = []
        self.home = True   # set HOME; without it the runtime does
        self.user = ""
        self.workdir = ""
        self.terminal = False
        self.readonly = False
        self.host_network = False
        self.rootless = False
        self.hostname = ""
        for name, value in values.items():
            setattr(self, name, value)


def convert(image: ImageConfig, root: int, wishes: Wishes, *, uid: int, gid: int, unified: bool) -> dict[str, Any]:
    """The configuration of a bundle whose root filesystem is the open directory ``root``.

    ``uid`` and ``gid`` are the caller's, for a rootless container; ``unified``: whether the host has only cgroup v2.
    Raises ImageError for an image without a command, or with a user that it does not contain.
    """
    config = image.config
    document = template(rootless=wishes.rootless, uid=uid, gid=gid, unified=unified)
    process = document["process"]
    user = find_user(wishes.user or config.get("User") or "", root)
    process["terminal"] = wishes.terminal
    process["user"] = {"uid": user.uid, "gid": user.gid}
    if not setgroups_denied():
        process["user"]["additionalGids"] = user.groups
    process["args"] = _args(config, wishes)
    process["cwd"] = wishes.workdir or config.get("WorkingDir") or "/"
    home = [f"HOME={user.home or '/'}"] if wishes.home else []
    process["env"] = _environment(config.get("Env") or [], wishes, home)
    process["rlimits"] = []
    process["capabilities"] = {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")}
    if not process["cwd"].startswith("/"):   # Docker takes a relative path as below the root
        process["cwd"] = "/" + process["cwd"]
    document["root"]["readonly"] = wishes.readonly
    document["hostname"] = wishes.hostname or "pyruntime"
    document["annotations"] = image_annotations(image)
    if wishes.host_network:
        linux = document["linux"]
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "network"]
    return document


def _args(config: dict[str, Any], wishes: Wishes) -> list[str]:
    if wishes.entrypoint is not None:
        args = wishes.entrypoint + wishes.args
    else:
        args = (config.get("Entrypoint") or []) + (wishes.args or config.get("Cmd") or [])
    if not args:
        raise ImageError("the image has neither Entrypoint nor Cmd: give a command after the bundle", "config.Cmd")
    return args


def _environment(env: list[str], wishes: Wishes, home: list[str]) -> list[str]:
    """The image's variables verbatim, replaced by the caller's of the same name, then the defaults.

    An entry that is not NAME=VALUE sets no variable: for Docker a name alone unsets the variable.
    """
    result = last_of_each([*(entry for entry in env if entry.find("=") > 0), *wishes.env])
    names = {entry.partition("=")[0] for entry in result}
    defaults = [PATH, *home, *(["TERM=xterm"] if wishes.terminal else [])]
    return result + [entry for entry in defaults if entry.partition("=")[0] not in names]


def image_annotations(image: ImageConfig) -> dict[str, str]:
    """The annotations of the runtime configuration; an image's labels win (conversion.md#annotations)."""
    found: dict[str, str] = {}
    for member, name in _ANNOTATIONS.items():
        value = image.document.get(member)
        if value:
            found[_PREFIX + name] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    config = image.config
    if config.get("StopSignal"):
        found[_PREFIX + "stopSignal"] = config["StopSignal"]
    if config.get("ExposedPorts"):
        found[_PREFIX + "exposedPorts"] = ",".join(sorted(config["ExposedPorts"]))
    return {**found, **(config.get("Labels") or {})}
