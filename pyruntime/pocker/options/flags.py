"""The flags of `create` and `run`, and the settings that they stand for.

A flag whose value is used unchanged has a field of the settings; the other flags belong to a subject, whose module
reads them.
"""

from __future__ import annotations

from pyruntime.commandline.parse import Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.pocker.settings import ContainerSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _texts(*rows: tuple[str, str, str]) -> tuple[Flag, ...]:
    """Flags with a value: name, value, help."""
    return tuple(Flag(name, "str", about, value=value) for name, value, about in rows)


def _lists(*rows: tuple[str, str, str]) -> tuple[Flag, ...]:
    """Flags that may be repeated."""
    return tuple(Flag(name, "list", about, value=value) for name, value, about in rows)


def _numbers(*rows: tuple[str, str]) -> tuple[Flag, ...]:
    return tuple(Flag(name, "int", about) for name, about in rows)


def _switches(*rows: tuple[str, str]) -> tuple[Flag, ...]:
    return tuple(Flag(name, "bool", about) for name, about in rows)


OLD_NAMES = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}   # still in use
# Subject -> its flags; READERS has the functions that read them.
SUBJECTS: dict[str, tuple[Flag, ...]] = {
    "environment": (
        Flag("env", "list", "set an environment variable; NAME alone copies the host's value", short="e",
             value="NAME[=VALUE]"),
        Flag("label", "list", "set a label on the container", short="l", value="NAME[=VALUE]"),
        *_lists(("env-file", "FILE", "read environment variables from FILE, one per line"),
                ("label-file", "FILE", "read labels from FILE, one per line"),
                ("annotation", "NAME=VALUE", "add an annotation, passed on to the OCI runtime"))),
    "resources": (
        Flag("memory", "str", "memory limit, for example 512m", short="m", value="BYTES"),
        *_texts(("mem", "BYTES", "the same as --memory"),
                ("memory-swap", "BYTES", "limit of memory plus swap; -1: unlimited swap (default: twice --memory)"),
                ("memory-reservation", "BYTES", "memory soft limit, applied when host memory is scarce"),
                ("cpus", "NUMBER", "number of CPUs, for example 1.5"),
                ("cpuset-cpus", "LIST", "CPUs to run on, for example 0-2,4"),
                ("cpuset-mems", "LIST", "memory nodes to use, for example 0,1"),
                ("cgroup-parent", "PATH", "parent cgroup, or systemd slice, of the container"),
                ("oom-score-adj", "N", "OOM killer preference (-1000 to 1000)")),
        *_numbers(("memory-swappiness", "memory swappiness (0 to 100; cgroup v1 only)"),
                  ("cpu-period", "CPU CFS period, in microseconds"),
                  ("cpu-quota", "CPU CFS quota per period, in microseconds"),
                  ("cpu-rt-period", "CPU real-time period, in microseconds"),
                  ("cpu-rt-runtime", "CPU real-time runtime per period, in microseconds"),
                  ("pids-limit", "limit of processes; -1: unlimited"),
                  ("pids", "the same as --pids-limit"),
                  ("blkio-weight", "block I/O relative weight (10 to 1000)")),
        Flag("cpu-shares", "int", "CPU shares (relative weight; 1024 is the kernel's default)", short="c"),
        *_switches(("oom-kill-disable", "disable the OOM killer (cgroup v1 only)")),
        *_lists(("blkio-weight-device", "DEVICE:N", "block I/O relative weight for one device"),
                ("device-read-bps", "DEVICE:RATE", "limit of the read rate, in bytes per second: /dev/sda:1mb"),
                ("device-write-bps", "DEVICE:RATE", "limit of the write rate, in bytes per second"),
                ("device-read-iops", "DEVICE:RATE", "limit of the read rate, in operations per second"),
                ("device-write-iops", "DEVICE:RATE", "limit of the write rate, in operations per second"),
                ("ulimit", "NAME=SOFT[:HARD]", "resource limit of each process, for example nofile=1024"),
                ("sysctl", "NAME=VALUE", "set a kernel parameter in the container's namespaces"))),
    "mounts": (
        Flag("volume", "list", "bind mount a host path, or mount a volume", short="v",
             value="[SOURCE:]PATH[:OPTIONS]"),
        *_lists(("mount", "KEY=VALUE,...", "attach a mount: type=bind|volume|tmpfs,source=...,target=..."),
                ("tmpfs", "PATH[:OPTIONS]", "mount a tmpfs"),
                ("volumes-from", "CONTAINER[:ro]", "mount the volumes and bind mounts of another container"))),
    "devices": (
        *_lists(("device", "DEVICE[:PATH][:rwm]", "add a host device, a directory of devices, or the CDI device"
                 " VENDOR/CLASS=NAME"),
                ("device-cgroup-rule", "RULE", 'add a rule to the list of allowed devices: "c 188:* rwm"')),
        *_texts(("gpus", "all|N|device=...", "add GPUs, by their CDI devices"))),
    "security": (
        *_lists(("cap-add", "NAME", "add a Linux capability, or ALL"),
                ("cap-drop", "NAME", "drop a Linux capability, or ALL"),
                ("security-opt", "OPTION", "security option: seccomp=FILE|unconfined, apparmor=PROFILE|unconfined,"
                 " label=..., no-new-privileges, systempaths=unconfined, mask=PATH, unmask=PATH")),
        *_switches(("privileged", "extended privileges: all capabilities and devices, no masked paths"))),
    "namespaces": _texts(
        ("ipc", "MODE", "IPC namespace: private, shareable, host, none or container:NAME"),
        ("pid", "MODE", "PID namespace: private, host or container:NAME"),
        ("uts", "MODE", "UTS namespace: private, host or container:NAME"),
        ("cgroupns", "MODE", "cgroup namespace: private or host"),
        ("userns", "MODE", "user namespace: host, auto, or a user with a range in /etc/subuid")),
    "compatibility": (
        *_texts(("volume-driver", "DRIVER", "driver of new volumes: local is the only one"),
                ("kernel-memory", "BYTES", "accepted for compatibility; has no effect")),
        *_lists(("storage-opt", "NAME=VALUE", "storage driver option; no options are supported")),
        Flag("disable-content-trust", "bool", "accepted for compatibility; image signatures are never verified",
             default=True)),
    "network": (
        Flag("network", "list", "connect to a network: NAME, none, host or container:NAME", value="NETWORK"),
        Flag("publish", "list", "publish a container port on the host", short="p",
             value="[ADDRESS:][PORT:]PORT[/PROTOCOL]"),
        Flag("publish-all", "bool", "publish all exposed ports on free ports of the host",
             short="P"),
        *_texts(("ip", "ADDRESS", "IPv4 address of the container"), ("ip6", "ADDRESS", "IPv6 address of the container"),
                ("mac-address", "ADDRESS", "MAC address of the container")),
        *(Flag(name, "list", f"the same as --{whole}", hidden=True) for name, whole in OLD_NAMES.items()),
        *_lists(("network-alias", "NAME", "network-scoped alias of the container"),
                ("link", "CONTAINER[:NAME]", "add a link to another container of the network"),
                ("expose", "PORT[/PROTOCOL]", "expose a port of the container"),
                ("dns", "ADDRESS", "DNS server of the container"),
                ("dns-search", "DOMAIN", "DNS search domain"),
                ("dns-option", "OPTION", "DNS option, see resolv.conf(5)"),
                ("add-host", "NAME:ADDRESS", "add a line to /etc/hosts; host-gateway is the host's address"))),
    "restart": _texts(("restart", "POLICY", "restart policy: no, on-failure[:N], always or unless-stopped")),
    "log": (
        *_texts(("log-driver", "DRIVER", "logging driver: json-file, local or none")),
        *_lists(("log-opt", "NAME=VALUE", "logging driver option: max-size=SIZE, max-file=N"))),
    "health": (
        *_texts(("health-cmd", "COMMAND", "command of the health check, run by a shell"),
                ("health-interval", "TIME", "time between health checks, for example 30s"),
                ("health-timeout", "TIME", "maximum time that a health check may take"),
                ("health-start-period", "TIME", "start period, in which failures do not count"),
                ("health-start-interval", "TIME", "time between health checks in the start period")),
        *_numbers(("health-retries", "consecutive failures that make the container unhealthy")),
        *_switches(("no-healthcheck", "disable the image's health check"))),
}
# Flag -> field of the settings that holds its value.
FIELDS = {"user": "user", "workdir": "workdir", "hostname": "hostname", "domainname": "domainname", "tty": "terminal",
          "interactive": "stdin", "rm": "remove", "init": "init", "read-only": "read_only", "group-add": "group_add",
          "stop-signal": "stop_signal", "stop-timeout": "stop_timeout", "platform": "platform"}
# Read from the command line by the caller; the settings do not hold them.
MAKING = (
    Flag("attach", "list", "attach only to STDIN, STDOUT or STDERR", short="a", value="STREAM"),
    Flag("name", "str", "name of the container", value="NAME"),
    Flag("pull", "str", "pull the image before creating: always, missing or never", default="missing", value="WHEN"),
    Flag("platform", "str", "platform of the image in an index", value="OS/ARCH[/VARIANT]"),
    Flag("cidfile", "str", "write the container's ID to FILE, which must not exist", value="FILE"),
    Flag("quiet", "bool", "suppress the progress of the pull", short="q"),
)
FLAGS = tuple(sorted((
    Flag("domainname", "str", "NIS domain name of the container", value="NAME"),
    Flag("entrypoint", "str", "overwrite the image's entrypoint", value="PROGRAM"),
    Flag("group-add", "list", "add a supplementary group", value="GROUP"),
    Flag("hostname", "str", "host name of the container", short="h", value="NAME"),
    Flag("init", "bool", "run an init that forwards signals and reaps processes"),
    Flag("interactive", "bool", "keep standard input open", short="i"),
    Flag("read-only", "bool", "mount the root filesystem read-only"),
    Flag("rm", "bool", "remove the container and its anonymous volumes when it exits"),
    Flag("runtime", "str", "accepted for compatibility; no other runtime is supported", default="pyruntime",
         value="NAME"),
    Flag("shm-size", "str", "size of /dev/shm", default="64m", value="BYTES"),
    Flag("stop-signal", "str", "signal to stop the container (default: the image's, or TERM)", value="SIGNAL"),
    Flag("stop-timeout", "int", "seconds to wait before the stopped container is killed", default=10),
    Flag("tty", "bool", "allocate a pseudo-terminal", short="t"),
    Flag("user", "str", "user and group to run as", short="u", value="USER[:GROUP]"),
    Flag("workdir", "str", "working directory in the container", short="w", value="DIR"),
    *(flag for flags in SUBJECTS.values() for flag in flags), *MAKING), key=lambda flag: flag.name))
_RUNTIME = "pyruntime"   # a runtime name of containerd's shims is accepted for it, too


# A module is loaded when one of its flags is given: `pocker run IMAGE` starts without them.


def _environment(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.environment import read  # lazy: only with its flags
    return read(settings, given)


def _resources(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.resources import read  # lazy: only with its flags
    return read(settings, given)


def _mounts(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.mounts import read  # lazy: only with its flags
    return read(settings, given)


def _devices(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.devices import read  # lazy: only with its flags
    return read(settings, given)


def _security(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.security import read  # lazy: only with its flags
    return read(settings, given)


def _namespaces(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.namespaces import read  # lazy: only with its flags
    return read(settings, given)


def _compatibility(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.compatibility import check  # lazy: only with its flags
    check(given)
    return settings


def _network(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.network import read  # lazy: only with its flags
    return read(settings, given)


def _restart(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.restart import read  # lazy: only with its flags
    return read(settings, given)


def _log(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.log import read  # lazy: only with its flags
    return read(settings, given)


def _health(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    from pyruntime.pocker.options.health import read  # lazy: only with its flags
    return read(settings, given)


READERS: dict[str, Callable[[ContainerSettings, dict[str, Any]], ContainerSettings]] = {
    "environment": _environment, "resources": _resources, "mounts": _mounts, "devices": _devices,
    "security": _security, "namespaces": _namespaces, "compatibility": _compatibility, "network": _network,
    "restart": _restart, "log": _log, "health": _health}


def settings_of(parsed: Parsed) -> ContainerSettings:
    """The settings that the flags and the words after the image ask for. Raises UsageError."""
    given: dict[str, Any] = {name: parsed[name] for name in parsed.given}
    found: dict[str, Any] = {FIELDS[name]: value for name, value in given.items() if name in FIELDS}
    found["args"] = parsed.arguments[1:]
    if "entrypoint" in given:
        found["entrypoint"] = [given["entrypoint"]] if given["entrypoint"] else []
    if "shm-size" in given:
        from pyruntime.commandline.units import size  # lazy: only with --shm-size

        found["shm_size"] = size("shm-size", given["shm-size"])
    settings = ContainerSettings(**found)
    for old, name in OLD_NAMES.items():
        if old in given:
            given[name] = [*given.get(name, []), *given.pop(old)]
    for subject, flags in SUBJECTS.items():
        if any(flag.name in given for flag in flags):
            settings = READERS[subject](settings, given)
    runtime: str = given.get("runtime", _RUNTIME)
    if runtime != _RUNTIME and not runtime.startswith("io.containerd."):
        raise UsageError(f'--runtime "{runtime}": pocker runs containers only with {_RUNTIME}: omit the flag')
    if settings.stop_signal:
        from pyruntime.system.signals import signal_number  # lazy: only with --stop-signal

        signal_number(settings.stop_signal)   # an unknown signal is refused now: `stop` would be too late
    if settings.hostname or settings.domainname:
        from pyruntime.pocker.options.network import single  # lazy: only with its flags

        single("hostname", settings.hostname)
        single("domainname", settings.domainname)
    return settings
