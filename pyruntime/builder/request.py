"""The request for a build, and its result."""

from __future__ import annotations

from pyruntime.errors import UsageError
from pyruntime.images.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.builder.cache.locations import CachePlace
    from pyruntime.images.document import Descriptor
    from pyruntime.images.platform import Platform

ENTITLEMENTS = ("network.host",)   # privileges that a Dockerfile cannot grant itself
COMPRESSIONS = ("none", "gzip", "zstd")
DOCUMENTS = ("manifest", "index", "manifest-descriptor")   # that annotations can be added to
LATEST = 253402300799   # seconds since 1970: the last time that RFC 3339 can express


class Output:
    """One output: ``kind`` as below; ``path`` to write to, "-" for standard output; ``push``: push the image's tags.

    ``local``  the root filesystem in a directory      ``tar``    the root filesystem in an archive
    ``oci``    the image as an image layout's archive  ``docker`` the image as `docker save` writes it
    ``image``  the image in the local store            ``registry``  the same, and pushed
    """

    __slots__ = ("kind", "path", "push")

    KINDS = ("local", "tar", "oci", "docker", "image", "registry")

    def __init__(self, kind: str, path: str, *, push: bool = False) -> None:
        self.kind = kind
        self.path = path
        self.push = push


class BuildRequest:
    """What to build, from what, and how. Every attribute may be set before the build.

    ``context``      a directory, the URL of a git repository, or "-": a tar archive or a Dockerfile on standard input
    ``dockerfile``   its path; "-" is standard input, "" Dockerfile or Containerfile in the context
    ``tags``         names of the image                      ``target``     the stage to build; "" is the last stage
    ``arguments``    values of ARG                           ``contexts``   named contexts: directories, git URLs or
                                                             docker-image://NAME
    ``platforms``    target platforms; none: the host's      ``outputs``    none: the image in the local store
    ``labels``       of the image                            ``annotations``  by document, one of DOCUMENTS
    ``cache_from``, ``cache_to``  where the build cache is imported from and exported to
    ``use_cache``    use the build cache                     ``no_cache``   names of stages that do not use it
    ``pull``         always pull base images                 ``push``, ``load``  push the tags; load into the local
                                                             store despite other outputs
    ``squash``       make one layer of the new layers        ``compression``  of new layers, one of COMPRESSIONS
    ``epoch``        SOURCE_DATE_EPOCH: no file and no document is newer
    ``network``      of RUN: a network's name, default, host or none
    ``hosts``        NAME:ADDRESS for /etc/hosts of RUN      ``allow``      of ENTITLEMENTS
    ``secrets``      by ID, for RUN --mount=type=secret      ``agents``     SSH agents' sockets by ID, for type=ssh
    ``shm_size``     bytes of /dev/shm of RUN                ``rlimits``    process.rlimits of RUN
    ``cgroup_parent``  the parent cgroup of RUN's containers; "" is the default
    """

    def __init__(self, context: str = ".") -> None:
        self.context = context
        self.dockerfile = ""
        self.tags: list[str] = []
        self.target = ""
        self.arguments: dict[str, str] = {}
        self.contexts: dict[str, str] = {}
        self.platforms: list[Platform] = []
        self.outputs: list[Output] = []
        self.labels: dict[str, str] = {}
        self.annotations: dict[str, dict[str, str]] = {}
        self.cache_from: list[CachePlace] = []
        self.cache_to: list[CachePlace] = []
        self.use_cache = True
        self.no_cache: frozenset[str] = frozenset()
        self.pull = False
        self.push = False
        self.load = False
        self.squash = False
        self.compression = "none"
        self.epoch: int | None = None
        self.network = "default"
        self.hosts: list[str] = []
        self.allow: frozenset[str] = frozenset()
        self.secrets: dict[str, bytes] = {}
        self.agents: dict[str, str] = {}
        self.shm_size = 64 << 20
        self.rlimits: list[dict[str, Any]] = []
        self.cgroup_parent = ""

    @property
    def is_pushed(self) -> bool:
        """Whether the tags are pushed."""
        return self.push or any(output.push for output in self.outputs)

    @property
    def has_inline_cache(self) -> bool:
        """Whether the image holds its build cache."""
        return any(place.kind == "inline" for place in self.cache_to)

    def check(self) -> None:
        """Raise UsageError for values that are invalid or exclude each other."""
        if isinstance(self.tags, str):
            raise UsageError(f'tags "{self.tags}": give a list of names')
        for name in self.tags:
            Reference.parse(name)
        if self.is_pushed and not self.tags:
            raise UsageError("a push needs a name: tag the image as REGISTRY/NAME:TAG")
        if len(self.platforms) > 1:
            for output in self.outputs:
                if output.kind in ("docker", "tar"):
                    raise UsageError(f"an output of type={output.kind} holds one image, not {len(self.platforms)}"
                                     " platforms: use type=oci or type=local, or build each platform by itself")
        if self.squash and self.has_inline_cache:
            raise UsageError("a squashed image has no layers of steps, so it cannot hold an inline cache: export the"
                             " cache with type=registry or type=local")
        if self.compression not in COMPRESSIONS:
            raise UsageError(f'compression "{self.compression}": use {", ".join(COMPRESSIONS)}')
        if unknown := sorted(self.allow - set(ENTITLEMENTS)):
            raise UsageError(f'unknown entitlement "{unknown[0]}": use {", ".join(ENTITLEMENTS)}')
        if self.epoch is not None and not 0 <= self.epoch <= LATEST:
            raise UsageError(f"SOURCE_DATE_EPOCH {self.epoch}: use seconds since 1970, before the year 10000")


class BuildResult:
    """The result of a build: ``image_id`` and ``descriptor`` of the image, or of the index of several platforms (empty
    and None if only files were written), its full ``names``, and the ``warnings`` about the Dockerfile."""

    __slots__ = ("descriptor", "image_id", "names", "warnings")

    def __init__(self, warnings: list[str]) -> None:
        self.warnings = warnings
        self.image_id = ""
        self.descriptor: Descriptor | None = None
        self.names: list[str] = []
