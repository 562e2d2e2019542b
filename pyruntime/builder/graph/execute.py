"""Executes a plan: independent stages in parallel, each step in a process of its own.

This process looks up the cache, forks workers for the other steps, and shows their output; it waits in one place.
"""

from __future__ import annotations

import os
import select

from pyruntime.builder.cache.digests import Known
from pyruntime.builder.cache.imports import Lost
from pyruntime.builder.graph.plan import COMMENT, StagePlan
from pyruntime.builder.graph.step_keys import StepKeys
from pyruntime.builder.steps import network
from pyruntime.builder.steps.mounts import Secrets
from pyruntime.builder.steps.run import RunOptions
from pyruntime.builder.steps.tree import Tree
from pyruntime.builder.steps.worker import Work, Worker
from pyruntime.builder.steps.workspace import layers_of
from pyruntime.errors import BuildError, PyruntimeError
from pyruntime.images import media
from pyruntime.images.digest import of
from pyruntime.images.document import Descriptor
from pyruntime.images.make import timestamp
from pyruntime.images.platform import Platform
from pyruntime.images.store import steps
from pyruntime.images.store.steps import Made
from pyruntime.runtime.api import Runtime
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.builder.cache.imports import Caches
    from pyruntime.builder.graph.plan import BuildPlan, BuildStep
    from pyruntime.builder.progress import BuildProgress
    from pyruntime.builder.steps.origins import Origins
    from pyruntime.images.lookup import Image
    from pyruntime.images.store.leases import Lease
    from pyruntime.images.store.store import Store


class ExecutionOptions:
    """How a build is executed.

    ``allowed``   entitlements: network.host
    ``cache``     False: no step uses the cache; ``no_cache``: names of stages that do not use it
    ``driver``    the storage driver of the steps' root filesystems; "": the best available
    ``epoch``     SOURCE_DATE_EPOCH: later times become this time; None: times are kept
    ``network``   of RUN without --network (pyruntime.builder.steps.network)
    ``hosts``     NAME:ADDRESS for /etc/hosts
    ``workers``   maximum number of steps at once
    """

    __slots__ = ("allowed", "cache", "driver", "epoch", "hosts", "network", "no_cache", "run", "secrets", "workers")

    def __init__(self, run: RunOptions) -> None:
        self.run = run
        self.allowed: frozenset[str] = frozenset()
        self.cache = True
        self.no_cache: frozenset[str] = frozenset()
        self.driver = ""
        self.epoch: int | None = None
        self.network = "default"
        self.hosts: list[str] = []
        self.secrets = Secrets({}, {})
        self.workers = max(2, os.cpu_count() or 1)


class StageState:
    """The progress of a stage: its ``chain`` of layers (diffID, chainID, descriptor), the ``history`` entries of the
    stage and its base, and the number of the base's layers."""

    __slots__ = ("base_layers", "chain", "created", "done", "history", "next", "number", "plan", "total")

    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan
        self.chain: list[tuple[str, str, Descriptor]] = []
        self.history: list[dict[str, Any]] = []
        self.created = ""      # of the last layer
        self.next = -1         # the base first
        self.done = False
        self.base_layers = 0
        self.number = 1
        self.total = 1 + sum(step.kind != "config" for step in plan.steps)


class Execution:
    """One build for one platform."""

    def __init__(self, plan: BuildPlan, store: Store, context: Tree, origins: Origins, options: ExecutionOptions,
                 caches: Caches, progress: BuildProgress, warn: Callable[[str], None], *, label: str = "",
                 number: int = 0) -> None:
        """``label`` precedes titles; ``number``: steps shown before."""
        self.plan = plan
        self.store = store
        self.context = context
        self.origins = origins
        origins.agents = options.secrets.agents
        self.options = options
        self.progress = progress
        self.caches = caches
        self.warn = warn
        self.label = label
        self.number = number
        self.known = Known(store.layout)
        self._keys = StepKeys(self.known, context, origins, options.hosts, options.epoch)
        self.stages = {stage.index: StageState(stage) for stage in plan.stages}
        self._lease: Lease = store.lease()
        self.used: dict[str, Made] = {}   # by every key
        self._elsewhere: dict[str, dict[str, Made]] = {}   # records of layers in other caches, by diffID and key
        self._again = False
        self._images: dict[str, list[tuple[str, str, Descriptor]]] = {}

    @property
    def result(self) -> StageState:
        """The state of the target stage."""
        return self.stages[self.plan.target.index]

    def run(self) -> StageState:
        """Build; the state of the target stage, whose layers are in the store. The caller holds the store's lease.
        Raises BuildError and others."""
        self._forbid()
        running: dict[StageState, tuple[Worker, BuildStep, int, list[str]]] = {}
        life = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                self._loop(running, life)
            finally:
                for worker, _, _, _ in running.values():
                    worker.end(kill=True)
        finally:
            os.close(life[0])
            os.close(life[1])
            try:
                self.known.save()
            except OSError as error:
                self.warn(f"cannot save the digests of files: {error.strerror}")
        return self.result

    def _forbid(self) -> None:
        """Refuse steps that use the host's network without permission: the Dockerfile may be untrusted."""
        if self.options.network == "host" or "network.host" in self.options.allowed:
            return
        for stage in self.plan.stages:
            for step in stage.steps:
                if step.kind == "run" and step.data.network == "host":
                    raise self._placed(step, BuildError("RUN --network=host needs the entitlement network.host: give"
                                                        " --allow network.host, or --network host"))

    def _loop(self, running: dict[StageState, tuple[Worker, BuildStep, int, list[str]]], life: tuple[int, int]) -> None:
        poll = select.poll()
        readers: dict[int, tuple[StageState, bool]] = {}
        while True:
            for state in self.stages.values():
                while state not in running and not state.done and len(running) < self.options.workers \
                        and not self._again:
                    started = self._advance(state, life)
                    if started is None:
                        break
                    if isinstance(started, tuple):
                        running[state] = started
                        for fd, is_output in ((started[0].output, True), (started[0].result, False)):
                            readers[fd] = (state, is_output)
                            poll.register(fd, select.POLLIN)
            if not running and self._again:
                self._begin_again()
                continue
            if not running:
                if all(state.done for state in self.stages.values()):
                    try:
                        self._bring(self.result.chain)
                    except Lost:
                        self._again = True
                        continue
                    return
                raise BuildError("the stages depend on each other in a cycle")
            for fd, _ in poll.poll():
                state, is_output = readers[fd]
                worker, step, number, _ = running[state]
                more = self._hear(worker, step, number, is_output=is_output)
                if not more:
                    poll.unregister(fd)
                    del readers[fd]
                    if not any(other is state for other, _ in readers.values()):
                        self._finish(running, state)

    def _hear(self, worker: Worker, step: BuildStep, number: int, *, is_output: bool) -> bool:
        if is_output:
            lines, more = worker.lines()
            for line in lines:
                self.progress.output(number, line)
            return more
        try:
            return worker.hear(self.warn)
        except PyruntimeError as error:
            more = True
            while more:   # the last lines of output explain most
                lines, more = worker.lines()
                for line in lines:
                    self.progress.output(number, line)
            self.progress.end(number, "failed")
            raise self._placed(step, self._foreign(step, error)) from None

    def _foreign(self, step: BuildStep, error: PyruntimeError) -> PyruntimeError:
        """The error with an explanation of ENOEXEC, which execve(2) gives for a program of another platform."""
        platform = next(state.plan.platform for state in self.stages.values() if step in state.plan.steps)
        host = Platform.host()
        if step.kind != "run" or host.runs(platform) or "exec format error" not in str(error):
            return error
        return BuildError(f"{error}\n  programs for {platform} do not run on this host, which is {host}, unless the"
                          " kernel has an emulator for them (binfmt_misc): install qemu-user-static, or build on a"
                          f" {platform} host")

    def _placed(self, step: BuildStep, error: PyruntimeError) -> BuildError:
        """The error with the lines of the Dockerfile."""
        source, place = self.plan.source, step.place
        lines = source.lines[place.line - 1:place.last][:12]
        if step.instruction.line.pinned:
            lines.append(f"ONBUILD {step.title}")
        shown = "".join(f"\n  {line}" for line in lines)
        return BuildError(f"{source.name}:{place.line}: {error}{shown}", f"{source.name}:{place.line}")

    def _finish(self, running: dict[StageState, tuple[Worker, BuildStep, int, list[str]]], state: StageState) -> None:
        worker, step, number, found = running.pop(state)
        worker.end(kill=False)
        if worker.made is None:
            self.progress.end(number, "failed")
            raise self._placed(step, BuildError("the process that executed the step was killed; was there enough"
                                                " memory?"))
        self._lease.add(worker.made.descriptor.digest)
        if worker.kept:
            self.used.update(dict.fromkeys(found, worker.made))
        self.progress.end(number, "done")
        self._take(state, step, worker.made)

    # ---- stages ---------------------------------------------------------------------------------

    def _advance(self, state: StageState, life: tuple[int, int]
                 ) -> tuple[Worker, BuildStep, int, list[str]] | bool | None:
        """Advance a stage by one step: True if the step is done, a worker if it is running, None if the stage waits for
        another one or has ended."""
        if state.next < 0:
            return self._begin(state)
        if state.next == len(state.plan.steps):
            state.done = True
            return None
        step = state.plan.steps[state.next]
        if step.kind == "config":
            state.history.append({"created": state.created, "created_by": step.created_by, "comment": COMMENT,
                                  "empty_layer": True})
            state.next += 1
            return True
        if any(not self.stages[stage.index].done for stage in self._needs(state, step)):
            return None
        try:
            return self._step(state, step, life)
        except Lost:
            self._again = True
            return None
        except OSError as error:
            name = os.fsdecode(error.filename) if error.filename else "reading"
            raise self._placed(step, BuildError(f"{name}: {error.strerror}")) from None
        except PyruntimeError as error:
            raise self._placed(step, error) from None

    def _begin(self, state: StageState) -> bool | None:
        base = state.plan.base
        if isinstance(base, StagePlan):
            below = self.stages[base.index]
            if not below.done:
                return None
            state.chain, state.history = list(below.chain), list(below.history)
            state.created, state.base_layers = below.created, below.base_layers
        elif base is not None:
            self._title(state, f"FROM {state.plan.origin}", "done")
            state.chain, state.history = base.layers(), list(base.config.history)
            state.base_layers = len(state.chain)
            state.created = str(base.config.document.get("created") or "")
            self._lease.add(base.descriptor.digest, *(blob.digest for blob in base.manifest.references()))
        state.next = 0
        return True

    def _title(self, state: StageState, text: str, outcome: str = "") -> int:
        self.number += 1
        name = state.plan.name if len(self.plan.stages) > 1 else ""
        words = " ".join(word for word in (self.label, name, f"{state.number}/{state.total}") if word)
        self.progress.begin(self.number, f"[{words}] {text}")
        if outcome:
            self.progress.end(self.number, outcome)
        return self.number

    def _needs(self, state: StageState, step: BuildStep) -> list[StagePlan]:
        """The stages that a step copies or mounts files from."""
        names = [step.data.origin] if step.kind == "copy" else \
            [mount.origin for mount in step.data.mounts] if step.kind == "run" else []
        found = [self.plan.origin(name, state.plan.index) for name in names
                 if name and not self.origins.is_context(name)]
        return [stage for stage in found if stage is not None]

    def _step(self, state: StageState, step: BuildStep, life: tuple[int, int]
              ) -> tuple[Worker, BuildStep, int, list[str]] | bool:
        if step.kind == "run" and step.data.network == "default":
            step.data.network = self.options.network
        state.number += 1
        number = self._title(state, step.title.partition("\n")[0])
        try:
            work = Work(step, state.chain, [], self.store.root, self.options.run)
            fast = self._key(state, step, work)
            cached = self.options.cache and state.plan.name not in self.options.no_cache
            work.keys = [fast] if fast else []
            made = self._find(state, step, fast) if cached and fast else None
            if made is None:
                slow = self._key_by_content(state, step, work)
                if slow and slow != fast:
                    work.keys.append(slow)
                    made = self._find(state, step, slow) if cached else None
                    if made is not None and fast:
                        made.keys = work.keys
                        self._remember([fast], made)
            elif made.keys:
                work.keys = made.keys   # the key by content is exported too, although it was not looked up
            if made is None:
                for chain in ([] if step.kind == "copy" and step.data.alone else state.chain, *work.origins.values()):
                    if isinstance(chain, list):
                        self._bring(chain)
        except Lost:
            self.progress.end(number, "again")
            raise
        except BaseException:
            self.progress.end(number, "failed")
            raise
        if made is not None:
            self.used.update(dict.fromkeys(work.keys, made))
            self.progress.end(number, "cached")
            self._take(state, step, made)
            return True
        if any(isinstance(tree, Tree) and tree.live for tree in (*work.trees.values(), *work.origins.values())):
            work.changed = lambda: self._changed(state, step, fast)
        work.cached = cached
        work.epoch = self.options.epoch
        work.driver = self.options.driver
        work.hosts = self.options.hosts
        work.secrets = self.options.secrets
        return Worker(work, life), step, number, work.keys

    # ---- the cache ------------------------------------------------------------------------------

    def _find(self, state: StageState, step: BuildStep, key: str) -> Made | None:
        made = steps.find(self.store.layout, key, self._lease)
        if made is not None:
            return made
        for place in list(self.caches.waiting):
            self.number += 1
            number = self.number
            self.progress.begin(number, f"importing cache from {place}")
            self.progress.end(number, "done" if self.caches.look(place) else "failed")
        record = self.caches.find(key)
        if record is None:
            return None
        self._lease.add(record.diff_id)
        record = self.caches.find(key)   # the gc may have removed the layer before
        if record is None:
            return None
        made = Made(Descriptor(media.layer_type("none"), record.diff_id, record.size), record.diff_id,
                    _chain_id(state, record.diff_id), step.title, record.created, record.keys)
        self._remember(record.keys, made)
        return made

    def _remember(self, names: list[str], made: Made) -> None:
        """Write records now, or for a layer that is not in the store when it has been fetched."""
        if self.store.has(made.descriptor.digest):
            for key in names:
                steps.write(self.store.layout, key, made)
        else:
            self._elsewhere.setdefault(made.diff_id, {}).update(dict.fromkeys(names, made))

    def _bring(self, chain: list[tuple[str, str, Descriptor]]) -> None:
        """Fetch the layers into the store. Raises Lost, and the errors of a pull."""
        self.origins.bring([descriptor for _, _, descriptor in chain], self._fetching)
        waiting = list(dict.fromkeys(diff_id for diff_id, _, _ in chain if diff_id in self._elsewhere))
        if missing := self.caches.missing(waiting):
            end = self._fetching(f"{len(missing)} layer{'s' if len(missing) > 1 else ''} of the cache")
            try:
                self.caches.bring(missing)
            except Lost:
                end("failed")
                raise
            end("done")
        for diff_id in waiting:
            for key, made in self._elsewhere.pop(diff_id).items():
                steps.write(self.store.layout, key, made)

    def _fetching(self, what: str) -> Callable[[str], None]:
        self.number += 1
        number = self.number
        self.progress.begin(number, f"fetching {what}")
        return lambda outcome: self.progress.end(number, outcome)

    def _begin_again(self) -> None:
        """A cache did not deliver a layer: look up every step again. Steps executed meanwhile are in the local cache.
        """
        self._again = False
        self._elsewhere = {}
        self.used = {}
        self.stages = {index: StageState(state.plan) for index, state in self.stages.items()}

    def _take(self, state: StageState, step: BuildStep, made: Made) -> None:
        state.chain.append((made.diff_id, _chain_id(state, made.diff_id), made.descriptor))
        state.created = made.created if self.options.epoch is None else timestamp(self.options.epoch)
        state.history.append({"created": state.created, "created_by": step.created_by, "comment": COMMENT})
        state.next += 1

    # ---- keys -----------------------------------------------------------------------------------

    def _key(self, state: StageState, step: BuildStep, work: Work) -> str:
        return self._keys.by_layers(step, state.chain, lambda origin: self._chain(state, origin), work)

    def _changed(self, state: StageState, step: BuildStep, key: str) -> bool:
        """Whether the key has changed. Called by the worker when it has read its files."""
        self.known.once_more = True
        try:
            return self._key(state, step, Work(step, [], [], "", self.options.run)) != key
        except (PyruntimeError, OSError):
            return True

    def _key_by_content(self, state: StageState, step: BuildStep, work: Work) -> str:
        """The key by the content of the files from a stage or an image; "" if the step copies none."""
        chain = self._chain(state, step.data.origin) if step.kind == "copy" else None
        if chain is None:
            return ""
        self._bring(chain)
        tree = self.origins.view(f'"{step.data.origin}"', layers_of(self.store, chain, self.warn))
        return self._keys.by_content(step, state.chain, tree, work)

    def _chain(self, state: StageState, origin: str) -> list[tuple[str, str, Descriptor]] | None:
        """The layers of --from; None for a context."""
        if not origin or self.origins.is_context(origin):
            return None
        stage = self.plan.origin(origin, state.plan.index)
        if stage is not None:
            return self.stages[stage.index].chain
        if origin not in self._images:
            image: Image = self.origins.image(origin, state.plan.platform)
            self._lease.add(image.descriptor.digest, *(blob.digest for blob in image.manifest.references()))
            self._images[origin] = image.layers()
        return self._images[origin]


def _chain_id(state: StageState, diff_id: str) -> str:
    """The chainID of a layer on top of a stage."""
    return of(f"{state.chain[-1][1]} {diff_id}".encode()) if state.chain else diff_id


def sweep(options: RunOptions, warn: Callable[[str], None]) -> None:
    """End the containers of killed builds, and release their addresses."""
    runtime = Runtime(options.root)
    for name in os.listdir(options.root) if os.path.isdir(options.root) else ():
        words = name.split(".")
        if len(words) == 3 and words[0] == "pocker-build" and words[1].isdigit() and words[2].isdigit() and \
                start_time(int(words[1])) != int(words[2]):
            runtime.delete(name, force=True)
    network.sweep(options.site, warn)
