"""The configuration of a process that joins a container: from the container's configuration and from the request.

`create` saves the parts of the configuration that `exec` needs (kept_of). A request names a command (asked_process) or
has a whole process object (given_process); everything else is that of the container, as with runc.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, PyruntimeError, UsageError
from pyruntime.runtime.config.check import conforms_process
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.config.rules import process_problems
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# Members of linux that apply to every process of the container, not only to its set-up.
_LINUX = ("namespaces", "seccomp", "personality", "memoryPolicy", "intelRdt")
# A process object without these gets the container's; the others (user, env, noNewPrivileges) it has itself.
_INHERITED = ("capabilities", "apparmorProfile", "selinuxLabel", "rlimits", "oomScoreAdj", "scheduler", "ioPriority",
              "execCPUAffinity")
_CAPABILITIES = ("bounding", "effective", "permitted")


def kept_of(config: Node, new_keyring: bool) -> dict[str, Any]:
    """The parts of a container's configuration that `exec` needs, as they were checked by `create`. Later changes of
    the bundle have no effect, as with `start`."""
    return {"ociVersion": config.get("ociVersion"), "annotations": config.get("annotations", {}),
            "process": config.get("process", {}), "newKeyring": new_keyring,
            "linux": {name: config.value["linux"][name] for name in _LINUX if config[f"linux.{name}"]}}


def asked_process(kept: dict[str, Any], args: Sequence[str], *, cwd: str = "", env: Sequence[str] = (),
                  terminal: bool = False, user: str = "", gids: Sequence[int] = (),
                  groups: Sequence[int] | None = None, capabilities: Sequence[str] = (),
                  no_new_privs: bool | None = None, apparmor: str = "", label: str = "") -> dict[str, Any]:
    """The container's own process object with another command and the changes of the options. ``gids`` are added to its
    supplementary groups, ``groups`` replace them. Raises UsageError and ConfigError."""
    if not args:
        raise UsageError("exec args cannot be empty: name the program to run, or give --process")
    process = {"cwd": "/", **kept["process"], "args": list(args), "terminal": terminal}
    process["env"] = [*(process.get("env") or []), *env]
    person = dict(process.get("user") or {"uid": 0, "gid": 0})
    if user:
        uid, colon, gid = user.partition(":")
        person["uid"] = _number(uid, "uid", user)
        if colon:
            person["gid"] = _number(gid, "gid", user)
    kept_groups = (person.get("additionalGids") or []) if groups is None else groups
    person["additionalGids"] = list(dict.fromkeys([*kept_groups, *gids]))
    process["user"] = person
    if capabilities:
        process["capabilities"] = _more(process.get("capabilities") or {}, capabilities)
    for name, value in (("cwd", cwd), ("apparmorProfile", apparmor), ("selinuxLabel", label)):
        if value:
            process[name] = value
    if no_new_privs is not None:
        process["noNewPrivileges"] = no_new_privs
    return _checked(process, "exec")


def _number(text: str, kind: str, user: str) -> int:
    # The kernel has no IDs above 2^32-2.
    if not (text.isascii() and text.isdecimal() and int(text) < (1 << 32) - 1):
        raise UsageError(f'--user "{user}": bad {kind}: "{text}" is not a number; write UID or UID:GID')
    return int(text)


def _more(sets: dict[str, Any], capabilities: Sequence[str]) -> dict[str, Any]:
    # Ambient capabilities must be inheritable (capabilities(7)); without inheritable ones there cannot be any.
    names = (*_CAPABILITIES, "ambient") if sets.get("inheritable") else _CAPABILITIES
    return {**sets, **{name: [*(sets.get(name) or []), *capabilities] for name in names}}


def given_process(kept: dict[str, Any], data: bytes, document: str, warn: Callable[[str], None]) -> dict[str, Any]:
    """The process object in a file, with the container's values for missing members; ``warn`` is called for violations
    that other runtimes accept. Raises ConfigError."""
    process = decode(data, document)
    if not conforms_process(process) or process_problems(Node(process, "process")):
        # lazy: only for a request with values that runc takes and the schema refuses
        from pyruntime.runtime.config.lenient import forgive

        accepted = forgive({"process": process})
        if conforms_process(accepted[0]["process"]):
            process = accepted[0]["process"]
            for problem in accepted[1]:
                warn(f"{document}: {problem}")
    if not conforms_process(process):
        from pyruntime.runtime.config.validate import validate  # lazy: jsonschema (60 ms): only to word errors

        problems = validate(process, "process")
        for problem in problems:
            problem.where = f"process.{problem.where}" if problem.where else "process"
        if not problems:
            raise PyruntimeError(f"{document}: the fast check and the schema disagree; please report this document")
        raise ConfigError(document, problems)
    assert isinstance(process, dict)
    for name in _INHERITED:
        if process.get(name) is None and kept["process"].get(name) is not None:
            process[name] = kept["process"][name]
    if "umask" not in (process.get("user") or {}) and (kept["process"].get("user") or {}).get("umask") is not None:
        process["user"] = {"uid": 0, "gid": 0, **(process.get("user") or {}),
                           "umask": kept["process"]["user"]["umask"]}
    return _checked(process, document)


def _checked(process: dict[str, Any], document: str) -> dict[str, Any]:
    problems = process_problems(Node(process, "process"))
    if problems:
        raise ConfigError(document, problems)
    return process
