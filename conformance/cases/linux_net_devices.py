"""config-linux.md#network-devices: moving interfaces of the host into the container.

The host's interfaces are created for the case in a separate network namespace, in which the runtime runs: a
name cannot clash with another interface, and no interface of the real host is moved.
"""

from __future__ import annotations

import subprocess

from conformance import kernel
from conformance.lib.bundle import Config, add_namespace
from conformance.lib.container import Container
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

SECTION = "config-linux.md#network-devices"
CLONE_NEWNET = 0x40000000
_VERSION = "1.3.0"


def _ip(t: Trial, *words: str) -> str:
    done = subprocess.run([t.need_tool("ip"), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _host_devices(t: Trial, *names: str) -> None:
    """A network namespace with these interfaces (dummy, or one end of a veth pair without a dummy driver)."""
    t.need_tool("ip")
    kernel.unshare(CLONE_NEWNET)
    for name in names:
        for words in (("type", "dummy"), ("type", "veth", "peer", "name", f"p-{name}")):
            try:
                _ip(t, "link", "add", name, *words)
                break
            except RuntimeError:
                continue
        else:
            t.skip("the kernel supports neither dummy nor veth interfaces")


def _moving(t: Trial, script: str, **devices: str) -> Config:
    config = t.config(script) | {"ociVersion": _VERSION}
    config["linux"]["netDevices"] = {name: ({"name": new} if new else {}) for name, new in devices.items()}
    return config


LIST = "ip -o link | cut -d: -f2 | cut -d@ -f1 | tr -d ' '"


@requirement(SECTION, "a listed interface is in the container, and no longer on the host")
def moved(t: Trial) -> None:
    _host_devices(t, "conf0")
    container = t.run(_moving(t, LIST, conf0=""))
    t.check("conf0" in container.stdout.split(), f"interfaces in the container: {container.stdout.split()}")


@requirement(SECTION, "the interface is not on the host while the container is running")
def gone_from_host(t: Trial) -> None:
    _host_devices(t, "conf0")
    t.start(_moving(t, "exec sleep 1000", conf0=""))
    t.check(" conf0" not in _ip(t, "-o", "link"), "the interface is still on the host")


@requirement(SECTION, "name is the interface's name in the container")
def renamed(t: Trial) -> None:
    _host_devices(t, "conf0")
    names = t.output(_moving(t, LIST, conf0="inside0")).split()
    t.check("inside0" in names and "conf0" not in names, f"interfaces in the container: {names}")


@requirement(SECTION, "several interfaces are moved")
def several(t: Trial) -> None:
    _host_devices(t, "conf0", "conf1")
    names = t.output(_moving(t, LIST, conf0="", conf1="second")).split()
    t.check({"conf0", "second"} <= set(names), f"interfaces in the container: {names}")


@requirement(SECTION, "a name with %d is a template: the kernel chooses a free number")
def template(t: Trial) -> None:
    _host_devices(t, "conf0")
    names = t.output(_moving(t, LIST, conf0="many%d")).split()
    t.check("many0" in names, f"interfaces in the container: {names}")


@requirement(SECTION, "a name that is in use in the container generates an error")
def name_taken(t: Trial) -> None:
    _host_devices(t, "conf0", "conf1")
    owner = t.start(_moving(t, "exec sleep 1000", conf0="taken"))
    config = _moving(t, "exec sleep 1000", conf1="taken")
    add_namespace(config, "network", f"/proc/{owner.pid}/ns/net")
    t.refused(config, "a name that is in use in the joined network namespace")


@requirement(SECTION, "a refused move leaves the interface on the host")
def refusal_keeps_interface(t: Trial) -> None:
    _host_devices(t, "conf0", "conf1")
    owner = t.start(_moving(t, "exec sleep 1000", conf0="taken"))
    config = _moving(t, "exec sleep 1000", conf1="taken")
    add_namespace(config, "network", f"/proc/{owner.pid}/ns/net")
    t.fail(t.container(config).create(), "create")
    t.check(" conf1" in _ip(t, "-o", "link"), "the interface has left the host")


@requirement(SECTION, "an interface that does not exist generates an error")
def missing(t: Trial) -> None:
    _host_devices(t)
    t.refused(_moving(t, "exec sleep 1000", nothere0=""), "an interface that does not exist")


def _invalid_name(label: str, name: str) -> None:
    @requirement(
        SECTION, f"the name {name!r}, which no interface can have, generates an error", name=f"bad_name_{label}"
    )
    def case(t: Trial) -> None:
        _host_devices(t, "conf0")
        t.refused(_moving(t, "exec sleep 1000", conf0=name), f"the interface name {name!r}")


_invalid_name("slash", "a/b")
_invalid_name("long", "sixteen-letters-")
_invalid_name("dots", "..")


@requirement(SECTION, "without a new network namespace the move generates an error")
def without_namespace(t: Trial) -> None:
    _host_devices(t, "conf0")
    config = _moving(t, "exec sleep 1000", conf0="")
    namespaces = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [entry for entry in namespaces if entry["type"] != "network"]
    config["mounts"] = [entry for entry in config["mounts"] if entry["destination"] != "/sys"]
    t.refused(config, "netDevices without a network namespace")


@requirement(SECTION, "permanent global addresses are kept, IPv4 and IPv6")
def addresses(t: Trial) -> None:
    _host_devices(t, "conf0")
    for address in ("192.0.2.1/24", "2001:db8::1/64"):
        _ip(t, "address", "add", address, "dev", "conf0")
    seen = t.output(_moving(t, "ip -o address show dev conf0", conf0=""))
    for address in ("192.0.2.1/24", "2001:db8::1/64"):
        t.check(address in seen, f"{address} is not among the addresses: {seen}")


@requirement(SECTION, "addresses are kept when the interface gets another name")
def addresses_renamed(t: Trial) -> None:
    _host_devices(t, "conf0")
    _ip(t, "address", "add", "192.0.2.1/24", "dev", "conf0")
    seen = t.output(_moving(t, "ip -o address show dev new0", conf0="new0"))
    t.check("192.0.2.1/24" in seen, f"the address is missing: {seen}")


@requirement(SECTION, "attributes are kept: MTU and hardware address")
def attributes(t: Trial) -> None:
    _host_devices(t, "conf0")
    _ip(t, "link", "set", "conf0", "mtu", "1234", "address", "02:00:00:00:12:34")
    seen = t.output(_moving(t, "ip link show conf0", conf0=""))
    t.check("mtu 1234" in seen and "02:00:00:00:12:34" in seen, f"the interface in the container: {seen}")


def _up(before: str) -> None:
    @requirement(
        SECTION, f"the interface is up in the container if it was {before} on the host", name=f"up_when_{before}"
    )
    def case(t: Trial) -> None:
        _host_devices(t, "conf0")
        _ip(t, "link", "set", "conf0", before)
        seen = t.output(_moving(t, "ip link show conf0 | head -n 1", conf0=""))
        flags = seen.partition("<")[2].partition(">")[0].split(",")
        t.check("UP" in flags, f"flags in the container: {flags}")


_up("down")
_up("up")


@requirement(SECTION, "delete does not move the interface back", level="MUST NOT")
def not_moved_back(t: Trial) -> None:
    _host_devices(t, "conf0")
    owner = t.start(t.config("exec sleep 1000"))
    config = _moving(t, "true", conf0="")
    add_namespace(config, "network", f"/proc/{owner.pid}/ns/net")
    guest: Container = t.run(config)
    t.succeed(guest.delete(), "delete")
    t.check(" conf0" not in _ip(t, "-o", "link"), "the interface is back on the host")
