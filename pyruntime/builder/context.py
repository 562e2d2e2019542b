"""The build context: a directory, an archive on standard input, or a git repository; and its Dockerfile.

A directory is read in place. Archives and repositories are unpacked below STORE/work, where the garbage collection
removes what a killed build leaves.
"""

from __future__ import annotations

import os

from pyruntime.builder.ignore import Ignore
from pyruntime.builder.steps.archives import is_archive, unpack
from pyruntime.builder.steps.tree import Tree
from pyruntime.errors import BuildError, UsageError
from pyruntime.images.store import trees
from pyruntime.system.locks import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyruntime.images.store.layout import Layout

_GIT = ("git://", "git@", "ssh://", "git+")
# Limits of git's transfers: a server that sends fewer bytes a second for this many seconds has failed; transports that
# a URL could name (ext::, fd::) would run programs, or read descriptors.
_GIT_RULES = {"GIT_HTTP_LOW_SPEED_LIMIT": "1024", "GIT_HTTP_LOW_SPEED_TIME": "60",
              "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
_MAX_DOCKERFILE = 16 << 20


class Scratch:
    """A locked directory below STORE/work, removed when the context exits."""

    __slots__ = ("_fd", "path")

    def __init__(self, layout: Layout) -> None:
        self.path = layout.work()
        os.mkdir(self.path, 0o700)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        hold(self._fd)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        trees.remove(self.path)
        os.close(self._fd)


class BuildContext:
    """The tree of files, and the Dockerfile's name and text."""

    __slots__ = ("name", "text", "tree")

    def __init__(self, tree: Tree, name: str, text: str) -> None:
        self.tree = tree
        self.name = name
        self.text = text


def open_context(where: str, file: str, scratch: Callable[[], Scratch], warn: Callable[[str], None]) -> BuildContext:
    """The context at ``where``: a directory, "-" (a tar archive, or only a Dockerfile), a git URL.

    ``file`` is the Dockerfile's path, "-" for standard input, "" for Dockerfile (or Containerfile) in the context.
    Raises UsageError, BuildError.
    """
    if where == "-":
        if file == "-":
            raise UsageError("context and Dockerfile cannot both come from standard input")
        return _from_stdin(file, scratch(), warn)
    if is_git(where):
        directory = _clone(where, scratch())
        tree = Tree(_open_directory(directory), "the context", local=True)
        return _with_file(tree, file, where, inside=True)
    if "://" in where:
        raise UsageError(f'context "{where}": give a directory, -, or the URL of a git repository')
    tree = Tree(_open_directory(where), "the context", live=True)
    return _with_file(tree, file, where, inside=False)


def open_named(where: str, scratch: Callable[[], Scratch]) -> Tree | None:
    """A named context: a directory or a git URL; None for an image, which the caller handles. Raises UsageError."""
    if where.startswith(("docker-image://", "oci-layout://")):
        return None
    if is_git(where):
        return Tree(_open_directory(_clone(where, scratch())), f'"{where}"', local=True)
    if "://" in where:
        raise UsageError(f'build context "{where}": give a directory, a git URL, or docker-image://NAME')
    return Tree(_open_directory(where), f'"{where}"', live=True)


def is_git(where: str) -> bool:
    """Whether this is the URL of a git repository, by Docker's rules."""
    url = where.partition("#")[0]
    return where.startswith(_GIT) or (url.startswith(("http://", "https://", "file://")) and url.endswith(".git")) or \
        where.startswith("github.com/")


def _open_directory(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f'context "{path}": {error.strerror}') from None


def _with_file(tree: Tree, file: str, where: str, *, inside: bool) -> BuildContext:
    """Find the Dockerfile and the .dockerignore file."""
    ignore_beside = ""
    if file == "-":
        data, name = _read_all(0, "Dockerfile"), "Dockerfile"
    elif file and not inside and not os.path.isabs(file) and not os.path.exists(file) \
            and os.path.exists(os.path.join(where, file)):
        name = file = os.path.join(where, file)
        data = _read_path(file)
    elif file and not inside:
        name, data = file, _read_path(file)
    else:
        name = file or next((one for one in ("Dockerfile", "Containerfile") if tree.exists(one.encode())), "")
        if not name:
            raise UsageError(f'context "{where}" has no Dockerfile: name one with --file')
        there = _read_in(tree, name)
        if there is None:
            raise UsageError(f'context "{where}" has no file "{name}"')
        data = there
    if file and file != "-" and not inside and os.path.exists(f"{file}.dockerignore"):
        ignore_beside = _text(_read_path(f"{file}.dockerignore"), f"{file}.dockerignore")
        tree.ignore = Ignore(ignore_beside, os.path.basename(file) + ".dockerignore")
    else:
        for one in (f"{name}.dockerignore", ".dockerignore", ".containerignore"):
            found = _read_in(tree, one) if not os.path.isabs(one) else None
            if found is not None:
                tree.ignore = Ignore(_text(found, one), one)
                break
    return BuildContext(tree, os.path.basename(name), _text(data, name))


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BuildError(f'{name}: byte {error.start} is not UTF-8: save the file as UTF-8', name) from None


def _read_path(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return _read_all(file.fileno(), path)
    except OSError as error:
        raise UsageError(f'"{path}": {error.strerror}') from None


def _read_in(tree: Tree, name: str) -> bytes | None:
    try:
        fd = tree.open(os.fsencode(name), os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f'"{name}" in {tree.name}: {error.strerror}') from None
    try:
        return _read_all(fd, name)
    finally:
        os.close(fd)


def _read_all(fd: int, name: str, data: bytes = b"") -> bytes:
    """``data`` and the following input, up to the maximum size of a Dockerfile."""
    try:
        while len(data) <= _MAX_DOCKERFILE and (more := os.read(fd, 1 << 20)):
            data += more
    except OSError as error:
        raise UsageError(f'cannot read "{name}": {error.strerror}') from None
    if len(data) > _MAX_DOCKERFILE:
        raise UsageError(f'"{name}" is larger than {_MAX_DOCKERFILE >> 20} MiB')
    return data


def _from_stdin(file: str, scratch: Scratch, warn: Callable[[str], None]) -> BuildContext:
    """Standard input: an archive, compressed or not, or else a Dockerfile without a context."""
    first = b""
    while len(first) < 1024 and (data := os.read(0, 1 << 20)):
        first += data
    if not first:
        raise UsageError("standard input is empty: give it a tar archive or a Dockerfile")
    target = f"{scratch.path}/context"
    os.mkdir(target, 0o755)
    if not is_archive(first):
        text = _text(_read_all(0, "Dockerfile", first), "Dockerfile")
        tree = Tree(_open_directory(target), "the context, which is empty,", local=True)
        return BuildContext(tree, "Dockerfile", text)
    rest = [first]
    tree = Tree(_open_directory(target), "the context", local=True)
    unpack(lambda count: rest.pop() if rest else os.read(0, count), tree.fd, owners=False, warn=warn)
    return _with_file(tree, file, "-", inside=True)


def _clone(where: str, scratch: Scratch) -> str:
    """A checkout of URL[#REF[:DIRECTORY]]; the directory."""
    target = f"{scratch.path}/git"
    url, ref, below = git_source(where)
    check_out(url, ref, target)
    trees.remove(f"{target}/.git")
    if not below:
        return target
    tree = Tree(_open_directory(target), "the repository")
    try:
        fd = tree.open(os.fsencode(below), os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f'context "{where}": "{below}" in the repository: {os.strerror(error.errno or 0)}') from None
    finally:
        os.close(tree.fd)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def git_source(where: str) -> tuple[str, str, str]:
    """URL, ref and directory of URL[#REF[:DIRECTORY]]."""
    url, _, fragment = where.partition("#")
    ref, _, below = fragment.partition(":")
    url = url.removeprefix("git+")
    return f"https://{url}" if url.startswith("github.com/") else url, ref or "HEAD", below


def check_out(url: str, ref: str, target: str, environment: Mapping[str, str] | None = None) -> None:
    """Check a repository out into a new directory, with its submodules. Raises BuildError."""
    git("init", "-q", target)
    git("-C", target, "fetch", "-q", "--depth=1", "--", url, ref, environment=environment)
    git("-C", target, "-c", "advice.detachedHead=false", "checkout", "-q", "FETCH_HEAD")
    if os.path.exists(f"{target}/.gitmodules"):
        git("-C", target, "submodule", "-q", "update", "--init", "--recursive", "--depth=1", environment=environment)


def git(*words: str, environment: Mapping[str, str] | None = None) -> str:
    """Run git without prompts and without the hooks of the user's and the host's settings; its output. ``environment``
    is added to this process's. Raises BuildError."""
    import subprocess  # lazy: only with git

    whole = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **_GIT_RULES, **(environment or {})}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):   # set if a git hook runs this command
        whole.pop(name, None)
    try:
        # The umask affects the modes of a checkout.
        done = subprocess.run(["git", "-c", "core.hooksPath=/dev/null", *words], env=whole, text=True, umask=0o022,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except FileNotFoundError:
        raise BuildError("git is not installed: install it to build from repositories") from None
    if done.returncode:
        lines = done.stderr.strip().split("\n")
        end = next((number for number, line in enumerate(lines) if line.startswith("fatal: ")), len(lines))
        said = "; ".join(lines[:end + 1]) or f"exit status {done.returncode}"
        raise BuildError(f"git {next((word for word in words if not word.startswith(('-', '/'))), '')}: {said}")
    return done.stdout
