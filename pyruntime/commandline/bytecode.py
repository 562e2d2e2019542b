"""The bytecode of the package in one file, for the commands.

The interpreter finds, opens and checks each module by itself, partly in Python, which takes 70 µs a module; ``pocker
run`` imports more than a hundred (docs/decisions/0017-bytecode-in-one-file.md). From this file a module costs one
``stat``, which tells whether the module's source has changed since. If it has, and for all other packages, the
interpreter imports as usual. `make` writes the file; in an installed package, the first command that may write it does.

The file begins with 8 bytes, the length of what follows (little endian): marshal's (magic number, index). Then come the
code objects of the modules, each marshalled by itself.
"""

from __future__ import annotations

import _frozen_importlib_external as importing
import gc
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Row = tuple[bool, str, int, int, int, int]

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILE = f"{TOP}/__pycache__/all.{sys.implementation.cache_tag}.bytecode"


class Bytecode:
    """Finds and loads modules: importlib's meta path finder and its loader.

    ``top``    the package's directory
    ``file``   the file, and ``identity`` its device, inode and length
    ``index``  name -> is it a package, its source below ``top``, the source's mtime (ns) and size (bytes), and where
               its code is in the file, and how long

    No descriptor stays open between two modules: descriptors that our caller passes begin at 3.
    """

    def __init__(self, top: str, file: str, identity: tuple[int, int, int], index: dict[str, Row]) -> None:
        self._top = top
        self._file = file
        self._identity = identity
        self._index = index

    def find_spec(self, name: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        """The place of the module; None if the file does not have it, or its source has changed."""
        if name not in self._index:
            return None
        package, source, modified, size, begin, length = self._index[name]
        source = f"{self._top}/{source}"
        try:
            found = os.stat(source)
            if found.st_mtime_ns != modified or found.st_size != size:
                return None
            file = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if _identity(file) != self._identity:
                return None     # replaced by another process
            code = os.pread(file, length, begin)
        finally:
            os.close(file)
        places = [os.path.dirname(source)] if package else None
        spec = importing.spec_from_file_location(name, source, loader=self,  # type: ignore[arg-type]  # no load_module
                                                 submodule_search_locations=places)
        if spec:
            spec.loader_state = code
        return spec

    def knows(self, name: str) -> bool:
        """Whether the source of a module has not changed since it was compiled."""
        if name not in self._index:
            return False
        found = os.stat(f"{self._top}/{self._index[name][1]}")
        return (found.st_mtime_ns, found.st_size) == self._index[name][2:4]

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the interpreter create the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module."""
        assert module.__spec__
        code, module.__spec__.loader_state = module.__spec__.loader_state, None
        exec(marshal.loads(code), module.__dict__)


def _identity(file: int) -> tuple[int, int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino, found.st_size


def read(top: str = TOP, name: str = FILE) -> Bytecode | None:
    """The content of the file for the package in the directory ``top``; None if there is no file for this
    interpreter."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        magic, index = marshal.loads(os.pread(file, int.from_bytes(os.pread(file, 8, 0), "little"), 8))
        return Bytecode(top, name, _identity(file), index) if magic == importing.MAGIC_NUMBER else None
    finally:
        os.close(file)


def write(top: str = TOP, file: str = FILE) -> None:
    """Compile the package in the directory ``top`` into the file."""
    sources = [os.path.join(place, name) for place, _, names in os.walk(top) for name in names if name.endswith(".py")]
    index: dict[str, Row] = {}
    data = b""
    for source in sorted(sources):
        words = [os.path.basename(top), *os.path.relpath(source, top).removesuffix(".py").split(os.sep)]
        package = words[-1] == "__init__"
        with open(source, "rb") as opened:
            found = os.fstat(opened.fileno())
            code = _compiled(source, found) or marshal.dumps(compile(opened.read(), source, "exec", dont_inherit=True))
        index[".".join(words[:-1] if package else words)] = (
            package, os.path.relpath(source, top), found.st_mtime_ns, found.st_size, len(data), len(code))
        data += code

    def head(size: int) -> bytes:   # as long for each size: marshal has one form for all numbers below 2**31
        moved = {name: (*row[:-2], size + row[-2], row[-1]) for name, row in index.items()}
        known = marshal.dumps((importing.MAGIC_NUMBER, moved))
        return len(known).to_bytes(8, "little") + known

    os.makedirs(os.path.dirname(file), exist_ok=True)
    from pyruntime.system.files import replace  # lazy: when `run` imports this module, imports are still slow

    replace(file, head(len(head(0))) + data, mode=0o666)


def _compiled(source: str, found: os.stat_result) -> bytes:
    """The bytecode that pip or the interpreter has compiled already (PEP 552); b"" if it was compiled from another
    source, or under another name, as by an interpreter with a relative path in sys.path."""
    try:
        with open(importing.cache_from_source(source), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return b""
    words = [int.from_bytes(data[place:place + 4], "little") for place in (4, 8, 12)]
    known = data[:4] == importing.MAGIC_NUMBER and words == [0, int(found.st_mtime) & 0xFFFFFFFF, found.st_size]
    return data[16:] if known and marshal.loads(data[16:]).co_filename == source else b""


def _written() -> Bytecode | None:
    """Write a new file, if we may: the package was installed or upgraded since the last command."""
    if not os.access(TOP, os.W_OK):
        return None
    try:
        write()
    except OSError:   # a full disk, for example: the command is only slower
        return None
    return read()


def use() -> None:
    """Import from the file from now on; write it first if it is not up to date, and we may."""
    # the threshold is 700 objects: without collections while modules are loaded, 100 modules take 2 ms less
    gc.set_threshold(50_000)
    found = read()
    if found is None or not found.knows(__name__):
        found = _written() or found
    if found:
        sys.meta_path.insert(0, found)
