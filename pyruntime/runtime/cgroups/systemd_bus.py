"""The D-Bus interface of systemd: org.freedesktop.systemd1 on the system bus or the user bus.

Source: org.freedesktop.systemd1(5). jeepney (blocking, no event loop) is imported only here, so only containers with
systemd cgroups pay for it.

Every function opens its own connection, so that threads need not share one. Raises HostError if systemd cannot be
reached, SystemdError for its error replies.
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import HostError, SystemdError
from pyruntime.runtime.cgroups import gvariant
from pyruntime.runtime.cgroups.systemd import Systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from typing import Any

NAME, OBJECT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER, SCOPE = NAME + ".Manager", NAME + ".Scope"
PATIENCE = 30.0   # seconds for a job; systemd's own limits for starting and stopping a unit are 90
ANSWER = 25.0     # seconds for a reply, the usual timeout of D-Bus libraries
RESULTS = {"canceled": "another job replaced it", "timeout": "it took too long", "failed": "see `systemctl status`",
           "dependency": "a unit that it needs failed", "skipped": "it does not apply to the unit's state"}


class Bus:
    """A connection to one systemd, to be used in a ``with`` statement."""

    def __init__(self, *, user: bool) -> None:
        self.user = user
        address, told = address_of(user=user)
        try:
            # lazy: only the systemd driver needs jeepney (30 ms), and reports if it is missing
            from jeepney import DBusAddress
            from jeepney.io.blocking import DBusConnection
        except ImportError:
            raise HostError("the systemd cgroup driver needs the Python package jeepney: pip install jeepney") from None
        try:
            sock = _connect(address)
        except OSError as error:
            raise HostError(f'the systemd cgroup driver needs {"a user" if user else "the system"} bus, but none'
                            f' answers at "{told}": {error.strerror or error}; use the cgroupfs driver'
                            " (without --systemd-cgroup) if systemd is not running") from None
        self._connection: Any = DBusConnection(sock)
        self._address = DBusAddress
        self._subscribed = False

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *failure: object) -> None:
        self._connection.close()

    def call(self, method: str, signature: str = "", *body: Any, path: str = OBJECT, interface: str = MANAGER,
             name: str = NAME) -> tuple[Any, ...]:
        """Call a method; return the values of its reply. Raises SystemdError."""
        from jeepney import DBusErrorResponse, new_method_call  # lazy: as in __init__
        from jeepney.wrappers import unwrap_msg

        message = new_method_call(self._address(path, bus_name=name, interface=interface), method, signature or None,
                                  body)
        try:
            answer: tuple[Any, ...] = unwrap_msg(self._connection.send_and_get_reply(message, timeout=ANSWER))
        except DBusErrorResponse as error:
            text = str(error.data[0]) if error.data else ""
            raise SystemdError(method, str(error.name), text) from None
        except TimeoutError:
            raise SystemdError(method, "Timeout", f"no reply within {ANSWER:g} s") from None
        except OSError as error:
            raise SystemdError(method, "Disconnected", f"the bus disconnected: {error.strerror or error}") from None
        return answer

    def manager_property(self, name: str) -> Any:
        """A property of the manager."""
        answer = self.call("Get", "ss", MANAGER, name, interface="org.freedesktop.DBus.Properties")
        return answer[0][1]

    def job(self, what: str, method: str, signature: str, *body: Any) -> None:
        """Call a method that creates a job, and wait for the job. Raises SystemdError unless it succeeds."""
        from collections import deque  # lazy: as in __init__

        from jeepney import MatchRule, message_bus

        rule = MatchRule(type="signal", sender=NAME, interface=MANAGER, member="JobRemoved", path=OBJECT)
        # The connection identifies senders only by their unique names.
        seen = MatchRule(type="signal", interface=MANAGER, member="JobRemoved", path=OBJECT)
        # Before the call: a job may finish before the reply is read.
        removed: deque[Any] = deque()
        with self._connection.filter(seen, queue=removed):
            if not self._subscribed:   # subscribing twice is an error
                self._connection.send_and_get_reply(message_bus.AddMatch(rule), timeout=ANSWER)
                self.call("Subscribe")
                self._subscribed = True
            job = self.call(method, signature, *body)[0]
            self._await(what, job, removed)

    def _await(self, what: str, job: str, removed: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                message = self._connection.recv_until_filtered(removed, timeout=max(deadline - time.monotonic(), 0.0))
            except TimeoutError:
                raise SystemdError(what, "Job", f"its job did not end within {PATIENCE:g} s") from None
            except OSError as error:
                raise SystemdError(what, "Disconnected", f"the bus disconnected: {error.strerror or error}") from None
            _number, path, _unit, result = message.body
            if path == job:
                if result != "done":
                    raise SystemdError(what, "Job", f'its job ended as "{result}": {RESULTS.get(result, "unknown")}')
                return


def address_of(*, user: bool) -> tuple[str, str]:
    """The socket of the bus, and its name for messages. For a user's bus: DBUS_SESSION_BUS_ADDRESS, else the path below
    XDG_RUNTIME_DIR that pam_systemd(8) sets up."""
    if user:
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{_owner()}"
        given = os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"
    else:
        given = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"
    for address in given.split(";"):
        transport, _, rest = address.partition(":")
        values = dict(item.partition("=")[::2] for item in rest.split(","))
        if transport == "unix" and "path" in values:
            return _unescape(values["path"]), given
        if transport == "unix" and "abstract" in values:
            return "\0" + _unescape(values["abstract"]), given
    raise HostError(f'the bus address "{given}" is not that of a local socket: write unix:path=/run/dbus/...')


def _unescape(text: str) -> str:
    # %20 of the D-Bus specification, "server addresses". urllib.parse would cost more than the connection.
    head, *rest = text.split("%")
    try:
        return head + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)
    except ValueError:
        raise HostError(f'the bus address "{text}" has a % without two hexadecimal digits') from None


def _owner() -> int:
    """The user ID on the host: in a user namespace this process may be root, but the bus belongs to the user
    outside."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        for line in file:
            inside, outside, count = map(int, line.split())
            if inside <= os.geteuid() < inside + count:
                return outside + os.geteuid() - inside
    return os.geteuid()


def _connect(address: str) -> socket.socket:
    """A connected and authenticated socket.

    EXTERNAL without a name: the bus asks the kernel for the user. jeepney's own authentication would send the user ID
    of the user namespace (0 with rootless Podman), which differs from that on the bus, and be rejected.
    """
    import socket  # lazy: only for a bus (5 ms)

    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(5)
        sock.connect(address)
        sock.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n")
        said = b""
        while b"OK" not in said:
            part = sock.recv(512)
            if not part or b"REJECTED" in said + part or b"ERROR" in said + part:
                raise OSError("the bus rejected the authentication (AUTH EXTERNAL)")
            said += part
        while not said.endswith(b"\r\n"):
            part = sock.recv(512)
            if not part:
                raise OSError("the bus disconnected")
            said += part
        sock.sendall(b"BEGIN\r\n")
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


# --- requests of the driver ------------------------------------------------------------------------------------------

def ask(*, user: bool) -> Systemd:
    """The facts about systemd for the plan. Raises HostError if systemd does not run."""
    try:
        with Bus(user=user) as bus:
            version = str(bus.manager_property("Version"))   # "252.39-1~deb12u1", "v255-rc1"
            digits = version.lstrip("v")
            number = next((digits[:end] for end in range(len(digits), 0, -1) if digits[:end].isdecimal()), "0")
            return Systemd(int(number), str(bus.manager_property("ControlGroup")) or "/", user=user)
    except SystemdError as error:
        raise HostError(f"the systemd cgroup driver needs systemd{' --user' if user else ''}, but it does not reply on"
                        f" its bus: {error.args[0]}") from None


def start_scope(unit: str, properties: Sequence[str], pids: Sequence[int], *, user: bool) -> None:
    """Create a scope with processes; return when systemd has finished.

    A failed scope of that name is removed first. Raises SystemdError if the scope is active.
    """
    values = [(name, gvariant.parse(text)) for name, _, text in (item.partition("=") for item in properties)]
    body: tuple[Any, ...] = (unit, "fail", [*values, ("PIDs", ("au", list(pids)))], [])
    with Bus(user=user) as bus:
        try:
            _start(bus, unit, body)
        except SystemdError as error:
            if error.name != "UnitExists":
                raise
            _reset(bus, unit)
            _start(bus, unit, body)


def _start(bus: Bus, unit: str, body: tuple[Any, ...]) -> None:
    try:
        bus.job(f'start "{unit}"', "StartTransientUnit", "ssa(sv)a(sa(sv))", *body)
    except SystemdError as error:
        if error.name == "Job":   # the unit was created by this call; without a job it may be another's
            try:
                bus.call("StopUnit", "ss", unit, "replace")
                _reset(bus, unit)
            except SystemdError as second:
                if second.name != "NoSuchUnit":
                    error.notes.append(str(second))
        raise


def _reset(bus: Bus, unit: str) -> None:
    try:
        bus.call("ResetFailedUnit", "s", unit)
    except SystemdError as error:
        if error.name != "NoSuchUnit":
            raise


def stop_unit(unit: str, *, user: bool) -> None:
    """Stop a unit and reset its failed state; a missing unit is not an error."""
    with Bus(user=user) as bus:
        try:
            bus.job(f'stop "{unit}"', "StopUnit", "ss", unit, "replace")
        except SystemdError as error:
            if error.name != "NoSuchUnit":
                raise
        _reset(bus, unit)


def set_properties(unit: str, properties: dict[str, str], *, user: bool) -> None:
    """Change properties of a unit until the host is shut down or the unit stops."""
    with Bus(user=user) as bus:
        bus.call("SetUnitProperties", "sba(sv)", unit, True,
                 [(name, gvariant.parse(text)) for name, text in properties.items()])


def attach(unit: str, below: str, pid: int, *, user: bool) -> None:
    """Let systemd move a process into the unit's cgroup, or into the cgroup ``below`` it: a user cannot move a process
    out of the login session, but systemd can."""
    with Bus(user=user) as bus:
        bus.call("AttachProcessesToUnit", "ssau", unit, below, [pid])
