"""Cache keys: the digest of everything that a step's result depends on.

below     the chainID of the files below (empty for COPY --link, which does not depend on them)
words     the expanded instruction: program, variables, user, directory, mounts, flags
inputs    digests of content from elsewhere (``cache.digests``); never times, never owners of a local context

Secrets, SSH agents, the content of cache mounts, and proxy variables are not part of the key.

A COPY from a stage or an image has two keys. The first contains the digest of its layers, and is known without these
layers; the second contains the digest of the copied files: a change of other files there does not invalidate it.
"""

from __future__ import annotations

from pyruntime.builder.cache.digests import Known, of_sources
from pyruntime.builder.steps.origins import is_url, text_digest
from pyruntime.builder.steps.tree import literal
from pyruntime.builder.steps.tree import select as select_sources
from pyruntime.builder.steps.worker import Work, exclusion
from pyruntime.images.digest import of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.builder.graph.plan import BuildStep
    from pyruntime.builder.steps.origins import Origins
    from pyruntime.builder.steps.tree import Tree
    from pyruntime.images.document import Descriptor

    Chain = list[tuple[str, str, Descriptor]]   # diffID, chainID and descriptor of each layer
    ChainOf = Callable[[str], Chain | None]     # the layers of a --from; None for a context

_VERSION = "1"   # changed when the result of a step of the same key changes


class StepKeys:
    """The keys of a build's steps. ``known`` has the digests of files, ``hosts`` are those of --add-host, and ``epoch``
    is SOURCE_DATE_EPOCH, which limits the times in layers."""

    def __init__(self, known: Known, context: Tree, origins: Origins, hosts: list[str], epoch: int | None) -> None:
        self._known = known
        self._context = context
        self._origins = origins
        self._hosts = hosts
        self._epoch = epoch

    def by_layers(self, step: BuildStep, below: Chain, chain_of: ChainOf, work: Work) -> str:
        """The key that does not depend on the content of stages and images; ``work`` gets what the worker needs."""
        inputs: list[str] = []
        if step.kind == "copy":
            inputs = self._copy_inputs(step, chain_of, work)
        elif step.kind == "run":
            inputs = [self._mount_input(mount.origin, mount.source, chain_of, work, content=mount.kind == "bind")
                      for mount in step.data.mounts if mount.kind == "bind" or (mount.kind == "cache" and mount.origin)]
        return self._key(step, below, inputs)

    def by_content(self, step: BuildStep, below: Chain, tree: Tree, work: Work) -> str:
        """The key of a COPY from a stage or an image, by the content of the files in its ``tree``."""
        inputs = [text_digest(f"{name}\0{content}") for name, content in step.data.files]
        for source in step.data.sources:
            work.trees[source] = tree
            inputs.append(self._copied(step, tree, source))
        return self._key(step, below, inputs)

    def _key(self, step: BuildStep, below: Chain, inputs: list[str]) -> str:
        words = [*step.words, step.data.network, *self._hosts] if step.kind == "run" else [*step.words, ""]
        base = "" if not below or (step.kind == "copy" and step.data.alone) else below[-1][1]
        return _digest(step.kind, base, words, inputs, latest=self._epoch)

    def _copied(self, step: BuildStep, tree: Tree, source: str) -> str:
        exclude = exclusion(step.data.exclude)
        return of_sources(self._known, select_sources(tree, [source], exclude, parents=step.data.parents), exclude)

    def _copy_inputs(self, step: BuildStep, chain_of: ChainOf, work: Work) -> list[str]:
        data = step.data
        inputs = [text_digest(f"{name}\0{content}") for name, content in data.files]
        chain = chain_of(data.origin)
        if chain is not None:
            return [*inputs, f"layers {chain[-1][1] if chain else ''}"]
        for source in data.sources:
            if data.add and is_url(source):
                inputs.append(self._downloaded(step, source, work))
                continue
            tree = self._origins.context(data.origin) if data.origin else self._context
            work.trees[source] = tree
            inputs.append(self._copied(step, tree, source))
        return inputs

    def _downloaded(self, step: BuildStep, source: str, work: Work) -> str:
        """The input of ADD with a URL; a single file has the time of its server."""
        tree = self._origins.fetched(source, checksum=step.data.checksum, keep_git=step.data.keep_git)
        work.trees[source] = tree
        exclude = exclusion(step.data.exclude)
        found = select_sources(tree, [tree.single or "."], exclude)
        return of_sources(self._known, found, exclude) + (str(found[0].found.st_mtime_ns) if tree.single else "")

    def _mount_input(self, origin: str, source: str, chain_of: ChainOf, work: Work, *, content: bool) -> str:
        chain = chain_of(origin)
        if chain is not None:
            work.origins[origin] = chain
            return f"layers {chain[-1][1] if chain else ''}" if content else ""
        tree = self._origins.context(origin) if origin else self._context
        work.origins[origin] = tree
        return of_sources(self._known, [literal(tree, source)]) if content else ""


def _digest(kind: str, below: str, words: list[str], inputs: list[str], *, latest: int | None) -> str:
    """64 hexadecimal digits."""
    parts = [_VERSION, kind, below, str(latest), str(len(words)), *words, str(len(inputs)), *inputs]
    raw = [part.encode("utf-8", "surrogateescape") for part in parts]
    return of(b"".join(b"%d:%s" % (len(text), text) for text in raw)).partition(":")[2]
