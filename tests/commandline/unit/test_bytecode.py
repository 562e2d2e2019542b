"""The package's bytecode in one file: which modules are loaded from it, and which are not."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest

from pyruntime.commandline import bytecode


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package ``thing`` with a module and a package in it; its bytecode is in ``thing.bytecode`` beside it."""
    top = tmp_path / "thing"
    (top / "inner").mkdir(parents=True)
    (top / "__init__.py").write_text("name = 'thing'\n")
    (top / "one.py").write_text("from thing.inner import two\nvalue = two.value + 1\n")
    (top / "inner" / "__init__.py").write_text("")
    (top / "inner" / "two.py").write_text("value = 41\n")
    bytecode.write(str(top), f"{top}.bytecode")
    return top


def run(top: Path, code: str, before: str = "") -> str:
    """Run code in an interpreter that takes modules from the package's file."""
    program = (f"import os, sys; sys.path[:0] = {[str(top.parent), *sys.path]!r}; sys.dont_write_bytecode = True\n"
               "from pyruntime.commandline import bytecode\n"
               f"found = bytecode.read({str(top)!r}, '{top}.bytecode')\n{before}\n"
               f"if found: sys.meta_path.insert(0, found)\n{code}\n")
    return subprocess.run([sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=True,
                          timeout=60).stdout


TAKEN = """from thing import one
print(one.value, *(name for name, module in sorted(sys.modules.items()) if module.__spec__ and
                   isinstance(module.__spec__.loader, bytecode.Bytecode)))"""


def test_modules_are_loaded_from_the_bytecode_file(package: Path) -> None:
    assert run(package, TAKEN) == "42 thing thing.inner thing.inner.two thing.one\n"
    assert run(package, "import thing.one as m; print(m.__file__, m.__package__, m.__spec__.origin)") == (
        f"{package}/one.py thing {package}/one.py\n")
    assert run(package, "import thing as m; print(m.__file__, m.__path__)") == f"{package}/__init__.py ['{package}']\n"


def test_a_changed_source_is_compiled_again(package: Path) -> None:
    (package / "inner" / "two.py").write_text("value = 1041\n")
    assert run(package, TAKEN) == "1042 thing thing.inner thing.one\n"


def test_a_source_with_the_same_size_and_another_mtime(package: Path) -> None:
    two = package / "inner" / "two.py"
    before = two.stat().st_mtime_ns
    two.write_text("value = 51\n")
    os.utime(two, ns=(before + 1, before + 1))
    assert run(package, TAKEN).startswith("52 ")


def test_a_removed_module(package: Path) -> None:
    (package / "one.py").unlink()
    assert run(package, "try:\n    import thing.one\nexcept ModuleNotFoundError as error:\n    print(error)") == (
        "No module named 'thing.one'\n")


def test_a_moved_package(package: Path) -> None:
    moved = package.parent / "elsewhere" / "thing"
    moved.parent.mkdir()
    Path(f"{package}.bytecode").rename(f"{moved}.bytecode")
    package.rename(moved)
    assert run(moved, TAKEN) == "42 thing thing.inner thing.inner.two thing.one\n"
    assert run(moved, "import thing.one as m; print(m.__file__)") == f"{moved}/one.py\n"


def test_a_bytecode_file_replaced_in_the_meantime(package: Path) -> None:
    other = f"bytecode.write({str(package)!r}, '{package}.bytecode')"
    assert run(package, TAKEN, before=other) == "42\n"


def test_a_missing_file_or_that_of_another_interpreter(package: Path) -> None:
    file = Path(f"{package}.bytecode")
    data = file.read_bytes()
    magic = MAGIC_NUMBER
    assert data.count(magic) == 1
    file.write_bytes(data.replace(magic, b"\0" * len(magic)))
    assert run(package, TAKEN) == "42\n"
    file.unlink()
    assert run(package, TAKEN) == "42\n"


def test_bytecode_that_was_compiled_under_another_name_is_not_taken(package: Path) -> None:
    """Its functions would have the relative name in each traceback and log."""
    (package / "one.py").write_text("def where():\n    return where.__code__.co_filename\n")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "thing"], cwd=package.parent, check=True, timeout=60)
    bytecode.write(str(package), f"{package}.bytecode")
    assert run(package, "from thing import one; print(one.where())") == f"{package}/one.py\n"


def test_no_descriptor_stays_open(package: Path) -> None:
    assert run(package, "from thing import one; print(sorted(os.listdir('/proc/self/fd')))") == "['0', '1', '2', '3']\n"


def test_an_error_names_its_line(package: Path) -> None:
    (package / "one.py").write_text("def fail():\n    raise ValueError\n")
    bytecode.write(str(package), f"{package}.bytecode")
    code = "import traceback\nfrom thing import one\ntry: one.fail()\nexcept ValueError: print(traceback.format_exc())"
    assert f'File "{package}/one.py", line 2, in fail' in run(package, code)


def test_the_commands_use_the_bytecode_file() -> None:
    """The sources as installed; the bytecode of a source that has changed since is not used."""
    found = bytecode.read()
    assert found, f"{bytecode.FILE} is missing: run make"
    assert found.find_spec("pyruntime.no_such_module") is None and found.find_spec("json") is None
