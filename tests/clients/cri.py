"""The Container Runtime Interface, used as by a kubelet: gRPC to containerd, a pod and its containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from cri_api.v1 import api_pb2
from cri_api.v1.api_pb2_grpc import RuntimeServiceStub
from google.protobuf.json_format import MessageToDict, ParseDict

from tests.clients.containerd import IMAGE, NAMESPACE, SOCKET, Containerd
from tests.clients.room import Room

LOGS = "/run/pods"


class Pod:
    """A pod whose containers use a runtime handler of containerd's configuration; removed at the end of the ``with``
    block."""

    def __init__(self, daemon: Containerd, handler: str, name: str, **config: Any) -> None:
        self.room = daemon.room
        channel = grpc.insecure_channel(f"unix://{self.room.seen(SOCKET)}")
        self._stub = RuntimeServiceStub(channel)  # type: ignore[no-untyped-call]
        self.config = {"metadata": {"name": name, "uid": name, "namespace": "default", "attempt": 0},
                       "logDirectory": f"{LOGS}/{handler}-{name}", **config,
                       "linux": {"cgroupParent": f"/{NAMESPACE}", **config.get("linux", {})}}
        self.id = str(self.ask("RunPodSandbox", config=self.config, runtimeHandler=handler)["podSandboxId"])
        self._made = 0

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("StopPodSandbox", podSandboxId=self.id)
        self.ask("RemovePodSandbox", podSandboxId=self.id)

    def ask(self, method: str, **fields: Any) -> dict[str, Any]:
        """Call a method of the runtime service with a request of these fields; raises grpc.RpcError."""
        request = ParseDict(fields, getattr(api_pb2, f"{method}Request")())
        return dict(MessageToDict(getattr(self._stub, method)(request, timeout=60)))

    def create(self, *command: str, **config: Any) -> str:
        """Create a container without starting it; return its ID."""
        self._made += 1
        described = {"metadata": {"name": f"c{self._made}"}, "image": {"image": IMAGE}, "command": list(command),
                     "logPath": f"c{self._made}.log", **config}
        return str(self.ask("CreateContainer", podSandboxId=self.id, config=described,
                            sandboxConfig=self.config)["containerId"])

    def start(self, *command: str, **config: Any) -> str:
        """Create and start a container; return its ID."""
        container = self.create(*command, **config)
        self.ask("StartContainer", containerId=container)
        return container

    def state(self, container: str) -> dict[str, Any]:
        return {"state": "CONTAINER_CREATED", **self.ask("ContainerStatus", containerId=container)["status"]}

    def ended(self, container: str) -> tuple[int, str]:
        """Wait for a container; return its exit status and reason."""
        for _ in Room.patience():
            status = self.state(container)
            if status["state"] == "CONTAINER_EXITED":
                return status.get("exitCode", 0), status.get("reason", "")
        raise TimeoutError(f"the container is still running: {status}")

    def output(self, container: str) -> list[str]:
        """The output of a container so far: the stream and the text of each line."""
        path = Path(self.room.seen(self.state(container)["logPath"]))
        return [" ".join(line.split(" ")[1:2] + line.split(" ")[3:]) for line in path.read_text().splitlines()]

    def ran(self, script: str, **config: Any) -> tuple[int, list[str]]:
        """Run a shell script in a container; return exit status and output."""
        container = self.start("sh", "-c", script, **config)
        return self.ended(container)[0], sorted(self.output(container))

    def exec(self, container: str, *command: str, timeout: int = 30) -> tuple[int, bytes, bytes]:
        """Run a command in a running container; return exit status, output and errors."""
        answer = self._stub.ExecSync(api_pb2.ExecSyncRequest(container_id=container, cmd=command, timeout=timeout),
                                     timeout=60)
        return answer.exit_code, answer.stdout, answer.stderr


def refused(call: Any) -> str:
    """The error code of a failed call of the interface."""
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code())
    return "not refused"
