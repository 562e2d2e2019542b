"""Flags to settings: networks, DNS, names of hosts; ports.py has the published ports."""

from __future__ import annotations

from pyruntime.commandline.units import wrong
from pyruntime.errors import UsageError
from pyruntime.pocker.options.addresses import address, mac
from pyruntime.pocker.options.ports import exposed, ports
from pyruntime.pocker.settings import NetworkAttachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

_OWN = ("ip", "ip6", "mac-address", "network-alias")   # flags about the first network


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with those of the flags. Raises UsageError."""
    networks = [network(text) for text in given.get("network", [])]
    alone = next((one.name for one in networks if shared(one.name)), "")
    if alone and len(networks) > 1:
        raise UsageError(f'--network "{alone}" cannot be combined with other networks: omit those')
    if own := next((flag for flag in _OWN if given.get(flag)), ""):
        if alone:
            raise UsageError(f'--{own} needs a network of pocker, which --network "{alone}" is not')
        networks = _addressed(networks, given)
    if given.get("link") and alone:
        raise UsageError(f'--link needs a network of pocker, which --network "{alone}" is not')
    if alone.startswith("container:"):
        for flag in ("hostname", "publish", "publish-all", "expose", "dns", "dns-search", "dns-option", "add-host"):
            if given.get(flag):
                raise UsageError(f'--{flag} and --network "{alone}" do not go together: the container uses the'
                                 " settings of that container")
    return settings.replace(
        networks=networks,
        publish=[port for text in given.get("publish", []) for port in ports(text)],
        publish_all=given.get("publish-all", False),
        expose=list(dict.fromkeys(port for text in given.get("expose", []) for port in exposed(text))),
        dns=[address("dns", text) for text in given.get("dns", [])],
        dns_search=[single("dns-search", text) for text in given.get("dns-search", [])],
        dns_options=[single("dns-option", text) for text in given.get("dns-option", [])],
        hosts=[host(text) for text in given.get("add-host", [])],
        links=dict(link(text) for text in given.get("link", [])))


def single(flag: str, text: str) -> str:
    """The text itself, for a line of hosts or resolv.conf. Raises UsageError if the file's readers would see several
    words or lines."""
    if not text.isprintable() or " " in text or "#" in text:
        raise wrong(flag, text, "a name must not contain spaces, control characters or #")
    return text


def link(text: str) -> tuple[str, str]:
    """The other name and the container of ``CONTAINER[:NAME]``. Raises UsageError."""
    name, colon, alias = text.partition(":")
    if not name or (colon and not alias):
        raise wrong("link", text, "write CONTAINER[:NAME]")
    return single("link", alias or name).lower(), name


def shared(name: str) -> bool:
    """Whether a name is not that of a network of pocker: none, host, container:ID."""
    return name in ("none", "host") or name.startswith("container:")


def network(text: str) -> NetworkAttachment:
    """The network of ``NAME`` or ``name=NAME,ip=...,ip6=...,alias=...,mac-address=...``. Raises UsageError."""
    found: dict[str, Any] = {"name": text, "aliases": []}
    if "=" in text:
        found["name"] = ""
        for word in text.split(","):
            key, _, value = word.partition("=")
            if key == "alias":
                found["aliases"].append(single("network", value))
            elif key in ("name", "ip", "ip6"):
                found[key] = value if key == "name" else address("network", value)
            elif key == "mac-address":
                found["mac"] = mac(value)
            else:
                raise wrong("network", text, "write NAME, or name=NAME with ip=, ip6=, alias=, mac-address=")
    if found["name"] in ("", "container:"):
        raise wrong("network", text, "write the name of a network, none, host, or container:ID")
    if found["name"] == "default":
        found["name"] = "bridge"
    return NetworkAttachment(**found)


def _addressed(networks: list[NetworkAttachment], given: dict[str, Any]) -> list[NetworkAttachment]:
    """The networks with the addresses and aliases of the first one, which is bridge if none is named."""
    first, *others = networks or [network("bridge")]
    found = {flag: address(flag, given[flag], version) for flag, version in (("ip", 4), ("ip6", 6)) if given.get(flag)}
    if given.get("mac-address"):
        found["mac"] = mac(given["mac-address"])
    aliases = [*first.aliases, *(single("network-alias", text) for text in given.get("network-alias", []))]
    return [first.replace(**found, aliases=aliases), *others]


def host(text: str) -> str:
    """``NAME:ADDRESS`` or ``NAME=ADDRESS``, as NAME:ADDRESS."""
    sign = "=" if "=" in text else ":"
    name, there, where = text.partition(sign)
    if not name or not there or not where:
        raise wrong("add-host", text, "write NAME:ADDRESS, or NAME:host-gateway")
    single("add-host", name)
    return f"{name}:{where if where == 'host-gateway' else address('add-host', where)}"
