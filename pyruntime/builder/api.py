"""The library: what `pyimage build` and `pocker build` do, as typed calls.

    from pyruntime import Builder, BuildRequest, ImageStore

    request = BuildRequest("./app")
    request.tags = ["app:1"]
    print(Builder(ImageStore()).build(request).image_id)

Nothing is printed: a BuildProgress observes the steps, and warnings go to the ImageStore's ``warn``. Every error is one
of pyruntime.errors.
"""

from __future__ import annotations

from pyruntime.builder.cache.connect import Connections
from pyruntime.builder.cache.imports import Caches
from pyruntime.builder.context import open_context
from pyruntime.builder.graph.execute import Execution, ExecutionOptions, sweep
from pyruntime.builder.graph.plan import BuildPlan
from pyruntime.builder.outputs import deliver, steps_of
from pyruntime.builder.progress import BuildProgress
from pyruntime.builder.request import BuildResult
from pyruntime.builder.steps import network
from pyruntime.builder.steps.mounts import Secrets
from pyruntime.builder.steps.origins import Origins, Remote
from pyruntime.builder.steps.run import RunOptions
from pyruntime.errors import ImageError, NoSuchImage, PyruntimeError
from pyruntime.images.copy import image_of
from pyruntime.images.lookup import find
from pyruntime.images.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyruntime.builder.request import BuildRequest
    from pyruntime.builder.steps.tree import Tree
    from pyruntime.images.api import ImageStore
    from pyruntime.images.lookup import Image
    from pyruntime.images.progress import Progress
    from pyruntime.networks.site import Site


class Builder:
    """Builds images from Dockerfiles.

    ``images``  the local store and the registries
    ``site``    the networks that RUN can use; None: those of `pocker network`
    ``driver``  the storage driver of the steps' root filesystems; "" is the best available
    """

    def __init__(self, images: ImageStore, site: Site | None = None, *, driver: str = "") -> None:
        self._images = images
        self._site = site or network.own_site()
        self._driver = driver

    def build(self, request: BuildRequest, progress: BuildProgress | None = None, *,
              transfers: Progress | None = None, delivered: Callable[[BuildResult], None] = lambda result: None
              ) -> BuildResult:
        """Build, deliver the outputs, then export the build cache. ``transfers`` observes pushes; ``delivered`` is
        called before the export, which may fail. Raises UsageError, BuildError and the errors of images and networks.
        """
        return self._run(request, progress or BuildProgress(), transfers, delivered)

    def check(self, request: BuildRequest) -> list[str]:
        """Check the Dockerfile without building; the warnings. Raises BuildError for an invalid Dockerfile."""
        return self._run(request, None, None, lambda result: None).warnings

    def _run(self, request: BuildRequest, progress: BuildProgress | None, transfers: Progress | None,
             delivered: Callable[[BuildResult], None]) -> BuildResult:
        """Build, or with no ``progress`` only read the Dockerfile."""
        request.check()
        store, warn = self._images.store, self._images.warn
        options = self._options(request)
        sweep(options.run, warn)
        connections = Connections(self._images)
        with store.lease(), Origins(store, request.contexts, pull=self._pull, always_pull=request.pull) as origins, \
                Caches(store, request.cache_from, connections.source, warn) as caches:
            context = open_context(request.context, request.dockerfile, origins.scratch, warn)
            wanted: Sequence[Platform | None] = request.platforms or [None]
            plans = [BuildPlan(context.text, context.name, origins, arguments=self._arguments(request),
                          target=request.target, platform=platform, contexts=request.contexts) for platform in wanted]
            result = BuildResult(list(dict.fromkeys(warning for plan in plans for warning in plan.warnings())))
            for warning in result.warnings:
                warn(warning)
            if progress is None:
                return result
            built = self._execute(plans, context.tree, origins, options, caches, progress)
            steps = steps_of(built, options.epoch)
            deliver(self._images, request, built, result, transfers)
            delivered(result)
            number = built[-1].number
            # Last, so that a failed export does not lose the build.
            for place in request.cache_to:
                if place.kind != "inline":   # the image holds that one already
                    number += 1
                    progress.begin(number, f"exporting cache to {place}")
                    is_written = False
                    try:
                        is_written = connections.export(place, steps, caches)
                    finally:
                        progress.end(number, "done" if is_written else "failed")
            return result

    def _execute(self, plans: list[BuildPlan], tree: Tree, origins: Origins, options: ExecutionOptions, caches: Caches,
                 progress: BuildProgress) -> list[Execution]:
        """Build one platform after the other, so that common steps come from the build cache."""
        built: list[Execution] = []
        for plan in plans:
            label = str(plan.platform) if len(plans) > 1 else ""
            built.append(Execution(plan, self._images.store, tree, origins, options, caches, progress,
                                   self._images.warn, label=label, number=built[-1].number if built else 0))
            built[-1].run()
        return built

    def _options(self, request: BuildRequest) -> ExecutionOptions:
        run = RunOptions(self._site)
        run.shm_size = request.shm_size
        run.ulimits = request.rlimits
        run.cgroup_parent = request.cgroup_parent
        options = ExecutionOptions(run)
        options.allowed = request.allow
        options.driver = self._driver
        options.cache = request.use_cache
        options.no_cache = request.no_cache
        options.epoch = request.epoch
        options.network = network.check(self._site, request.network)
        options.hosts = request.hosts
        options.secrets = Secrets(request.secrets, request.agents)
        return options

    @staticmethod
    def _arguments(request: BuildRequest) -> dict[str, str]:
        arguments = dict(request.arguments)
        if request.epoch is not None:
            arguments.setdefault("SOURCE_DATE_EPOCH", str(request.epoch))
        return arguments

    def _pull(self, name: str, platform: Platform | None, always: bool) -> tuple[Image, Remote | None]:
        """An image, and the source of its layers if the local store lacks some of them."""
        store = self._images.store
        lacking = None
        if not always:
            try:
                image = _suitable(find(store, name, platform), name, platform)
                if all(store.has(blob.digest) for blob in image.manifest.references()):
                    return image, None
            except NoSuchImage:
                pass   # the registry may have it
            except ImageError as error:
                if platform is None:
                    raise
                lacking = error
        try:
            source = self._images.remote(name)
            try:
                return (_suitable(image_of(source, platform), name, platform),
                        Remote(store, source, platform, self._images.warn))
            except BaseException:
                source.close()
                raise
        except PyruntimeError as error:
            if lacking is not None:
                raise ImageError(f"local store: {lacking}; registry: {error}") from None
            raise


def _suitable(image: Image, name: str, platform: Platform | None) -> Image:
    """The image; raises ImageError if it is for another platform than the wanted one: an image without an index is
    selected by its name only."""
    there = Platform.of(image.config.document)
    if platform and there and not platform.runs(there):
        raise ImageError(f'{name}: there is no image for "{platform}"; there is "{there}"')
    return image
