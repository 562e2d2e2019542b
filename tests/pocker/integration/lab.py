"""A host of its own for tests of networks: private network and mount namespaces, and another host beside it.

    outside                       the host
    198.51.100.2, 2001:db8::2 ─── 198.51.100.1, 2001:db8::1     containers
    answers DNS queries           pocker runs here

Nothing of the machine's network is touched.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.pocker.integration.command import Pocker

HOST, OUTSIDE, HOST6, OUTSIDE6 = "198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"

# An echo server: answers each datagram and connection with the data and the address of its sender. _ASK is its client.
_ECHO = """
    import socket, sys
    kind, host, port = sys.argv[1:]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((host, int(port)))
    if kind == "tcp":
        sock.listen(64)
    print("ready", flush=True)
    while True:
        if kind == "udp":
            data, peer = sock.recvfrom(65536)
            sock.sendto(data + b" " + peer[0].encode(), peer)
        else:
            connection, peer = sock.accept()
            data = b"".join(iter(lambda: connection.recv(65536), b""))
            connection.sendall(data + b" " + peer[0].encode())
            connection.close()
    """
_ASK = """
    import socket, sys
    kind, host, port, text = sys.argv[1:]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    sock.settimeout(3)
    sock.connect((host, int(port)))
    if kind == "udp":
        sock.send(text.encode())
        print(sock.recv(65536).decode(), end="")
    else:
        sock.sendall(text.encode())
        sock.shutdown(socket.SHUT_WR)
        print(b"".join(iter(lambda: sock.recv(65536), b"")).decode(), end="")
    """
# Sends each line of its input from one fixed port, and prints the answer, or an empty line.
_SENDER = """
    import socket, sys
    host, port = sys.argv[1:]
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(0.5)
    print("ready", flush=True)
    for line in sys.stdin:
        text = line.strip().encode()
        sock.sendto(text, (host, int(port)))
        try:
            while not (answer := sock.recv(65536)).startswith(text):
                pass    # an answer to what it sent before
            print(answer.decode(), flush=True)
        except TimeoutError:
            print(flush=True)
    """
# Answers every query with 203.0.113.7.
_DNS = """
    import socket, threading
    def reply(query):
        head = query[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0"
        return head + query[12:] + b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\5\\0\\4\\xcb\\0\\x71\\7"
    def tcp():
        sock = socket.create_server(("198.51.100.2", 53))
        while True:
            connection, _ = sock.accept()
            data = connection.recv(4096)
            answer = reply(data[2:])
            connection.sendall(len(answer).to_bytes(2, "big") + answer)
            connection.close()
    threading.Thread(target=tcp, daemon=True).start()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("198.51.100.2", 53))
    print("ready", flush=True)
    while True:
        query, peer = sock.recvfrom(4096)
        sock.sendto(reply(query), peer)
    """


class Lab(Pocker):
    """``pocker`` on a host of its own."""

    def __init__(self, path: Path, store: Path) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        super().__init__(path, store)
        self.host = self._hold("unshare", "-n", "-m", "--propagation", "private")
        self.outside = self._hold("unshare", "-n")
        self.prefix = ["nsenter", f"--net=/proc/{self.host}/ns/net", f"--mount=/proc/{self.host}/ns/mnt"]
        self.on_host("sh", "-ec", f"""
            echo 0 >/proc/sys/net/ipv4/ip_forward
            ip link set lo up
            ip link add up0 type veth peer name down0 netns {self.outside}
            ip addr add {HOST}/24 dev up0
            ip addr add {HOST6}/64 dev up0 nodad
            ip link set up0 up
            ip route add default via {OUTSIDE}
            ip -6 route add default via {OUTSIDE6}
            """)
        self.on_outside("sh", "-ec", f"""
            ip link set lo up
            ip addr add {OUTSIDE}/24 dev down0
            ip addr add {OUTSIDE6}/64 dev down0 nodad
            ip link set down0 up
            """)
        (path / "resolv.conf").write_text(f"nameserver {OUTSIDE}\n")
        self.on_host("mount", "--bind", str(path / "resolv.conf"), "/etc/resolv.conf")
        self.links = self.interfaces()
        self.rules = self.on_host("nft", "list", "tables")
        self.forwarding = self.sysctls()

    def _hold(self, *words: str) -> int:
        """A process that keeps namespaces alive; it prints a line when they exist."""
        process = subprocess.Popen([*words, "sh", "-c", "echo ready; exec sleep 100000"], stdout=subprocess.PIPE,
                                   text=True, stdin=subprocess.DEVNULL)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        self.processes.append(process)
        return process.pid

    def on_host(self, *words: object) -> str:
        """The output of a program on the host."""
        return self._run([*self.prefix, *map(str, words)])

    def on_outside(self, *words: object) -> str:
        """The output of a program on the other host."""
        return self._run(["nsenter", f"--net=/proc/{self.outside}/ns/net", *map(str, words)])

    @staticmethod
    def _run(words: list[str]) -> str:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def interfaces(self) -> set[str]:
        """The host's interfaces."""
        return {link["ifname"] for link in json.loads(self.on_host("ip", "-j", "link"))}

    def sysctls(self) -> str:
        """The host's sysctls for forwarding and for router advertisements."""
        return self.on_host("sh", "-c", "cd /proc/sys/net; cat ipv4/ip_forward ipv6/conf/all/forwarding"
                            " ipv6/conf/up0/accept_ra")

    # --- servers and clients ------------------------------------------------------------------------------------------

    def serve(self, pid: int, kind: str, host: str, port: int) -> None:
        """An echo server in the network namespace of a process."""
        self._server(pid, _ECHO, kind, host, str(port))

    def serve_names(self) -> None:
        """A name server on the other host; the host uses it."""
        self._server(self.outside, _DNS)

    def _server(self, pid: int, code: str, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", textwrap.dedent(code), *words],
            stdout=subprocess.PIPE, text=True, stdin=subprocess.PIPE)
        self.processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    def sender(self, pid: int, host: str, port: int) -> Callable[[str], str]:
        """A function that sends a datagram from one port in the network namespace of a process, and returns the answer
        ("" for none)."""
        process = self._server(pid, _SENDER, host, str(port))

        def send(text: str) -> str:
            assert process.stdin and process.stdout
            process.stdin.write(text + "\n")
            process.stdin.flush()
            return process.stdout.readline().rstrip("\n")
        return send

    @staticmethod
    def ask(pid: int, kind: str, host: str, port: int, text: str = "hello") -> str:
        """The answer of an echo server to a client in the network namespace of a process; "" if there is none."""
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", textwrap.dedent(_ASK), kind, host, str(port),
             text], capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
        return done.stdout if done.returncode == 0 else ""

    def pid(self, name: str) -> int:
        """A container's init process."""
        return int(self.run_file(name)["pid"])

    def detached(self, name: str, *words: object) -> int:
        """Run a container in the background: its pid."""
        self.ok("run", "-d", "--name", name, *words, "busybox", "sleep", "100000")
        return self.pid(name)

    def endpoint(self, name: str) -> dict[str, Any]:
        """The record of a container's networks."""
        path = self.run / "networks/containers" / self.directory(name).name
        value = json.loads(path.read_text())
        assert isinstance(value, dict)
        return value

    def address(self, name: str, network: str = "bridge", key: str = "ip") -> str:
        """A container's address in a network."""
        return str(next(entry[key] for entry in self.endpoint(name)["joined"] if entry["network"] == network))

    # --- what is left -------------------------------------------------------------------------------------------------

    def leftovers(self) -> list[str]:
        """As above, and links, rules and sysctls of the private host."""
        left = super().leftovers()
        left += [f"link {name}" for name in self.interfaces() - self.links]
        rules = self.on_host("nft", "list", "tables")
        left += [f"rules {rules}"] if rules != self.rules else []
        left += [f"sysctls {self.sysctls()}"] if self.sysctls() != self.forwarding else []
        for directory in ("containers", "up", "leases/*"):
            left += [f"file {path}" for path in (self.run / "networks").glob(f"{directory}/*")
                     if path.name[0] != "." and (path.is_symlink() or path.is_file())]
        return left

    def close(self) -> None:
        """End the processes that keep the namespaces alive."""
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    stream.close()


def process_of(lab: Lab, name: str) -> int:
    """The pid of the name server, or the proxy of a container."""
    if name == "names":
        return int((lab.run / "networks/names").read_text().split()[0])
    return int(lab.endpoint(name)["proxy"][0])


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) == "Z"
    except OSError:
        return True


def kill(pid: int) -> None:
    """Kill a process, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
