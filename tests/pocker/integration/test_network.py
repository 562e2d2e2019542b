"""Networks: addresses, names, isolation, published ports; and that nothing is left of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import TOP
from tests.pocker.integration.lab import HOST, HOST6, OUTSIDE, OUTSIDE6, Lab, gone, kill, process_of

# --- addresses and ways -----------------------------------------------------------------------------------------------


def test_a_container_has_an_address_and_a_way_out(lab: Lab) -> None:
    lab.serve(lab.outside, "tcp", OUTSIDE, 7000)
    pid = lab.detached("web")
    assert lab.address("web").startswith("10.88.")
    assert lab.ask(pid, "tcp", OUTSIDE, 7000) == f"hello {HOST}"   # with the host's address as its source
    assert "default via 10.88.0.1" in lab.ok("exec", "web", "ip", "route")
    lab.ok("rm", "-f", "web")
    lab.check()


def test_two_containers_reach_each_other_and_the_host(lab: Lab) -> None:
    one, two = lab.detached("one"), lab.detached("two")
    lab.serve(two, "tcp", "0.0.0.0", 80)
    lab.serve(lab.host, "tcp", "0.0.0.0", 81)
    assert lab.ask(one, "tcp", lab.address("two"), 80) == f"hello {lab.address('one')}"
    assert lab.ask(one, "tcp", "10.88.0.1", 81).startswith("hello ")
    assert lab.ask(lab.host, "tcp", lab.address("two"), 80) == "hello 10.88.0.1"


def test_network_none_host_and_container(lab: Lab) -> None:
    assert lab.ok("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net").split() == ["lo"]
    shown = lab.ok("run", "--rm", "--network", "host", "busybox", "ip", "addr")
    assert f"inet {HOST}/24" in shown
    lab.detached("owner", "--hostname", "owner")
    shown = lab.ok("run", "--rm", "--network", "container:owner", "busybox", "ip", "addr")
    assert lab.address("owner") in shown
    hosts = lab.ok("run", "--rm", "--network", "container:owner", "busybox", "cat", "/etc/hosts")
    assert f"{lab.address('owner')}\towner" in hosts
    assert "no such container" in lab.fails("run", "--rm", "--network", "container:nobody", "busybox", status=125)


def test_requested_addresses_and_names(lab: Lab) -> None:
    lab.ok("network", "create", "--subnet", "10.7.0.0/24", "--gateway", "10.7.0.254", "--ip-range", "10.7.0.128/25",
           "--opt", "mtu=1300", "fixed")
    lab.detached("pinned", "--network", "fixed", "--ip", "10.7.0.77", "--mac-address", "02:00:00:00:00:77",
                 "--add-host", "box:192.0.2.9", "--add-host", "gateway:host-gateway", "--dns-search", "example.org")
    shown = lab.ok("exec", "pinned", "ip", "addr", "show", "eth0")
    assert "inet 10.7.0.77/24" in shown and "02:00:00:00:00:77" in shown and "mtu 1300" in shown
    assert "default via 10.7.0.254" in lab.ok("exec", "pinned", "ip", "route")
    hosts = lab.ok("exec", "pinned", "cat", "/etc/hosts")
    assert "192.0.2.9\tbox" in hosts and "10.7.0.254\tgateway" in hosts
    resolv = lab.ok("exec", "pinned", "cat", "/etc/resolv.conf")
    assert "search example.org" in resolv and "nameserver 10.7.0.254" in resolv
    lab.detached("other", "--network", "fixed")
    assert lab.address("other", "fixed").startswith("10.7.0.1")   # --ip-range starts at 10.7.0.128
    for wanted, said in (("10.7.0.77", "is taken by container"), ("10.7.0.254", "is taken by its gateway"),
                         ("10.8.0.1", "is not available to containers of network")):
        assert said in lab.fails("run", "--rm", "--network", "fixed", "--ip", wanted, "busybox", "true", status=125)


def test_ipv6_beside_ipv4(lab: Lab) -> None:
    lab.ok("network", "create", "--ipv6", "both")
    lab.serve(lab.outside, "tcp", OUTSIDE6, 7000)
    one = lab.detached("one", "--network", "both", "-p", "8080:80")
    two = lab.detached("two", "--network", "both")
    lab.serve(one, "tcp", "::", 80)
    address = lab.address("one", "both", "ip6")
    assert address.startswith("fd")
    assert lab.ask(two, "tcp", address, 80) == f"hello {lab.address('two', 'both', 'ip6')}"
    assert lab.ask(two, "tcp", OUTSIDE6, 7000) == f"hello {HOST6}"
    assert address in lab.ok("exec", "two", "nslookup", "-type=aaaa", "one")
    # Past the proxy, with the client's own address; and through the proxy.
    assert lab.ask(lab.outside, "tcp", HOST6, 8080) == f"hello {OUTSIDE6}"
    assert lab.ask(lab.outside, "tcp", HOST, 8080) == f"hello ::ffff:{OUTSIDE}"
    assert lab.ask(lab.host, "tcp", "::1", 8080).startswith("hello fd")
    assert lab.sysctls() != lab.forwarding


def test_a_subnet_that_is_taken_is_refused(lab: Lab) -> None:
    """By another network, by one that was made on demand, and by an address or a route of the host."""
    lab.ok("network", "create", "--subnet", "10.77.4.0/24", "--subnet", "fd77:4::/64", "one")
    lab.detached("web")
    default = lab.address("web").rpartition(".")[0].rpartition(".")[0] + ".9.0/24"
    lab.on_host("ip", "route", "add", "10.66.0.0/16", "via", OUTSIDE)
    for subnet, owner in (("10.77.4.0/24", 'the subnet of network "one"'), ("10.77.0.0/16", 'of network "one"'),
                          ("10.77.4.128/25", 'of network "one"'), ("fd77:4::/48", 'of network "one"'),
                          (default, 'of network "bridge"'), ("10.66.5.0/24", "to which this host has a route"),
                          ("198.51.100.0/28", "to which this host has a route")):
        said = lab.fails("network", "create", "--subnet", subnet, "two")
        assert f'--subnet "{subnet}" overlaps with ' in said and owner in said, said
    assert "two" not in lab.ok("network", "ls")
    lab.ok("network", "create", "--subnet", "10.77.5.0/24", "two")
    lab.ok("rm", "-f", "web")
    lab.ok("network", "rm", "one", "two")


def test_the_first_subnets_are_left_to_the_host_if_it_has_them(lab: Lab) -> None:
    lab.on_host("ip", "addr", "add", "10.88.3.4/24", "dev", "up0")
    lab.detached("web")
    assert lab.address("web").startswith("10.98.")
    assert "overlaps with 10.88.3.0/24" in lab.fails("network", "create", "--subnet", "10.88.0.0/16", "mine")
    lab.ok("rm", "-f", "web")
    lab.check()
    # The default network yields to addresses that the host gets later, too.
    lab.on_host("ip", "addr", "add", "10.98.3.4/24", "dev", "up0")
    lab.on_host("ip", "link", "add", "pocker0", "type", "bridge")
    lab.detached("web")
    assert lab.address("web").startswith("172.31.")
    assert lab.endpoint("web")["joined"][0]["interface"] == "pocker1"
    lab.on_host("ip", "link", "del", "pocker0")


# --- names and isolation ----------------------------------------------------------------------------------------------


def test_two_networks_of_three_talk_by_name_and_not_to_each_other(lab: Lab) -> None:
    pids = {}
    for network in ("red", "blue"):
        lab.ok("network", "create", network)
        for number in range(3):
            name = f"{network}{number}"
            pids[name] = lab.detached(name, "--network", network, "--network-alias", "all", "--hostname", f"h-{name}")
            lab.serve(pids[name], "tcp", "0.0.0.0", 80)
    for network, other in (("red", "blue"), ("blue", "red")):
        for asker in range(3):
            for asked in range(3):
                address = lab.address(f"{network}{asked}", network)
                for name in (f"{network}{asked}", f"h-{network}{asked}", f"{network.upper()}{asked}"):
                    assert address in lab.ok("exec", f"{network}{asker}", "nslookup", "-type=a", name)
                assert lab.ask(pids[f"{network}{asker}"], "tcp", address, 80).startswith("hello ")
        found = lab.ok("exec", f"{network}0", "nslookup", "-type=a", "all")
        assert all(lab.address(f"{network}{number}", network) in found for number in range(3))
        assert not lab.ask(pids[f"{network}0"], "tcp", lab.address(f"{other}0", other), 80)
        assert lab("exec", f"{network}0", "nslookup", "-type=a", f"{other}0").returncode
        address = lab.address(f"{network}1", network)
        assert f"name = {network}1" in lab.ok("exec", f"{network}0", "nslookup", address)
    assert not lab.ask(lab.outside, "tcp", lab.address("red0", "red"), 80)   # no route; below, denied with one
    lab.on_outside("ip", "route", "add", "10.0.0.0/8", "via", HOST)
    assert not lab.ask(lab.outside, "tcp", lab.address("red0", "red"), 80)


def test_all_other_names_are_asked_of_the_hosts_servers(lab: Lab) -> None:
    lab.serve_names()
    lab.detached("web")
    assert "203.0.113.7" in lab.ok("exec", "web", "nslookup", "-type=a", "www.example.org")
    lab.detached("own", "--dns", "198.51.100.99", "--dns", OUTSIDE)   # the first one does not answer
    assert "203.0.113.7" in lab.ok("exec", "own", "nslookup", "-type=a", "www.example.org")
    # The same over TCP.
    code = ("import socket; s = socket.create_connection(('10.88.0.1', 53), 5);"
            " q = b'\\x12\\x34\\1\\0\\0\\1' + bytes(6) + b'\\3www\\7example\\3org\\0\\0\\1\\0\\1';"
            " s.sendall(len(q).to_bytes(2, 'big') + q); print(s.recv(999).hex())")
    done = subprocess.run(["nsenter", f"--net=/proc/{lab.pid('web')}/ns/net", "python3", "-c", code],
                          capture_output=True, text=True, check=True, timeout=60)
    assert "cb007107" in done.stdout


def test_an_internal_network_has_no_way_out_nor_in(lab: Lab) -> None:
    lab.serve_names()
    lab.serve(lab.outside, "tcp", OUTSIDE, 7000)
    lab.ok("network", "create", "--internal", "inner")
    one, two = lab.detached("one", "--network", "inner", "-p", "8080:80"), lab.detached("two", "--network", "inner")
    lab.serve(one, "tcp", "0.0.0.0", 80)
    assert lab.ask(two, "tcp", lab.address("one", "inner"), 80).startswith("hello ")
    assert lab.address("one", "inner") in lab.ok("exec", "two", "nslookup", "-type=a", "one")
    assert not lab.ask(one, "tcp", OUTSIDE, 7000)
    assert not lab.ask(lab.host, "tcp", "127.0.0.1", 8080)
    assert lab("exec", "two", "nslookup", "-type=a", "www.example.org").returncode   # nor does the name server forward


def test_the_name_server_is_started_again_and_ends_with_the_last_network(lab: Lab) -> None:
    lab.detached("web")
    first = process_of(lab, "names")
    held = f"/proc/{first}/mountinfo"
    lab.eventually(lambda: str(lab.root) not in Path(held).read_text(), "the name server has left the mounts")
    kill(first)
    lab.ok("ps")
    lab.eventually(lambda: process_of(lab, "names") != first, "a new name server runs")
    second = process_of(lab, "names")
    lab.eventually(lambda: not lab("exec", "web", "nslookup", "-type=a", "web").returncode, "it answers")
    lab.ok("rm", "-f", "web")
    lab.eventually(lambda: gone(second), "it has ended")


def damaged_record(lab: Lab) -> tuple[Path, str]:
    """The file of a network that is up beside another one, which is damaged, and what was in it. The container "other"
    is in this network, "web" in the other one."""
    lab.ok("network", "create", "damaged")
    lab.detached("web")
    lab.detached("other", "--network", "damaged")
    record = lab.run / "networks/up/damaged"
    whole = record.read_text()
    record.write_text("{}")
    return record, whole


def test_a_damaged_record_of_one_network_does_not_stop_the_others(lab: Lab) -> None:
    record, whole = damaged_record(lab)
    kill(process_of(lab, "names"))
    lab.detached("late")
    lab.eventually(lambda: not lab("exec", "late", "nslookup", "-type=a", "web").returncode, "names of another network")
    lab.ok("network", "inspect", "damaged")
    record.write_text(whole)
    lab.eventually(lambda: not lab("exec", "other", "nslookup", "-type=a", "other").returncode, "it is served again")


def test_a_damaged_record_of_an_unused_network_is_reported(lab: Lab) -> None:
    record, whole = damaged_record(lab)
    lab.ok("rm", "-f", "other")
    first = process_of(lab, "names")
    kill(first)
    said = lab("ps").stderr
    assert str(record) in said and "pocker network reload" in said
    lab.eventually(lambda: process_of(lab, "names") != first, "a name server runs nevertheless")
    lab.eventually(lambda: not lab("exec", "web", "nslookup", "-type=a", "web").returncode, "it answers")
    lab.detached("again", "--network", "damaged")
    lab.ok("network", "reload")
    assert record.read_text() == whole


def test_a_renamed_container_is_found_by_its_new_name(lab: Lab) -> None:
    lab.detached("before")
    lab.ok("rename", "before", "after")
    assert lab.address("after") in lab.ok("exec", "after", "nslookup", "-type=a", "after")
    assert lab("exec", "after", "nslookup", "-type=a", "before").returncode


# --- published ports --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "network"), [(HOST, "bridge"), (HOST6, "six")])
def test_a_client_that_sends_all_the_time(lab: Lab, host: str, network: str) -> None:
    """The kernel remembers the destination of a client's datagrams (conntrack) as long as the client sends."""
    lab.ok("network", "create", "--ipv6", "six")
    send = lab.sender(lab.outside, host, 8080)
    assert send("too early") == ""
    for name in ("one", "two"):
        keeper = lab.detached(f"{name}-before", "--network", network)     # the next container gets another address
        pid = lab.detached(name, "--network", network, "-p", "8080:80/udp")
        lab.serve(pid, "udp", "::" if ":" in host else "0.0.0.0", 80)
        # The first datagrams over IPv6 may be lost during neighbour discovery.
        lab.eventually(partial(send, name), f"no answer of {name}", 20)
        assert keeper and lab.ok("rm", "-f", name) == name
        assert send("too late") == ""


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_published_port_is_reachable_from_everywhere(lab: Lab, kind: str) -> None:
    web, other = lab.detached("web", "-p", f"8080:80/{kind}"), lab.detached("other")
    lab.ok("network", "create", "far")
    far = lab.detached("far", "--network", "far")
    lab.serve(web, kind, "0.0.0.0", 80)
    gateway = "10.88.0.1"
    assert lab.ask(lab.outside, kind, HOST, 8080) == f"hello {OUTSIDE}"       # with its own address
    assert lab.ask(lab.host, kind, HOST, 8080) == f"hello {HOST}"
    assert lab.ask(lab.host, kind, "127.0.0.1", 8080) == f"hello {gateway}"   # through the proxy
    assert lab.ask(lab.host, kind, "::1", 8080) == f"hello {gateway}"
    assert lab.ask(lab.outside, kind, HOST6, 8080) == f"hello {gateway}"      # IPv6 to a container that has none
    for pid in (web, other, far):
        assert lab.ask(pid, kind, HOST, 8080).startswith("hello ")
    assert lab.ok("port", "web") == f"80/{kind} -> 0.0.0.0:8080\n80/{kind} -> [::]:8080"
    big = "x" * 60000
    assert lab.ask(lab.host, kind, "127.0.0.1", 8080, big).startswith(big)
    proxy = process_of(lab, "web")
    status = Path(f"/proc/{proxy}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status and "CapEff:\t0000000000000000" in status
    lab.ok("rm", "-f", "web")
    assert gone(proxy)
    assert not lab.ask(lab.host, kind, "127.0.0.1", 8080)
    assert not lab.ask(lab.outside, kind, HOST, 8080)


def test_publish_on_an_address_a_range_or_any_port(lab: Lab) -> None:
    lab.ok("run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", "-p", f"{HOST}:9000-9001:90-91", "-p", "80",
           "--expose", "85/udp", "-P", "busybox", "sleep", "1000")
    pid = lab.pid("web")
    for port in (80, 90, 91):
        lab.serve(pid, "tcp", "0.0.0.0", port)
    assert lab.ask(lab.host, "tcp", "127.0.0.1", 8080).startswith("hello ")
    assert not lab.ask(lab.outside, "tcp", HOST, 8080)
    assert not lab.ask(lab.host, "tcp", HOST, 8080)
    for port in (9000, 9001):
        assert lab.ask(lab.outside, "tcp", HOST, port) == f"hello {OUTSIDE}"
        assert not lab.ask(lab.host, "tcp", "127.0.0.1", port)
    free = lab.ok("port", "web", "80").splitlines()
    assert len(free) == 3 and free[0] == "127.0.0.1:8080"
    assert lab.ask(lab.outside, "tcp", HOST, int(free[1].rpartition(":")[2])) == f"hello {OUTSIDE}"
    assert lab.ok("port", "web", "85/udp").startswith("0.0.0.0:")
    assert "publishes no port 99/tcp" in lab.fails("port", "web", "99")


def test_a_port_in_use_is_an_error_that_names_its_user(lab: Lab) -> None:
    lab.detached("web", "-p", "8080:80")
    said = lab.fails("run", "--name", "late", "-p", "8080:80", "busybox", "true", status=125)
    assert 'cannot publish port 8080/tcp: address already in use by container "web"' in said
    lab.serve(lab.host, "tcp", "127.0.0.1", 8181)
    said = lab.fails("run", "--rm", "-p", "8181:80", "busybox", "true", status=125)
    assert "cannot publish port 8181/tcp: address already in use by process" in said
    assert "no interface of the host has that address" in lab.fails(
        "run", "--rm", "-p", "203.0.113.1:81:80", "busybox", "true", status=125)
    # The first free port of a range is published; no other process can bind a published port.
    lab.detached("next", "-p", "8080-8082:80")
    assert lab.ok("port", "next", "80").splitlines()[0] == "0.0.0.0:8081"
    code = "import socket; socket.create_server(('', 8080))"
    assert subprocess.run([*lab.prefix, "python3", "-c", code], capture_output=True, check=False).returncode


def test_a_published_port_without_a_listener_is_refused(lab: Lab) -> None:
    lab.detached("web", "-p", "8080:80")
    for host in ("127.0.0.1", HOST):
        started = time.monotonic()
        assert not lab.ask(lab.host, "tcp", host, 8080)
        assert time.monotonic() - started < 3   # refused, not timed out


def test_fifty_containers_in_parallel_get_nothing_twice(lab: Lab) -> None:
    names = [f"box{number}" for number in range(50)]

    def start(name: str) -> str:
        return lab.ok("run", "-d", "--name", name, "-p", "80", "-p", "53/udp", "busybox", "sleep", "100000")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, names))
    endpoints = [lab.endpoint(name) for name in names]
    assert len({endpoint["joined"][0]["ip"] for endpoint in endpoints}) == 50
    assert len({endpoint["joined"][0]["mac"] for endpoint in endpoints}) == 50
    ports = [(port["host"], port["protocol"], port["port"]) for endpoint in endpoints for port in endpoint["ports"]]
    assert len(ports) == len(set(ports)) == 200
    for number in (0, 17, 49):
        lab.serve(lab.pid(names[number]), "tcp", "0.0.0.0", 80)
        port = int(lab.ok("port", names[number], "80").splitlines()[0].rpartition(":")[2])
        assert lab.ask(lab.outside, "tcp", HOST, port) == f"hello {OUTSIDE}"
        assert lab.ask(lab.host, "tcp", "127.0.0.1", port) == "hello 10.88.0.1"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: lab.ok("rm", "-f", name), names))
    lab.check()


# --- networks that come and go ----------------------------------------------------------------------------------------


def test_connect_and_disconnect_while_it_runs(lab: Lab) -> None:
    lab.ok("network", "create", "red")
    lab.ok("network", "create", "blue")
    red, web = lab.detached("red", "--network", "red"), lab.detached("web", "--network", "blue", "-p", "8080:80")
    lab.serve(web, "tcp", "0.0.0.0", 80)
    assert lab("exec", "red", "nslookup", "-type=a", "web").returncode
    lab.ok("network", "connect", "--alias", "www", "red", "web")
    assert "is already connected to network \"red\"" in lab.fails("network", "connect", "red", "web")
    address = lab.address("web", "red")
    assert address in lab.ok("exec", "red", "nslookup", "-type=a", "www")
    assert address in lab.ok("exec", "web", "cat", "/etc/hosts")
    assert lab.ask(red, "tcp", address, 80).startswith("hello ")
    # Published ports and the default route move to the remaining network.
    lab.ok("network", "disconnect", "blue", "web")
    assert lab.ask(lab.host, "tcp", "127.0.0.1", 8080).startswith("hello ")
    assert lab.ask(lab.outside, "tcp", HOST, 8080) == f"hello {OUTSIDE}"
    shown = json.loads(lab.ok("network", "inspect", "red"))[0]
    assert {entry["Name"] for entry in shown["Containers"].values()} == {"red", "web"}
    lab.ok("network", "disconnect", "red", "web")
    assert lab("exec", "red", "nslookup", "-type=a", "www").returncode
    assert "is not connected to network" in lab.fails("network", "disconnect", "red", "web")
    lab.ok("network", "disconnect", "-f", "red", "web")


def test_a_connection_is_kept_for_the_next_start(lab: Lab) -> None:
    lab.ok("network", "create", "red")
    lab.ok("create", "--name", "web", "busybox", "sleep", "100000")
    lab.ok("network", "connect", "red", "web")
    lab.ok("start", "web")
    assert [entry["network"] for entry in lab.endpoint("web")["joined"]] == ["bridge", "red"]
    lab.ok("stop", "-t", "0", "web")
    lab.ok("network", "disconnect", "bridge", "web")
    lab.ok("start", "web")
    assert [entry["network"] for entry in lab.endpoint("web")["joined"]] == ["red"]
    assert "is in use by web" in lab.fails("network", "rm", "red")


def test_networks_are_made_listed_and_removed(lab: Lab) -> None:
    network_id = lab.ok("network", "create", "--label", "stage=test", "one")
    lab.ok("network", "create", "two")
    assert lab.ok("network", "ls", "--filter", "label=stage=test", "-q") == network_id[:12]
    listed = lab.ok("network", "ls", "--format", "{{.Name}}").split()
    assert listed == ["bridge", "one", "two", "host", "none"]
    assert json.loads(lab.ok("network", "inspect", "one"))[0]["Labels"] == {"stage": "test"}
    assert "already" in lab.fails("network", "create", "one")
    assert "--network gives it another meaning" in lab.fails("network", "create", "host")
    assert 'write "10.3.0.0/24"' in lab.fails("network", "create", "--subnet", "10.3.0.9/24", "three")
    assert "no such network" in lab.fails("run", "--rm", "--network", "nosuch", "busybox", "true", status=125)
    assert "it is the default network" in lab.fails("network", "rm", "bridge")
    lab.ok("network", "rm", network_id[:10])
    assert lab.ok("network", "prune") == "Deleted Networks:\ntwo"
    assert "pocker network create" in lab.ok("network", "create", "--help")


def test_others_rules_stay_and_dockers_are_opened(lab: Lab) -> None:
    lab.on_host("iptables", "-N", "DOCKER-USER")
    lab.on_host("iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
    lab.on_host("iptables", "-P", "FORWARD", "DROP")
    lab.on_host("nft", "add table inet mine { chain c { type filter hook input priority 0; counter; }; }")
    lab.rules = lab.on_host("nft", "list", "tables")
    before = lab.on_host("sh", "-c", "iptables -S; nft -s list table inet mine")
    lab.serve(lab.outside, "tcp", OUTSIDE, 7000)
    pid = lab.detached("web", "-p", "8080:80")
    lab.serve(pid, "tcp", "0.0.0.0", 80)
    assert lab.ask(pid, "tcp", OUTSIDE, 7000) == f"hello {HOST}"
    assert lab.ask(lab.outside, "tcp", HOST, 8080) == f"hello {OUTSIDE}"
    lab.ok("rm", "-f", "web")
    lab.check()
    assert lab.on_host("sh", "-c", "iptables -S; nft -s list table inet mine") == before


def test_flushed_rules_are_restored(lab: Lab) -> None:
    pid = lab.detached("web", "-p", "8080:80")
    lab.serve(pid, "tcp", "0.0.0.0", 80)
    lab.on_host("nft", "flush", "ruleset")
    lab.on_host("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
    assert lab.ok("network", "reload") == "bridge"
    assert lab.ask(lab.outside, "tcp", HOST, 8080) == f"hello {OUTSIDE}"
    lab.on_host("nft", "flush", "ruleset")
    lab.ok("rm", "-f", "web")


# --- without root -----------------------------------------------------------------------------------------------------

_OUTSIDE = """
    import sys
    from pyruntime.networks import ports
    from pyruntime.networks import slirp as outside
    from pyruntime.networks.endpoints import Endpoint
    from pyruntime.networks.site import Site
    from pyruntime.system import processes
    import subprocess
    held = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"], stdout=subprocess.PIPE)
    held.stdout.readline()
    endpoint = Endpoint(id="0" * 64, names=["web"], pid=held.pid, outside=outside.choose(sys.argv[1]))
    bound = ports.bind(Site(sys.argv[2], sys.argv[2]), [
        {"host": "", "port": 8080, "last": 8080, "to": 80, "protocol": kind} for kind in ("tcp", "udp")])
    outside.start(endpoint)
    ports.start_proxy(endpoint, bound)
    ports.release(bound)
    print(held.pid, endpoint.helper[0], endpoint.proxy[0], *outside.name_servers(endpoint.outside), flush=True)
    sys.stdin.readline()
    ports.stop_proxy(endpoint)
    processes.kill(*endpoint.helper, seconds=ports.PATIENCE)
    held.kill()
    """


@pytest.mark.parametrize("program", ["pasta", "slirp4netns"])
def test_without_root_a_program_is_the_way_out_and_the_proxy_the_way_in(lab: Lab, program: str) -> None:
    # Elsewhere every user may open the device; this host may be stricter.
    lab.on_host("sh", "-ec", "mount -t tmpfs tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200;"
                f" mount --bind {TOP} /srv; mount --bind {sys.base_prefix} /opt")
    for kind in ("tcp", "udp"):
        lab.serve(lab.outside, kind, OUTSIDE, 7000)
    user = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "unshare", "-U", "-r"]
    packages = os.path.relpath(sysconfig.get_path("purelib"), TOP)
    python = f"/opt/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    process = subprocess.Popen(
        [*lab.prefix, "env", "-C", "/srv", "PYTHONHOME=/opt", f"PYTHONPATH=/srv:/srv/{packages}",
         "LD_LIBRARY_PATH=/opt/lib", "PYTHONDONTWRITEBYTECODE=1", *user, python, "-c", textwrap.dedent(_OUTSIDE),
         program, "/nowhere"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        pid, helper, proxy = map(int, words[:3])
        assert words[3:] == ([OUTSIDE] if program == "pasta" else ["10.0.2.3"])
        for kind in ("tcp", "udp"):
            lab.serve(pid, kind, "0.0.0.0", 80)
            for where, host in ((lab.host, "127.0.0.1"), (lab.host, "::1"), (lab.outside, HOST), (lab.outside, HOST6)):
                assert lab.ask(where, kind, host, 8080) == "hello 127.0.0.1", (kind, host)
        assert lab.ask(pid, "udp", OUTSIDE, 7000) == f"hello {HOST}"
        if program != "pasta":   # pasta of 2023 loses data that arrives after a half-close, which `ask` does
            assert lab.ask(pid, "tcp", OUTSIDE, 7000) == f"hello {HOST}"
        code = f"import socket; socket.create_connection(({OUTSIDE!r}, 7000), 5)"
        subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "python3", "-c", code], check=True, timeout=60)
    finally:
        _, said = process.communicate("end\n", timeout=60)
    assert gone(helper) and gone(proxy), said


# --- killed processes ------------------------------------------------------------------------------------------------


def test_killed_monitors_leave_nothing(lab: Lab) -> None:
    for name in ("one", "two"):
        lab.detached(name, "-p", "80")
        kill(lab.run_file(name)["monitor"][0])
    proxy = process_of(lab, "one")
    kill(lab.pid("one"))
    lab.eventually(lambda: gone(proxy), "the proxy ends with the container, even without a monitor")
    lab.ok("ps")
    lab.eventually(lambda: lab.statuses()["one"] == "exited", "it is seen")
    assert len(list((lab.run / "networks/containers").iterdir())) == 1
    lab.ok("rm", "-f", "one", "two")
    lab.check()


def test_a_start_that_is_killed_at_any_moment_leaves_nothing(lab: Lab) -> None:
    lab.ok("create", "--name", "web", "-p", "8080:80", "busybox", "sleep", "100000")
    for step in range(12):
        process = lab.start("start", "web")
        time.sleep(step * 0.008)
        for pid in {process.pid, lab.run_file("web")["monitor"][0] if _started(lab) else process.pid}:
            try:
                kill(pid)
            except ProcessLookupError:
                continue   # the command ended first
        process.communicate(timeout=60)
        lab("stop", "-t", "0", "web")
        lab.ok("ps")
    lab.eventually(lambda: lab.ok("start", "web") and lab.endpoint("web")["ports"], "the container starts normally")
    lab.ok("rm", "-f", "web")
    lab.check()


def _started(lab: Lab) -> bool:
    return (lab.directory("web") / "run.json").exists()
