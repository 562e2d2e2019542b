"""The settings of a container, as typed values: what ``Engine.create`` takes, and what a container's record keeps.

Every start makes the same container from them. Values that the image decides stay empty here;
pyruntime.pocker.containers.runtime_config puts both together. Units are bytes, seconds and microseconds, as each field
says.

``document`` of a value is its form in container.json, and ``of`` reads that form. The record is older than these
classes: fields that belong together here (a restart policy and its limit) stand there one by one.
"""

from __future__ import annotations

from pyruntime.system.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Self

CPU_PERIOD = 100_000   # microseconds: the kernel's own cpu.cfs_period_us
_NONE: Mapping[str, str] = {}
_NO_LISTS: Mapping[str, Sequence[str]] = {}


class MountPoint(Value):
    """A bind mount, a volume or a tmpfs.

    ``kind``       bind, volume or tmpfs
    ``target``     the absolute path in the container
    ``source``     the host's absolute path, or the volume's name ("": a new anonymous volume); nothing for a tmpfs
    ``options``    mount options: propagation of a bind mount, parameters of a tmpfs
    ``nocopy``     do not copy the image's files at the target into an empty volume
    ``subpath``    the part of the volume to mount
    ``anonymous``  the volume was made for this container, and is removed with it
    ``borrowed``   another container's anonymous volume: it is removed with the last container that uses it
    ``create``     make the source of a bind mount if it does not exist
    ``driver``, ``driver_options``, ``labels``   of a volume that has to be made
    """

    kind: str
    target: str
    source: str = ""
    read_only: bool = False
    options: Sequence[str] = ()
    nocopy: bool = False
    subpath: str = ""
    anonymous: bool = False
    borrowed: bool = False
    create: bool = False
    driver: str = ""
    driver_options: Mapping[str, str] = _NONE
    labels: Mapping[str, str] = _NONE

    @property
    def unnamed(self) -> bool:
        """Whether the user has not named the volume."""
        return self.anonymous or self.borrowed

    def document(self) -> dict[str, Any]:
        """The form in the record."""
        found = {name: _plain(value) for name, value in self.changed().items()}
        return found if self.kind == "tmpfs" else {**found, "source": self.source}


class VolumesFrom(Value):
    """The volumes and bind mounts of another container."""

    container: str
    read_only: bool = False

    def document(self) -> str:
        """The form in the record: ``CONTAINER[:ro]``."""
        return f"{self.container}:ro" if self.read_only else self.container

    @classmethod
    def of(cls, text: str) -> Self:
        """Read the form in the record."""
        name, _, mode = text.partition(":")
        return cls(container=name, read_only=mode == "ro")


class DeviceRequest(Value):
    """A device of the host, or a directory of devices; or with ``cdi`` a device of the Container Device Interface.

    ``path``    on the host
    ``target``  in the container ("": the same path)
    ``access``  letters of "rwm": read, write, make nodes
    ``cdi``     VENDOR/CLASS=NAME, instead of the others
    """

    path: str = ""
    target: str = ""
    access: str = "rwm"
    cdi: str = ""

    def document(self) -> str:
        """The form in the record: ``PATH[:TARGET][:ACCESS]``, or the CDI name."""
        return self.cdi or ":".join([self.path, *([self.target] if self.target else []),
                                     *([self.access] if self.access != "rwm" else [])])

    @classmethod
    def of(cls, text: str) -> Self:
        """Read the form in the record."""
        if not text.startswith("/"):
            return cls(cdi=text)
        path, *parts = text.split(":")
        access = parts.pop() if parts and not parts[-1].startswith("/") else "rwm"
        return cls(path=path, target=parts[0] if parts else "", access=access)


class SecurityOption(Value):
    """One change to the usual confinement; each change applies to the result of earlier ones.

    ``name``   seccomp, apparmor, label, no-new-privileges, systempaths, mask, unmask or writable-cgroups
    ``value``  "unconfined", the name of a profile, paths with colons between them, "true" or "false"
    """

    name: str
    value: str = ""

    def document(self) -> str:
        """The form in the record: ``NAME[=VALUE]``."""
        return f"{self.name}={self.value}" if self.value else self.name

    @classmethod
    def of(cls, text: str) -> Self:
        """Read the form in the record; Docker's old form has a colon."""
        name, sign, value = text.partition("=")
        if not sign:
            name, _, value = text.partition(":")
        return cls(name=name, value=value)


class IdMaps(Value):
    """The IDs of a user namespace: lines of uid_map and gid_map, "INSIDE OUTSIDE COUNT" (user_namespaces(7))."""

    uids: Sequence[str]
    gids: Sequence[str]


class DeviceWeight(Value):
    """The block I/O weight of one device (10 to 1000)."""

    major: int
    minor: int
    weight: int


class DeviceRate(Value):
    """The limit of one device, in bytes or operations per second."""

    major: int
    minor: int
    rate: int


class Resources(Value):
    """Resource limits; None is no limit.

    ``memory``, ``memory_reservation``   bytes
    ``memory_swap``   bytes of memory and swap together, -1: unlimited
    ``cpus``          number of CPUs, instead of ``cpu_quota`` and ``cpu_period``
    ``cpu_quota``     microseconds of CPU time in each ``cpu_period`` (microseconds); -1: unlimited
    ``cpuset_cpus``, ``cpuset_mems``   lists such as "0-2,4"
    ``pids_limit``    -1: unlimited
    ``device_*``      bytes or operations per second
    """

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    cpus: float | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_shares: int | None = None
    cpu_realtime_runtime: int | None = None
    cpu_realtime_period: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_limit: int | None = None
    blkio_weight: int | None = None
    blkio_weight_devices: Sequence[DeviceWeight] = ()
    device_read_bps: Sequence[DeviceRate] = ()
    device_write_bps: Sequence[DeviceRate] = ()
    device_read_iops: Sequence[DeviceRate] = ()
    device_write_iops: Sequence[DeviceRate] = ()

    def merged(self, change: Resources) -> Resources:
        """These limits with those of ``change`` that are set."""
        values = change.changed()
        if "cpus" in values:
            values |= {"cpu_period": None, "cpu_quota": None}
        elif "cpu_period" in values or "cpu_quota" in values:
            values["cpus"] = None
        return self.replace(**values)

    def document(self) -> dict[str, dict[str, Any]]:
        """``linux.resources`` of the runtime's configuration, which is the form in the record, too."""
        result: dict[str, dict[str, Any]] = {}
        if self.cpus is not None:
            result["cpu"] = {"period": CPU_PERIOD, "quota": round(self.cpus * CPU_PERIOD)}
        for field, (section, member) in _RESOURCES.items():
            value = getattr(self, field)
            if value is not None and value != ():
                plain = [one.changed() for one in value] if isinstance(value, tuple) else value
                result.setdefault(section, {})[member] = plain
        return result

    @classmethod
    def of(cls, document: Mapping[str, Mapping[str, Any]]) -> Self:
        """Read ``linux.resources``."""
        found: dict[str, Any] = {}
        for field, (section, member) in _RESOURCES.items():
            if member in document.get(section, {}):
                value = document[section][member]
                kind = DeviceWeight if field == "blkio_weight_devices" else DeviceRate
                found[field] = tuple(kind(**one) for one in value) if isinstance(value, list) else value
        return cls(**found)


# Field -> section and member of linux.resources.
_RESOURCES = {
    "memory": ("memory", "limit"), "memory_swap": ("memory", "swap"), "memory_reservation": ("memory", "reservation"),
    "memory_swappiness": ("memory", "swappiness"), "oom_kill_disable": ("memory", "disableOOMKiller"),
    "cpu_period": ("cpu", "period"), "cpu_quota": ("cpu", "quota"), "cpu_shares": ("cpu", "shares"),
    "cpu_realtime_runtime": ("cpu", "realtimeRuntime"), "cpu_realtime_period": ("cpu", "realtimePeriod"),
    "cpuset_cpus": ("cpu", "cpus"), "cpuset_mems": ("cpu", "mems"), "pids_limit": ("pids", "limit"),
    "blkio_weight": ("blockIO", "weight"), "blkio_weight_devices": ("blockIO", "weightDevice"),
    "device_read_bps": ("blockIO", "throttleReadBpsDevice"),
    "device_write_bps": ("blockIO", "throttleWriteBpsDevice"),
    "device_read_iops": ("blockIO", "throttleReadIOPSDevice"),
    "device_write_iops": ("blockIO", "throttleWriteIOPSDevice"),
}


class Ulimit(Value):
    """A resource limit of each process (getrlimit(2)). ``type``: RLIMIT_NOFILE, ..."""

    type: str
    soft: int
    hard: int


class NetworkAttachment(Value):
    """A network to connect to. ``none``, ``host`` and ``container:ID`` exclude other networks.

    ``ip``, ``ip6``, ``mac``   addresses; "": any
    ``aliases``   further names of the container in this network
    ``left``      the container has left its last network, and may join others
    """

    name: str
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    aliases: Sequence[str] = ()
    left: bool = False

    def document(self) -> dict[str, Any]:
        """The form in the record, which pyruntime.networks takes, too."""
        return {"name": self.name, "ip": self.ip, "ip6": self.ip6, "mac": self.mac, "aliases": list(self.aliases),
                **({"left": True} if self.left else {})}


class PublishedPort(Value):
    """A container port on a port of the host.

    ``container_port``   the port in the container
    ``host_port``        the first port of the host that may be taken; 0: any free port
    ``last_host_port``   the last one; 0: only the first one
    ``address``          the host's address; "": all
    ``protocol``         tcp, udp or sctp
    """

    container_port: int
    host_port: int = 0
    last_host_port: int = 0
    address: str = ""
    protocol: str = "tcp"

    def document(self) -> dict[str, Any]:
        """The form in the record, which pyruntime.networks takes, too."""
        return {"host": self.address, "port": self.host_port, "last": self.last_host_port or self.host_port,
                "to": self.container_port, "protocol": self.protocol}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read the form in the record."""
        first, last = document["port"], document.get("last") or 0
        return cls(container_port=document["to"], host_port=first, last_host_port=last if last != first else 0,
                   address=document["host"], protocol=document["protocol"])


class RestartPolicy(Value):
    """When a container is started again. ``name``: no, always, on-failure or unless-stopped; ``limit``: the
    maximum number of restarts of on-failure (0: no limit)."""

    name: str = "no"
    limit: int = 0


class LogSettings(Value):
    """The log of a container's output.

    ``driver``     file or none
    ``max_size``   bytes before the log is rotated; 0: never
    ``max_files``  how many files are kept
    ``details``    names of "labels" and of "env" that `logs --details` shows
    """

    driver: str = "file"
    max_size: int = 0
    max_files: int = 1
    details: Mapping[str, Sequence[str]] = _NO_LISTS


class HealthCheck(Value):
    """A command that says by its exit status whether the container is healthy; times are seconds, and 0 where the
    image's value or Docker's default counts.

    ``test``   ["CMD", ...], ["CMD-SHELL", line] or ["NONE"]; nothing: the image's
    """

    test: Sequence[str] = ()
    interval: float = 0.0
    timeout: float = 0.0
    start_period: float = 0.0
    start_interval: float = 0.0
    retries: int = 0

    def document(self) -> dict[str, Any]:
        """The form in the record: all fields, or an empty object if no field is set."""
        return {name: _plain(getattr(self, name)) for name in self.fields()} if self.changed() else {}


class ContainerSettings(Value):
    """The settings of one container."""

    # The process.
    args: Sequence[str] = ()                    # instead of the image's Cmd
    entrypoint: Sequence[str] | None = None     # instead of the image's Entrypoint, whose Cmd is dropped then
    env: Sequence[str] = ()                     # NAME=VALUE; the last one of a name counts
    user: str = ""                              # USER[:GROUP], names or numbers; "": the image's
    workdir: str = ""
    hostname: str = ""                          # "": the short ID
    domainname: str = ""
    terminal: bool = False
    stdin: bool = False                         # standard input is kept open
    stop_signal: str = ""                       # "": the image's, or SIGTERM
    stop_timeout: int = 10                      # seconds
    init: bool = False                          # run an init that forwards signals and reaps processes
    labels: Mapping[str, str] = _NONE           # without the image's
    annotations: Mapping[str, str] = _NONE
    # Privileges.
    cap_add: Sequence[str] = ()                 # CAP_NAME, or ALL
    cap_drop: Sequence[str] = ()
    privileged: bool = False
    security: Sequence[SecurityOption] = ()
    seccomp: Mapping[str, Any] | None = None    # the profile of a seccomp option that names a file
    read_only: bool = False                     # the root filesystem
    # Namespaces: "", host, private, container:ID; ipc also shareable and none.
    userns: str = ""                            # "", host, auto, or a user with ranges in /etc/subuid
    ids: IdMaps | None = None                   # of a user namespace; chosen when the container is created
    ipc: str = ""
    pid: str = ""
    uts: str = ""
    cgroupns: str = ""
    group_add: Sequence[str] = ()               # names or numbers
    # Files.
    mounts: Sequence[MountPoint] = ()
    volumes_from: Sequence[VolumesFrom] = ()
    devices: Sequence[DeviceRequest] = ()
    device_rules: Sequence[str] = ()            # as the cgroup has them: "c 1:3 rwm"
    shm_size: int = 64 << 20                    # bytes
    # Limits.
    resources: Resources = Resources()
    ulimits: Sequence[Ulimit] = ()
    oom_score: int | None = None                # -1000 to 1000
    cgroup_parent: str = ""
    sysctls: Mapping[str, str] = _NONE
    # The network.
    networks: Sequence[NetworkAttachment] = ()  # nothing: the network "bridge"
    publish: Sequence[PublishedPort] = ()
    publish_all: bool = False                   # publish all exposed ports on free ports of the host
    expose: Sequence[str] = ()                  # "80/tcp"
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    dns_options: Sequence[str] = ()
    hosts: Sequence[str] = ()                   # NAME:ADDRESS, where ADDRESS may be host-gateway
    links: Mapping[str, str] = _NONE            # alias that only this container can resolve -> container
    # Its life.
    restart: RestartPolicy = RestartPolicy()
    remove: bool = False                        # when it has ended, with its anonymous volumes
    logging: LogSettings = LogSettings()
    health: HealthCheck = HealthCheck()
    platform: str = ""                          # OS/ARCH[/VARIANT] of the image in an index

    def document(self) -> dict[str, Any]:
        """The form in container.json, and of ``Settings`` in the document of `inspect`."""
        found: dict[str, Any] = {}
        for name in self.fields():
            value = getattr(self, name)
            if name in _FLAT:
                found |= {stored: getattr(value, field) for field, stored in _FLAT[name].items()}
            elif name == "ids":
                found["ids"] = {kind: list(lines) for kind, lines in value.changed().items()} if value else {}
            else:
                found[_STORED.get(name, name)] = _plain(value)
        return found

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read the form in container.json."""
        found: dict[str, Any] = {name: document[name] for name in cls.fields() if name in document}
        for name, members in _FLAT.items():
            kind = type(getattr(cls, name))
            found[name] = kind(**{field: document[stored] for field, stored in members.items() if stored in document})
        found["resources"] = Resources.of(document.get("limits") or {})
        found["health"] = HealthCheck(**document.get("health") or {})
        found["ids"] = IdMaps(**document["ids"]) if document.get("ids") else None
        for name, (stored, read) in _LISTS.items():
            found[name] = tuple(read(one) for one in document.get(stored) or [])
        return cls(**found)


# Field -> the members of its value that have separate names in the record.
_FLAT = {"restart": {"name": "restart", "limit": "restart_limit"},
         "logging": {"driver": "log_driver", "max_size": "log_size", "max_files": "log_files",
                     "details": "log_details"}}
_STORED = {"resources": "limits", "publish": "ports"}
# Field that is a list of values -> its name in the record, and the function that reads an item.
_LISTS: Mapping[str, tuple[str, Any]] = {
    "security": ("security", SecurityOption.of), "mounts": ("mounts", lambda one: MountPoint(**one)),
    "volumes_from": ("volumes_from", VolumesFrom.of), "devices": ("devices", DeviceRequest.of),
    "ulimits": ("ulimits", lambda one: Ulimit(**one)), "networks": ("networks", lambda one: NetworkAttachment(**one)),
    "publish": ("ports", PublishedPort.of)}


def _plain(value: Any) -> Any:
    """A value as the record has it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Value):
        return value.document() if hasattr(value, "document") else value.changed()
    return value
