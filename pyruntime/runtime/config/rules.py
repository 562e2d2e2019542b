"""The rules that no schema can express: violations, unsupported settings, and warnings.

All three functions read a document that conforms to the schema (``check.conforms``).
"""

from __future__ import annotations

from pyruntime.errors import Problem
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.config.sections import extensions, linux, mounts, namespaces, process, resources, seccomp
from pyruntime.runtime.config.text import shown
from pyruntime.system.json_path import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "1.3.0"
"""The version of the specification that pyruntime follows."""

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def platform_of(config: Node) -> str:
    """The platform of a configuration: linux, unless it only has the member of another platform."""
    if not config["linux"]:
        for name in ("windows", "solaris", "zos", "freebsd"):
            if config[name]:
                return name
    return "linux"


def problems(config: Node) -> list[Problem]:
    """The violations of the specification."""
    platform = platform_of(config)
    found = [*_root(config, platform)]
    if platform == "linux":
        # A user namespace that is joined by its path has mappings that only the kernel knows.
        found += mounts.problems(config["mounts"], mapped=_maps_ids(config["linux"]))
    if config["process"]:
        found += process.problems(config["process"], platform)
    if config["hooks"].value and platform != "windows":
        found += _hooks(config["hooks"])
    found += _annotations(config["annotations"])
    if platform == "linux":
        found += namespaces.problems(config)
        found += linux.problems(config["linux"])
        found += resources.problems(config["linux.resources"])
        found += seccomp.problems(config["linux.seccomp"])
    if platform != "linux" or config["windows"] or config["vm"] or config["zos"]:
        from pyruntime.runtime.config.sections import platforms  # lazy: only for other platforms

        found += platforms.problems(config, platform)
    return found


def unsupported(config: Node, process_needed: bool = True) -> list[Problem]:
    """The settings that the specification allows and pyruntime does not support.

    ``process_needed`` is False if only ``start`` will need the process.
    """
    found = [*_version(config.value["ociVersion"]), *_foreign(config), *extensions.unsupported(config["annotations"])]
    if process_needed and not config["process"]:
        remedy = 'add for example {"cwd": "/", "args": ["sh"]}'
        found.append(Problem("process", "process property must not be empty", remedy, "config.md#process"))
    types = namespaces.requested(config["linux"])
    if config.get("linux.netDevices") and "network" not in types:
        what = "unable to move network devices without a private NET namespace"
        remedy = 'add {"type": "network"} to linux.namespaces, or remove the netDevices'
        found.append(Problem("linux.netDevices", what, remedy, "config-linux.md#network-devices"))
    if config.get("process.scheduler.policy") == "SCHED_ISO":
        what = 'the kernel has no policy "SCHED_ISO"'
        found.append(Problem("process.scheduler.policy", what, 'write "SCHED_OTHER"', "config.md#linux-process"))
    return found


def warnings(config: Node) -> list[Problem]:
    """The settings that are accepted or, as the specification requires, ignored with a warning in the log."""
    found = [*_newer(config.value["ociVersion"]), *extensions.warnings(config["annotations"])]
    if config["process"]:
        found += process.warnings(config["process"])
    prestart = config["hooks.prestart"]
    if prestart.value:
        remedy = "write createRuntime, createContainer or startContainer hooks"
        found.append(Problem(prestart.where, "prestart hooks are deprecated", remedy, "config.md#prestart"))
    if platform_of(config) == "linux":
        found += mounts.warnings(config["mounts"])
        found += namespaces.warnings(config)
        found += linux.warnings(config["linux"])
        found += resources.warnings(config["linux.resources"])
        found += seccomp.warnings(config["linux.seccomp"])
    return found


def process_problems(node: Node) -> list[Problem]:
    """The violations in a separate process object, as ``exec --process`` reads it."""
    return list(process.problems(node, "linux"))


def resources_problems(node: Node) -> list[Problem]:
    """The violations in a separate resources object, as ``update --resources`` reads it."""
    return list(resources.problems(node, updating=True))


def _root(config: Node, platform: str) -> Iterator[Problem]:
    spec = "config.md#root"
    if config["windows.hyperv"] and platform == "windows":
        if config["root"]:
            yield Problem("root", "must not be set for Hyper-V containers", "remove it", spec)
    elif not config["root"]:
        yield Problem("root", "root must be specified", 'add "root": {"path": "rootfs"}', spec)
    elif not config.value["root"]["path"]:
        yield Problem("root.path", "must not be empty", 'write "rootfs"', spec)


def _maps_ids(linux: Node) -> bool:
    """Whether the container's user namespace has mappings, from the configuration or because it is joined."""
    return bool(linux["uidMappings"] or namespaces.requested(linux).get("user"))


def _hooks(hooks: Node) -> Iterator[Problem]:
    for kind in HOOKS:
        for hook in hooks[kind].each():
            path = hook.value["path"]
            if path[:1] != "/":
                remedy = f"write the absolute path of {shown(path)}" if path else "name the program to run"
                what = f"{shown(path)} is not an absolute path"
                yield Problem(hook["path"].where, what, remedy, "config.md#posix-platform-hooks")
            yield from process.env_problems(hook["env"], "config.md#posix-platform-hooks")


def _annotations(annotations: Node) -> Iterator[Problem]:
    if annotations.value and "" in annotations.value:
        what = "the key of an annotation must not be empty"
        yield Problem(member(annotations.where, ""), what, "name it, or remove it", "config.md#annotations")


def _version(version: str) -> Iterator[Problem]:
    major = version.partition(".")[0]
    if major != "1":
        what = f"version {shown(version)} is not supported, only 1.x is"
        yield Problem("ociVersion", what, f'write "{VERSION}"', "config.md#specification-version")


def _newer(version: str) -> Iterator[Problem]:
    major, minor = version.split(".")[:2]
    if major == "1" and int(minor) > int(VERSION.split(".")[1]):
        what = f"{shown(version)} is newer than {VERSION}; its additions are ignored"
        yield Problem("ociVersion", what, f'write "{VERSION}" if sufficient', "config.md#specification-version")


def _foreign(config: Node) -> Iterator[Problem]:
    platform = platform_of(config)
    if platform != "linux":
        what = f"this is a configuration for {platform}, but pyruntime only runs linux containers"
        yield Problem(platform, what, "use a runtime for that platform", "config.md#platform-specific-configuration")
    if config["vm"]:
        what = "pyruntime does not start virtual machines"
        yield Problem("vm", what, "use a runtime for virtual machines", "config.md#platform-specific-configuration")
