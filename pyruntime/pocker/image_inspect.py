"""An image as a document, with the names of `docker image inspect`.

A member that the image does not set has Docker's value for it, so that templates find it: {{.Config.Volumes}} is map[],
and null in JSON.
"""

from __future__ import annotations

from pyruntime.images.reference import familiar
from pyruntime.images.store.names import is_nameless
from pyruntime.system.json import NullDict, NullList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.lookup import Image

# Of Config, for images and containers.
CONFIG: dict[str, Any] = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
    "ExposedPorts": NullDict(), "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": NullList(),
    "Cmd": NullList(), "Healthcheck": None, "Image": "", "Volumes": NullDict(), "WorkingDir": "",
    "Entrypoint": NullList(), "OnBuild": NullList(), "Labels": NullDict(), "StopSignal": "", "Shell": NullList()}


def config_of(*layers: dict[str, Any]) -> dict[str, Any]:
    """Config: Docker's members; the last document that sets a member decides."""
    result = dict(CONFIG)
    for layer in layers:
        result |= {name: value for name, value in layer.items() if value is not None}
    return result


def describe(image: Image) -> dict[str, Any]:
    """The document."""
    document, history = image.config.document, image.config.history
    names = [familiar(name) for name in image.names if not is_nameless(name)]
    repositories = {name.partition("@")[0] if "@" in name else name.rpartition(":")[0] for name in names}
    return {
        "Id": image.id, "RepoTags": [name for name in names if "@" not in name],
        "RepoDigests": sorted(f"{name}@{image.root.digest}" for name in repositories), "Parent": "",
        "Comment": str(history[-1].get("comment", "")) if history else "", "Created": document.get("created", ""),
        "DockerVersion": "", "Author": document.get("author", ""), "Config": config_of(image.config.config),
        "Architecture": document.get("architecture", ""), "Variant": document.get("variant", ""),
        "Os": document.get("os", ""), "OsVersion": document.get("os.version", ""), "Size": image.size,
        "VirtualSize": image.size, "RootFS": {"Type": "layers", "Layers": image.config.diff_ids},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"}, "Digest": image.root.digest,
        "Manifest": image.descriptor.digest, "MediaType": image.manifest.media_type,
        "Layers": [layer.json() for layer in image.manifest.layers], "Annotations": image.manifest.annotations}
