"""Sources of files other than the build context: stages, images, named contexts, downloads."""

from __future__ import annotations

import os

from pyruntime.builder.context import Scratch, check_out, git, git_source, is_git, open_named
from pyruntime.builder.steps.tree import Tree
from pyruntime.errors import BuildError, RegistryError, words
from pyruntime.images.digest import Verifier, check, of
from pyruntime.images.lookup import key
from pyruntime.images.platform import Platform
from pyruntime.images.receive import receive
from pyruntime.images.registry.http import PIECE, Transport
from pyruntime.images.registry.settings import RegistrySettings
from pyruntime.images.registry.url import Url
from pyruntime.images.snapshots.view import View
from pyruntime.images.store import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.document import Descriptor
    from pyruntime.images.lookup import Image
    from pyruntime.images.store.layers import Layers
    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.registry import RegistrySource

_REMOTE = ("http://", "https://", "git://", "ssh://", "git@")
_SHORT = 7       # minimum number of digits of a commit
_PATIENCE = 60   # seconds for the head of a response, and without data


class Remote:
    """A registry image of which only the documents were read: the tag is resolved, and the layers can be fetched."""

    def __init__(self, store: Store, source: RegistrySource, platform: Platform | None, warn: Callable[[str], None]
                 ) -> None:
        self.name = source.label
        self._store = store
        self._source = source
        self._platform = platform
        self._warn = warn

    def bring(self) -> None:
        """Pull the image into the store, with its name. Raises the errors of a pull."""
        receive(self._store, self._source, [key(self._source.reference)], platform=self._platform,
                warn=self._warn)

    def close(self) -> None:
        """Close the connections."""
        self._source.close()


class Origins:
    """The images and contexts of one build; each is resolved once. A context manager."""

    def __init__(self, store: Store, contexts: dict[str, str], *,
                 pull: Callable[[str, Platform | None, bool], tuple[Image, Remote | None]], always_pull: bool = False
                 ) -> None:
        """``contexts``: named contexts; ``pull(reference, platform, always)`` returns an image, and the source of its
        layers if they are not in the store."""
        self._store = store
        self._contexts = contexts
        self._pull = pull
        self._always = always_pull
        self._images: dict[tuple[str, str], Image] = {}
        self._trees: dict[str, Tree] = {}
        self._views: list[View] = []
        self._scratches: list[Scratch] = []
        self._remotes: list[Remote] = []
        self._waiting: dict[str, Remote] = {}   # by the digest of a layer's archive
        self._fetched: dict[tuple[str, str], Tree] = {}
        self.agents: dict[str, str] = {}   # --ssh: the agents that ADD may use

    def __enter__(self) -> Origins:
        return self

    def __exit__(self, *_: object) -> None:
        for view in self._views:
            view.__exit__()
        for scratch in self._scratches:
            scratch.__exit__()
        for remote in self._remotes:
            remote.close()

    def scratch(self) -> Scratch:
        """A temporary directory for the build."""
        made = Scratch(self._store.layout)
        self._scratches.append(made)
        return made

    # ---- images ---------------------------------------------------------------------------------

    def image(self, name: str, platform: Platform | None) -> Image:
        """The image of a FROM or a --from. Its layers may still be in a registry: see ``bring``. Raises the errors of a
        pull."""
        asked = self._contexts.get(name, "")
        if asked and not asked.startswith("docker-image://"):
            raise BuildError(f'"{name}" is a build context, not an image: a stage cannot be based on it')
        key = (name, str(platform or ""))
        if key not in self._images:
            reference = asked.removeprefix("docker-image://") or name
            self._images[key], remote = self._pull(reference, platform, self._always)
            if remote is not None:
                self._remotes.append(remote)
                for layer in self._images[key].manifest.layers:
                    self._waiting.setdefault(layer.digest, remote)
        return self._images[key]

    def bring(self, layers: list[Descriptor], begin: Callable[[str], Callable[[str], None]]) -> None:
        """Fetch these layers of images into the store. ``begin`` is called with the name of each image, and returns a
        function that is called with the outcome: "done" or "failed". Raises the errors of a pull."""
        for layer in layers:
            remote = self._waiting.get(layer.digest)
            if remote is not None and not self._store.has(layer.digest):
                end = begin(remote.name)
                try:
                    remote.bring()
                except BaseException:
                    end("failed")
                    raise
                end("done")
                self._waiting = {digest: other for digest, other in self._waiting.items() if other is not remote}

    def is_context(self, name: str) -> bool:
        """Whether the name is that of a named context, other than an image."""
        return name in self._contexts and not self._contexts[name].startswith("docker-image://")

    # ---- trees ----------------------------------------------------------------------------------

    def context(self, name: str) -> Tree:
        """A named context."""
        if name not in self._trees:
            tree = open_named(self._contexts[name], self.scratch)
            assert tree is not None
            tree.name = f'the context "{name}"'
            self._trees[name] = tree
        return self._trees[name]

    def view(self, name: str, layers: Layers) -> Tree:
        """The files of a stage or an image, read-only."""
        key = f"layers {layers.chain_ids[-1:]}"
        if key not in self._trees:
            if not layers.directories:
                path = f"{self.scratch().path}/empty"
                os.mkdir(path, 0o755)
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            else:
                view = View(self._store, layers)
                self._views.append(view)
                fd = view.fd
            self._trees[key] = Tree(fd, name)
        return self._trees[key]

    # ---- downloads ------------------------------------------------------------------------------

    def fetched(self, source: str, *, checksum: str, keep_git: bool) -> Tree:
        """The content of ADD's URL: a file, or a repository. Raises BuildError."""
        key = (source, checksum + str(keep_git))
        if key not in self._fetched:
            self._fetched[key] = self._clone(source, checksum, keep_git) if is_git(source) else \
                self._download(source, checksum)
        return self._fetched[key]

    def _clone(self, source: str, checksum: str, keep: bool) -> Tree:
        url, ref, below = git_source(source)
        if not url.startswith(_REMOTE):
            raise BuildError(f'"{url}" is a repository of the host, which a Dockerfile cannot use: make it the build'
                             " context, or give --build-context NAME=URL and COPY --from=NAME")
        scratch = self.scratch().path
        target = f"{scratch}/git"
        check_out(url, ref, target, self._stranger(scratch))
        commit = git("-C", target, "rev-parse", "HEAD").strip()
        if checksum and (len(checksum) < _SHORT or not commit.startswith(checksum.lower())):
            raise BuildError(f'"{source}" is the commit {commit}, not "{checksum}"')
        if not keep:
            trees.remove(f"{target}/.git")
        whole = Tree(os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), f'"{source}"', local=True)
        if not below:
            return whole
        try:
            whole.fd = whole.open(os.fsencode(below), os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise BuildError(f'"{below}" in "{url}": {os.strerror(error.errno or 0)}') from None
        return whole

    def _stranger(self, home: str) -> dict[str, str]:
        """The environment of a git without the user's credentials, except those of --ssh: a Dockerfile must not reach
        repositories with the keys and passwords of the user who builds it."""
        agent = next(iter(self.agents.values()), "none")
        return {"HOME": home, "XDG_CONFIG_HOME": home, "GIT_ASKPASS": "", "SSH_ASKPASS": "", "SSH_AUTH_SOCK": "",
                "GIT_SSH_COMMAND": f"ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none -o 'IdentityAgent={agent}'"}

    def _download(self, url: str, checksum: str) -> Tree:
        from email.utils import parsedate_to_datetime  # lazy: only for downloads
        from urllib.parse import unquote, urlsplit

        verifier = Verifier(check(checksum)) if checksum else None
        name = unquote(urlsplit(url).path).rpartition("/")[2]
        if not name or name in (".", ".."):
            raise BuildError(f'"{url}" does not end with a file name, which ADD needs')
        directory = f"{self.scratch().path}/file"
        os.mkdir(directory, 0o755)
        path = f"{directory}/{name}"
        try:
            with open(path, "xb") as file:
                modified = _get(url, file.write, verifier)
        except (RegistryError, OSError) as error:
            raise BuildError(f'"{url}": {words(error)}') from None
        if verifier is not None:
            verifier.done()
        when = 0.0
        if modified:
            try:
                when = parsedate_to_datetime(modified).timestamp()
            except ValueError:
                when = 0.0   # an invalid time
        os.chmod(path, 0o600)
        os.utime(path, (when, when))
        tree = Tree(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), f'"{url}"', local=True)
        tree.single = name
        return tree


def _get(url: str, write: Callable[[memoryview], object], verifier: Verifier | None) -> str:
    """Download a URL, with the limits for registries, without credentials; its Last-Modified. Raises RegistryError,
    DigestError."""
    transport = Transport(RegistrySettings(timeout=_PATIENCE))
    try:
        response = transport.request("GET", Url(url), {})
        try:
            if response.status != 200:
                raise RegistryError(f"HTTP {response.status}", response.status)
            view = memoryview(bytearray(PIECE))
            while count := response.readinto(view):
                write(view[:count])
                if verifier is not None:
                    verifier.update(view[:count])
            return response.header("Last-Modified")
        finally:
            response.close()
    finally:
        transport.close()


def is_url(source: str) -> bool:
    """Whether ADD downloads a source."""
    return source.startswith(("http://", "https://")) or is_git(source)


def text_digest(text: str) -> str:
    """The digest of a text, for a cache key."""
    return of(text.encode("utf-8", "surrogateescape"))
