"""One docker-py `run` for each line of input; prints its milliseconds. For bench/sandboxes.py, in the interpreter that
has docker-py: ``DOCKER_HOST`` names the daemon; the arguments are the path of a root filesystem, and "bridge" for
containers in the default network instead of none."""

from __future__ import annotations

import io
import sys
import tarfile
import time

import docker  # type: ignore[import-untyped]

IMAGE = "pyruntime-bench:latest"


def main(rootfs: str, network: str) -> None:
    """Import the image, then serve."""
    client = docker.from_env()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(rootfs, ".")
    client.api.import_image_from_data(archive.getvalue(), repository=IMAGE)
    options = {} if network else {"network_disabled": True}
    living = client.containers.run(IMAGE, ["sleep", "100000"], detach=True, **options)
    try:
        print("ready", flush=True)
        for line in sys.stdin:
            begun = time.perf_counter()
            if line.strip() == "run":
                client.containers.run(IMAGE, ["true"], remove=True, **options)
            else:
                assert living.exec_run(["true"]).exit_code == 0
            print((time.perf_counter() - begun) * 1000, flush=True)
    finally:
        living.remove(force=True)
        client.images.remove(IMAGE, force=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
