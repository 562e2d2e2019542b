"""The Container Runtime Interface, spoken as a kubelet speaks it: gRPC to containerd, a pod and its containers."""

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
    """A pod whose containers a runtime handler of containerd's configuration makes; ends with the ``with`` block."""

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
        """Call a method of the runtime service with a request of these fields; grpc.RpcError when it fails."""
        request = ParseDict(fields, getattr(api_pb2, f"{method}Request")())
        return dict(MessageToDict(getattr(self._stub, method)(request, timeout=60)))

    def create(self, *command: str, **config: Any) -> str:
        """A container that is not started; its ID."""
        self._made += 1
        described = {"metadata": {"name": f"c{self._made}"}, "image": {"image": IMAGE}, "command": list(command),
                     "logPath": f"c{self._made}.log", **config}
        return str(self.ask("CreateContainer", podSandboxId=self.id, config=described,
                            sandboxConfig=self.config)["containerId"])

    def start(self, *command: str, **config: Any) -> str:
        """A container that runs; its ID."""
        container = self.create(*command, **config)
        self.ask("StartContainer", containerId=container)
        return container

    def state(self, container: str) -> dict[str, Any]:
        return {"state": "CONTAINER_CREATED", **self.ask("ContainerStatus", containerId=container)["status"]}

    def ended(self, container: str) -> tuple[int, str]:
        """Exit status and reason of a container, once it has ended."""
        for _ in Room.patience():
            status = self.state(container)
            if status["state"] == "CONTAINER_EXITED":
                return status.get("exitCode", 0), status.get("reason", "")
        raise TimeoutError(f"the container still runs: {status}")

    def output(self, container: str) -> list[str]:
        """What a container has written so far: the stream and the text of each line."""
        path = Path(self.room.seen(self.state(container)["logPath"]))
        return [" ".join(line.split(" ")[1:2] + line.split(" ")[3:]) for line in path.read_text().splitlines()]

    def ran(self, script: str, **config: Any) -> tuple[int, list[str]]:
        """Exit status and output of a container that runs a shell script to its end."""
        container = self.start("sh", "-c", script, **config)
        return self.ended(container)[0], sorted(self.output(container))

    def exec(self, container: str, *command: str, timeout: int = 30) -> tuple[int, bytes, bytes]:
        """Exit status, output and errors of a command in a running container."""
        answer = self._stub.ExecSync(api_pb2.ExecSyncRequest(container_id=container, cmd=command, timeout=timeout),
                                     timeout=60)
        return answer.exit_code, answer.stdout, answer.stderr


def refused(call: Any) -> str:
    """The code of the error that a call of the interface fails with."""
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code())
    return "not refused"
