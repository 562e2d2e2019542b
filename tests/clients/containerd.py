"""containerd with its own store and environment, and its client ctr."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from bundles.images import Layout
from tests.clients.documented_configs import PYRUNTIME
from tests.clients.image import layout
from tests.clients.room import Room

NAMESPACE = f"pyruntime-clients-{os.getpid()}"   # other tests may run on the same host
SOCKET = "/run/ctd/sock"
IMAGE = "localhost/box:latest"

# Both versions read the second version of the configuration; 2.x translates it when it starts.
CONFIG = """version = 2
root = "{path}/root"
state = "/run/ctd"
[grpc]
address = "/run/ctd/sock"
[ttrpc]
address = "/run/ctd/ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "{path}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:latest"
restrict_oom_score_adj = true
disable_apparmor = true
enable_selinux = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{path}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "{default}"
{runtimes}
"""
RUNTIME = """[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
BinaryName = "{binary}"
SystemdCgroup = {systemd}
"""
# pyruntime's own shim, which containerd finds in PATH.
SHIM = """[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.shim]
runtime_type = "io.containerd.pyruntime.v2"
"""
# containerd 1.6 ignores other options of such a runtime.
SHIM_OPTIONS = """[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.shim.options]
ConfigPath = "{path}/shim.toml"
"""
# Pods that this shim makes without a pause image. containerd 2.x only: 1.6 ignores the line.
PODS = """[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pods]
runtime_type = "io.containerd.pyruntime.v2"
sandboxer = "shim"
disable_pause_image_pull = true
"""
NETWORK = """{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "10.88.0.0/16"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
"""


class Containerd:
    """The daemon; ``programs`` is the directory of its programs, or nothing for the system's. ``cgroups`` are those
    that it creates besides that of its namespace, ``tools`` is a directory of programs that runtimes run. ``systemd``:
    with the host's systemd, for scopes."""

    def __init__(self, path: Path, programs: Path | None, default: str = "runc", cgroups: tuple[str, ...] = (),
                 tools: str = "", *, systemd: bool = False) -> None:
        runc = str(shutil.which("runc"))
        self.runtimes = {"pyruntime": PYRUNTIME, "runc": runc}
        self.room = Room(path, [NAMESPACE, *cgroups], ":".join(filter(None, [
            str(programs or ""), tools, str(Path(PYRUNTIME).parent)])), systemd=systemd)
        runtimes = "".join(RUNTIME.format(name=name, binary=binary, systemd=str(systemd).lower())
                           for name, binary in self.runtimes.items()) + SHIM
        if systemd:
            (path / "shim.toml").write_text("SystemdCgroup = true\n")
            runtimes += SHIM_OPTIONS.format(path=path)
        (path / "cni").mkdir()
        (path / "cni/10-pods.conflist").write_text(NETWORK)
        self.config = path / "config.toml"
        self.config.write_text(CONFIG.format(path=path, default=default, runtimes=runtimes + PODS))
        self.log = path / "log"
        self.start()
        self.load(layout(path / "image"), "localhost/")

    def load(self, images: Layout, prefix: str) -> None:
        """Import the images of a layout for ctr and for pods, with a prefix before their names."""
        index = images.path / "index.json"
        document = json.loads(index.read_text())
        for manifest in document["manifests"]:
            name, _, tag = manifest["annotations"]["org.opencontainers.image.ref.name"].partition(":")
            manifest["annotations"]["io.containerd.image.name"] = f"{prefix}{name}:{tag or 'latest'}"
        index.write_text(json.dumps(document))
        archive = self.room.path / "images.tar"
        subprocess.run(["tar", "-C", str(images.path), "-cf", str(archive), "."], check=True)
        for namespace in (NAMESPACE, "k8s.io"):
            self.room.ok("ctr", "-a", SOCKET, "-n", namespace, "images", "import", str(archive))

    def start(self) -> None:
        """Start the daemon, and wait until it replies."""
        self.daemon = self.room.daemon(self.log, "containerd", "--config", str(self.config))
        for _ in self.room.patience():
            assert self.daemon.poll() is None, self.log.read_text()[-3000:]
            if self.room.run("ctr", "-a", SOCKET, "version").returncode == 0:
                return
        raise TimeoutError(self.log.read_text()[-3000:])

    def close(self) -> None:
        self.room.close()
