"""The part of systemd that the runtime uses, on a private bus: python fake_systemd.py ADDRESS BASE LOG [BEHAVIOUR].

Creates the cgroups of scopes below BASE in the hierarchies that systemd would use, moves processes there, and writes
every call to LOG as a line of JSON. BEHAVIOUR: ``failed``: jobs fail; ``mute``: jobs never end; ``leftover``: every
unit exists until it is reset; ``refuse``: properties cannot be changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import Any

from jeepney import DBusAddress, HeaderFields, MessageType, message_bus, new_error, new_method_return, new_signal
from jeepney.io.blocking import DBusConnection

from pyruntime.runtime.cgroups.host import discover
from pyruntime.runtime.cgroups.systemd import expand_slice, managed
from pyruntime.runtime.cgroups.systemd_bus import MANAGER, NAME, OBJECT, _connect

ERRORS = NAME + "."


class Refused(Exception):
    """An error reply: its D-Bus name, and a text."""


class Fake:
    """The manager: units by name, each with its properties."""

    def __init__(self, base: str, behaviour: str) -> None:
        self.base = base
        self.behaviour = behaviour
        self.units: dict[str, dict[str, Any]] = {}
        self.left: set[str] = set()
        self.subscribed: set[str] = set()
        self.jobs = 0
        self.tops = [item.mountpoint for item in discover().all() if managed(item.key)]

    def place(self, unit: str) -> str:
        return self.base + expand_slice(self.units[unit]["Slice"][1]) + "/" + unit

    def call(self, method: str, body: tuple[Any, ...], sender: str) -> tuple[str | None, tuple[Any, ...]]:
        """The signature and the values of the reply."""
        if method == "Get":
            return "v", (("s", {"Version": "252.39-1~deb12u1", "ControlGroup": self.base}[body[1]]),)
        if method in ("StartTransientUnit", "StopUnit"):
            (self.start if method == "StartTransientUnit" else self.stop)(*body[:3])
            self.jobs += 1
            return "o", (f"{OBJECT}/job/{self.jobs}",)
        if method == "ResetFailedUnit":
            self.left.add(body[0])
            if body[0] not in self.units and self.behaviour != "leftover":
                raise Refused("NoSuchUnit", f"Unit {body[0]} not loaded.")
        elif method == "SetUnitProperties":
            if self.behaviour == "refuse":
                raise Refused("InvalidArgs", "Value specified is out of range")
            self.units[body[0]].update(dict(body[2]))
        elif method == "AttachProcessesToUnit":
            self.move(self.place(body[0]) + body[1], body[2])
        elif method == "Subscribe":
            if sender in self.subscribed:
                raise Refused("AlreadySubscribed", "Client is already subscribed.")
            self.subscribed.add(sender)
        else:
            raise Refused("UnknownMethod", f"Unknown method {method}")
        return None, ()

    def start(self, unit: str, _mode: str, properties: list[tuple[str, Any]]) -> None:
        if unit in self.units or (self.behaviour == "leftover" and unit not in self.left):
            raise Refused("UnitExists", f"Unit {unit} was already loaded or has a fragment file.")
        values = dict(properties)
        pids = values["PIDs"][1]
        if not pids:
            raise Refused("BadUnitSetting", "Scope has no PIDs. Refusing.")
        self.units[unit] = values
        self.move(self.place(unit), pids)

    def move(self, place: str, pids: list[int]) -> None:
        for top in self.tops:
            os.makedirs(top + place, exist_ok=True)
            for pid in pids:
                with open(f"{top}{place}/cgroup.procs", "w", encoding="ascii") as file:
                    file.write(str(pid))

    def stop(self, unit: str, _mode: str, _nothing: Any = None) -> None:
        if unit not in self.units:
            raise Refused("NoSuchUnit", f"Unit {unit} not loaded.")
        for top in self.tops:
            path = self.place(unit)
            empty(top + path)
            while len(path) >= len(self.base):
                try:
                    os.rmdir(top + path)
                except OSError:
                    break
                path = os.path.dirname(path)
        del self.units[unit]


def empty(path: str) -> None:
    """Kill the processes in a cgroup."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with open(path + "/cgroup.procs", encoding="ascii") as file:
            pids = [int(line) for line in file]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def main() -> None:
    """Serve until the bus disconnects."""
    address, base, log = sys.argv[1:4]
    fake = Fake(base, sys.argv[4] if len(sys.argv) > 4 else "")
    bus = DBusConnection(_connect(address))
    bus.send_and_get_reply(message_bus.RequestName(NAME))
    with open(log, "a", encoding="utf-8") as calls:
        while True:
            message = bus.receive()
            if message.header.message_type is not MessageType.method_call:
                continue
            method = message.header.fields[HeaderFields.member]
            calls.write(json.dumps([method, message.body], default=list) + "\n")
            calls.flush()
            try:
                signature, values = fake.call(method, message.body, message.header.fields[HeaderFields.sender])
            except Refused as error:
                bus.send(new_error(message, ERRORS + error.args[0], "s", (error.args[1],)))
                continue
            bus.send(new_method_return(message, signature, values))
            if signature == "o" and fake.behaviour != "mute":
                result = "failed" if fake.behaviour == "failed" else "done"
                emitter = DBusAddress(OBJECT, interface=MANAGER)
                # First a job of another client.
                for number, path in ((0, f"{OBJECT}/job/0"), (fake.jobs, values[0])):
                    bus.send(new_signal(emitter, "JobRemoved", "uoss", (number, path, message.body[0], result)))


if __name__ == "__main__":
    try:
        main()
    except (ConnectionError, KeyboardInterrupt):
        sys.exit(0)
