"""Docker with its own store and environment: the daemon has two runtimes, pyruntime and runc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.clients.documented_configs import block
from tests.clients.image import layout
from tests.clients.room import Room

CGROUP = f"pyruntime-docker-{os.getpid()}"
# By path: the host may have another client of the same name.
CLIENT, DAEMON = "/usr/bin/docker", "/usr/sbin/dockerd"
SOCKET = "unix:///run/docker.sock"


class Docker:
    """The daemon; with ``remap``, all its containers have user namespaces."""

    def __init__(self, path: Path, remap: bool = False) -> None:
        self.room = Room(path, [CGROUP])
        if remap:   # the room has its own ID ranges, independent of the host's
            (path / "ids").write_text("daemon:200000:65536\n")
            for place in ("/etc/subuid", "/etc/subgid"):
                self.room.ok("mount", "--bind", str(path / "ids"), place)
        self.log = path / "log"
        config = json.loads(block("json", "runtimes"))
        config["runtimes"]["other"] = {"path": shutil.which("runc")}
        config["default-runtime"] = "pyruntime"   # for builds, which have no option to select the runtime
        (path / "daemon.json").write_text(json.dumps(config))
        # The room has its own network: packet rules need kernel modules that a host may lack, so they are disabled.
        self.daemon = self.room.daemon(
            self.log, DAEMON, "--host", SOCKET, "--data-root", "/run/data", "--exec-root", "/run/docker",
            "--pidfile", "/run/docker.pid", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
            "--ip-masq=false", "--bridge=none", "--storage-driver", "overlay2", "--cgroup-parent", f"/{CGROUP}",
            "--default-ulimit", "nofile=1024:1024", "--userland-proxy=false",
            "--config-file", str(path / "daemon.json"),
            *(["--userns-remap", "daemon"] if remap else []))
        for _ in self.room.patience():
            assert self.daemon.poll() is None, self.log.read_text()[-3000:]
            if self.room.run(CLIENT, "--host", SOCKET, "version").returncode == 0:
                break
        else:
            raise TimeoutError(self.log.read_text()[-3000:])
        made = layout(path / "image")
        subprocess.run(["skopeo", "copy", "-q", f"oci:{made.path}:box", f"docker-archive:{path}/box.tar:box:latest"],
                       check=True, stdin=subprocess.DEVNULL)
        self.room.ok(CLIENT, "--host", SOCKET, "load", "-q", "-i", f"{path}/box.tar")

    def close(self) -> None:
        self.room.close()
