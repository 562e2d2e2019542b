"""process.user, process.capabilities: the program's user and capabilities.

Spec:   config.md#user, #linux-process
Emits:  own_streams, drop_bounding, set_groups, set_user, capset, ambient   (phase PROCESS)
"""

from __future__ import annotations

from errno import EINVAL, EPERM, EROFS

from pyruntime.runtime.config.sections.extensions import KEEP_GROUPS
from pyruntime.runtime.plan.steps import step
from pyruntime.system.uapi import ALL_CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.plan.steps import Step

NUMBERS = {name: number for number, name in enumerate(ALL_CAPABILITIES)}
SYS_ADMIN = 1 << NUMBERS["CAP_SYS_ADMIN"]
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def emit(setup: Setup) -> Iterator[Step]:
    """The steps that drop init's privileges to those of the program; the order follows capabilities(7)."""
    process = setup.config["process"]
    user = process["user"]
    masks = {name: _mask(setup, name) for name in SETS}
    where = process["capabilities"].where
    uid = user.get("uid", 0)
    if uid and not process.get("terminal", False):
        # Pipes whose owner is not mapped in the user namespace stay as they are.
        yield step("process", "own_streams", user["uid"].where, uid=uid, tolerate=(EPERM, EINVAL, EROFS))
    # This step needs CAP_SETPCAP, so it comes while init is still root.
    yield step("process", "drop_bounding", f"{where}.bounding", label=_names(masks["bounding"]),
               keep=masks["bounding"])
    groups = user.get("additionalGids", [])
    if KEEP_GROUPS in (setup.config.get("annotations") or {}):
        # Podman's --group-add keep-groups: the user's own groups, which an unprivileged mapping cannot contain.
        pass
    elif groups or not _groups_denied(setup):
        yield step("process", "set_groups", user["additionalGids"].where, label=", ".join(map(str, groups)),
                   gids=b"".join(gid.to_bytes(4, "little") for gid in groups))
    yield step("process", "set_user", user.where, uid=uid, gid=user.get("gid", 0))
    permitted, effective = masks["permitted"], masks["effective"]
    if setup.config["linux.seccomp"] and not process.get("noNewPrivileges", False):
        # seccomp(2) requires CAP_SYS_ADMIN or no_new_privs. The capability remains until execve, which recomputes the
        # permitted and effective sets from the bounding, inheritable and ambient sets (capabilities(7)), so the program
        # never has it. Without this, the filter would have to be loaded earlier and apply to the stub's own calls.
        permitted |= SYS_ADMIN
        effective |= SYS_ADMIN
    yield step("process", "capset", where, label=_names(masks["permitted"]), effective=effective, permitted=permitted,
               inheritable=masks["inheritable"])
    yield step("process", "ambient", f"{where}.ambient", label=_names(masks["ambient"]), mask=masks["ambient"])


def _groups_denied(setup: Setup) -> bool:
    """Whether setgroups(2) is disabled: an unprivileged user has mapped only the user's own group
    (user_namespaces(7))."""
    return setup.host.rootless and (setup.host.euid != 0 or setup.host.user_namespace)


def _names(mask: int) -> str:
    names = [name for number, name in enumerate(ALL_CAPABILITIES) if mask >> number & 1]
    return ", ".join(names) if len(names) < len(ALL_CAPABILITIES) else "all"


def _mask(setup: Setup, name: str) -> int:
    mask = 0
    capabilities = setup.config["process.capabilities"]
    known = 0
    for node in capabilities[name].each():
        number = NUMBERS.get(node.value, -1)
        if number < 0 or number > setup.host.last_cap:
            setup.warn(node.where, f'"{node.value}" is not a capability of the kernel and is left out')
        else:
            known |= 1 << number
            if setup.host.capabilities >> number & 1 or "user" in setup.namespaces:
                mask |= 1 << number
    refused = known & ~mask
    if refused:
        setup.warn(capabilities[name].where, f"{_names(refused)} cannot be granted: the runtime itself lacks it")
    if name == "ambient":
        return mask & _mask_quietly(setup, "permitted") & _mask_quietly(setup, "inheritable")
    return mask


def _mask_quietly(setup: Setup, name: str) -> int:
    mask = 0
    for value in setup.config.get(f"process.capabilities.{name}", []):
        mask |= 1 << NUMBERS[value] if value in NUMBERS else 0
    return mask
