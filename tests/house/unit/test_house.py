"""The rules of the code base, as far as a program can check them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import NATIVE, STUB_SOURCES, TOP, compile_c

PACKAGE = TOP / "pyruntime"
# The modules that the hot commands may import, each in less than a millisecond. Not json, re, enum, typing,
# subprocess, argparse, dataclasses (5 to 20 ms each), not jsonschema, pyroute2, cffi.
CHEAP = {"os", "os.path", "sys", "stat", "posixpath", "genericpath", "errno", "time", "fcntl", "select", "binascii",
         "struct", "io", "abc", "codecs", "encodings", "builtins", "marshal", "posix", "zipimport", "warnings", "site"}
CHEAP |= {"linecache"}   # Python 3.13 imports it for -c, which these tests use
HOT = {name: f"pyruntime.runtime.cli.{name}" for name in (
    "create", "start", "state", "kill", "delete", "pause", "resume", "exec", "ps")}


@pytest.mark.parametrize("module", HOT.values(), ids=list(HOT))
def test_hot_commands_import_only_cheap_modules(module: str) -> None:
    code = (f"import sys; sys.path.insert(0, {str(TOP)!r}); import pyruntime.runtime.cli.main, {module};"
            "print(*sys.modules)")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith(("pyruntime", "_", "encodings"))}
    assert loaded - CHEAP <= {"__main__"}, sorted(loaded - CHEAP)


def test_the_image_tool_starts_with_cheap_modules() -> None:
    """Help and completion load the modules of all commands; test_pyimage_imports checks the imports of a run."""
    code = (f"import sys; sys.path.insert(0, {str(TOP)!r})\nfrom pyruntime.images.cli.main import PROGRAM\n"
            "for name in PROGRAM.commands: PROGRAM.module(name)\nprint(*sys.modules)")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith(("pyruntime", "_", "encodings"))}
    assert loaded - CHEAP <= {"__main__"}, sorted(loaded - CHEAP)


# Room -> the rooms that it may import, including imports in function bodies (HACKING.md has the reasons).
GROUND = {"errors", "spec", "_version"}
BELOW = GROUND | {"system", "native"}
ROOMS = {
    "errors": set(),
    "_version": {"_commit"},
    "_commit": set(),   # written by the build (tools/commit)
    "native": set(),
    "system": GROUND | {"native"},
    "commandline": BELOW,
    "runtime": BELOW | {"commandline"},
    "images": BELOW | {"commandline", "runtime"},
    "profiles": BELOW,
    "networks": BELOW,
    "builder": BELOW | {"commandline", "runtime", "images", "images.cli", "networks", "profiles"},
    # Command lines stand above the rooms that they show: `pyimage build` is the builder's, `pyruntime sandbox` lists
    # sandboxes.
    "runtime.cli": BELOW | {"commandline", "runtime", "sandbox"},
    "images.cli": BELOW | {"commandline", "images", "builder", "networks", "runtime"},
    "shim": BELOW | {"runtime"},
    "sandbox": BELOW | {"runtime", "images", "profiles", "networks"},
    "pocker": BELOW | {"images.cli", "commandline", "runtime", "images", "networks", "profiles", "builder"},
}
# Within the products: room -> the rooms of its own product that it may not import.
ABOVE = {
    "runtime.plan": {"config", "cgroups", "compiler", "lifecycle", "api", "cli"},
    "runtime.config": {"plan", "cgroups", "compiler", "lifecycle", "api", "cli"},
    "runtime.cgroups": {"compiler", "lifecycle", "api", "cli"},
    "runtime.compiler": {"lifecycle", "api", "cli"},
    "runtime.lifecycle": {"api", "cli"},
    "images.layers": {"store", "snapshots", "transports", "registry", "api", "cli"},
    "images.registry": {"store", "layers", "snapshots", "transports", "api", "cli"},
    "images.snapshots": {"transports", "registry", "api", "cli"},
    "images.store": {"transports", "registry", "api", "cli"},
    "images.transports": {"snapshots", "api", "cli"},
    "images.api": {"cli"},
    "builder.dockerfile": {"cache", "graph", "steps", "api", "cli"},
    "builder.cache": {"graph", "steps", "api", "cli"},
    "builder.steps": {"graph", "api", "cli"},
    "builder.graph": {"api", "cli"},
    "builder.api": {"cli"},
    # cli -> api -> containers, volumes, events -> settings; and cli -> options (the flags) -> settings.
    "pocker.api": {"cli", "options"},
    "pocker.options": {"cli", "api"},
    "pocker.containers": {"cli", "api", "options"},
    "pocker.volumes": {"cli", "api", "options"},
    "pocker.events": {"cli", "api", "options", "volumes"},
    "pocker.directories": {"cli", "api", "options", "volumes"},
    "pocker.settings": {"cli", "api", "options", "containers", "volumes", "events", "directories"},
}
# A product reaches the runtime through its api.py alone. Not yet:
PRIVATE = {
    "pyruntime.runtime.cgroups.scope",   # systemd scopes, which know no container
}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _name(path: Path) -> str:
    name = ".".join(path.relative_to(TOP).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {_name(path): path for path in PACKAGE.rglob("*.py")}


@cache
def _imports(path: Path) -> set[str]:
    """The modules of pyruntime that a module imports at run time, including function bodies, but not for type checking
    only."""
    tree = _tree(path)
    typing = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If)
              and ast.unparse(node.test) == "TYPE_CHECKING" for inner in ast.walk(node)}
    names = set()
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in whole}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name in MODULES}


def _room(name: str) -> str:
    parts = [*name.split("."), "pyruntime"]
    return ".".join(parts[1:3]) if parts[1:3] in (["images", "cli"], ["runtime", "cli"]) else parts[1]


def arrows() -> dict[tuple[str, str], list[str]]:
    """(room, room) -> the imports from the first to the second."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, path in MODULES.items():
        for target in _imports(path):
            if _room(name) != _room(target):
                found.setdefault((_room(name), _room(target)), []).append(f"{name} -> {target}")
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_between_rooms_point_downward(room: str) -> None:
    wrong = [line for (source, target), lines in arrows().items() if source == room and target not in ROOMS[room]
             for line in lines]
    assert wrong == []


@pytest.mark.parametrize("room", ABOVE)
def test_arrows_within_a_product_point_downward(room: str) -> None:
    product = room.partition(".")[0]
    wrong = [f"{name} -> {target}" for name, path in MODULES.items() if f"{name}.".startswith(f"pyruntime.{room}.")
             for target in _imports(path) if any(f"{target}.".startswith(f"pyruntime.{product}.{other}.")
                                                for other in ABOVE[room])]
    assert wrong == []


def test_the_shim_reaches_the_runtime_through_its_api() -> None:
    targets = {target for name, path in MODULES.items() if name.startswith("pyruntime.shim.")
               for target in _imports(path) if target.startswith("pyruntime.runtime.")}
    assert targets == {"pyruntime.runtime.api"}


def test_sandboxes_reach_the_runtime_through_its_api() -> None:
    targets = {target for name, path in MODULES.items() if name.startswith("pyruntime.sandbox.")
               for target in _imports(path) if target.startswith("pyruntime.runtime.")}
    assert targets - PRIVATE == {"pyruntime.runtime.api", "pyruntime.runtime.config.template"}


def test_pocker_reaches_the_runtime_through_its_api() -> None:
    targets = {target for name, path in MODULES.items() if name.startswith("pyruntime.pocker.")
               for target in _imports(path) if target.startswith("pyruntime.runtime.")}
    assert targets == {"pyruntime.runtime.api"} | PRIVATE


def _strings(path: Path) -> list[tuple[int, str]]:
    """The texts of a module, without docstrings: line and text."""
    tree = ast.parse(path.read_text())
    described = {id(node.body[0].value) for node in ast.walk(tree)
                 if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
                 and isinstance(node.body[0], ast.Expr)}
    return [(node.lineno, node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)
            and isinstance(node.value, str) and id(node) not in described]


def test_no_flag_of_docker_below_the_options() -> None:
    """pocker/options reads flags; the engine below takes settings, and its messages name settings."""
    from pyruntime.pocker.options.flags import FLAGS

    flags = {f"--{flag.name}" for flag in FLAGS} | {"--change", "--detach-keys", "--force", "--latest", "--size"}
    outer = (PACKAGE / "pocker/cli", PACKAGE / "pocker/options")
    found = [f"{path.relative_to(TOP)}:{line}: {text}" for path in (PACKAGE / "pocker").rglob("*.py")
             if not any(path.is_relative_to(place) for place in outer) for line, text in _strings(path)
             if flags & set(re.findall(r"--[a-z][a-z-]*", text))]
    assert found == []


# What may name modules in strings: tables of commands, which commandline.modules loads.
TABLES = {"pyruntime.commandline.entry", "pyruntime.runtime.cli.main", "pyruntime.images.cli.main",
          "pyruntime.pocker.cli.main", "pyruntime.runtime.cli.sandbox", *(f"pyruntime.pocker.cli.{group}" for group in (
              "builder", "buildx", "container", "image", "network", "system", "volume"))}


def test_modules_are_named_in_strings_by_tables_alone() -> None:
    packages = {name.rpartition(".")[0] for name in MODULES}
    named = {name for name, path in MODULES.items() if any(
        text in MODULES or text in packages - {""} for _, text in _strings(path) if text.startswith("pyruntime."))}
    assert named <= TABLES, named - TABLES
    loaders = {name for name, path in MODULES.items() if re.search(r"__import__|import_module|_gcd_import",
                                                                   path.read_text())}
    assert loaders == {"pyruntime.commandline.modules"}


def test_every_named_module_exists_and_is_an_arrow_downward() -> None:
    """The commands of each program, and of its groups."""
    from pyruntime.commandline.entry import COMMANDS
    from pyruntime.commandline.groups import Group
    from pyruntime.commandline.modules import load

    for main in COMMANDS.values():
        program = load(main).PROGRAM
        names = {program.module_name(name) for name in (*program.commands, *program.hidden)}
        for command in [program.module(name).COMMAND for name in program.commands]:
            if isinstance(command, Group):
                names |= {command.module_name(member) for member in command.members}
        assert names <= set(MODULES)
        rooms = {_room(name) for name in names}
        assert rooms <= {_room(main)}, "a command of another product: import its module instead"


def test_every_room_is_known() -> None:
    assert {_room(name) for name in MODULES} - {"pyruntime"} == set(ROOMS)


def test_the_table_of_rooms_is_complete() -> None:
    text = (TOP / "HACKING.md").read_text()
    table = text[text.index("## The rooms of the house"):text.index("## The life of a plan")]
    listed = set(re.findall(r"^\| `pyruntime/([\w/]+?)/?(?:\.py)?` \|", table, re.MULTILINE))
    inner = {"images.cli", "runtime.cli", "_version", "_commit"}   # command lines, and the version
    assert {room for room in ROOMS if room not in inner} <= {name.replace("/", ".") for name in listed}


def test_imports_form_no_cycle() -> None:
    """Neither at the top of modules nor in function bodies."""
    edges = {name: _imports(path) for name, path in MODULES.items()}
    while leaves := [name for name, targets in edges.items() if not targets & edges.keys() - {name}]:
        for name in leaves:
            del edges[name]
    # Modules that only lead to a cycle are not part of it.
    while roots := [name for name in edges if not any(name in edges[other] for other in edges if other != name)]:
        for name in roots:
            del edges[name]
    assert {name: targets & edges.keys() for name, targets in edges.items()} == {}


# Product -> the rooms of images that it may not import: registries and archives are reached through images/api.py.
CLOSED = {
    "runtime": {""}, "networks": {""}, "profiles": {""}, "pocker": {"transports"},
    "builder.dockerfile": {"cli", "layers", "registry", "snapshots", "store", "transports"},
    "builder.graph": {"cli", "layers", "registry", "snapshots", "transports"},
    "builder.cache": {"cli", "registry", "snapshots"}, "builder.steps": {"cli"}, "builder.api": {"cli", "registry"},
}


@pytest.mark.parametrize("product", CLOSED)
def test_images_are_reached_through_their_api(product: str) -> None:
    wrong = [f"{name} -> {target}" for name, path in MODULES.items() if f"{name}.".startswith(f"pyruntime.{product}.")
             for target in _imports(path) for room in CLOSED[product]
             if f"{target}.".startswith(f"pyruntime.images.{room}".rstrip(".") + ".")]
    assert wrong == []


def _imports_in_functions(tree: ast.AST) -> list[list[int]]:
    """Blocks of lines: consecutive import statements in the same body of a function."""
    blocks: list[list[int]] = []
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in ast.walk(function):
                for body in (getattr(node, name, []) for name in ("body", "orelse", "handlers", "finalbody")):
                    before: ast.stmt | None = None
                    for entry in body if isinstance(body, list) else []:
                        if isinstance(entry, (ast.Import, ast.ImportFrom)):
                            if not isinstance(before, (ast.Import, ast.ImportFrom)):
                                blocks.append([])
                            blocks[-1].append(entry.lineno)
                        before = entry
    return blocks


def test_an_import_inside_a_function_has_a_reason() -> None:
    """``# lazy: REASON`` is on the line of the first import of a block, or directly above it (HACKING.md, Habits)."""
    found = []
    for path in MODULES.values():
        lines = path.read_text().splitlines()
        for block in _imports_in_functions(_tree(path)):
            if "# lazy: " not in "".join(lines[block[0] - 2:block[0]]):
                found.append(f"{path.relative_to(TOP)}:{block[0]}")
    assert sorted(set(found)) == []


def test_class_names_are_unique() -> None:
    """So that a name in a message, a review or a search identifies one class."""
    classes: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(name)
    assert {name: found for name, found in classes.items() if len(found) > 1} == {}


# Code that is allowed in only one module of system/: pattern -> module.
ONE_WAY = {
    r"pidfd_send_signal\(": "processes",
    r"fcntl\.flock\(": "locks",
    r"strftime\(\"%Y-%m-%dT|strptime": "times",
    r"os\.rename\((temporary|new)": "files",
    r"\"µs\"": "durations",
}
# Renames that are not files.replace: the temporary files of the store are locked, so that the garbage collection leaves
# them; an export is renamed when its stream has ended.
OTHER_WAY = {"files": ("images.store.", "images.cli.export", "pocker.cli.export")}


@pytest.mark.parametrize(("pattern", "module"), ONE_WAY.items(), ids=ONE_WAY.values())
def test_there_is_one_way_for_each_shared_thing(pattern: str, module: str) -> None:
    found = {name for name, path in MODULES.items() if re.search(pattern, path.read_text())
             and _room(name) != "system" and not name.removeprefix("pyruntime.").startswith(OTHER_WAY.get(module, ()))}
    assert found == set() and re.search(pattern, MODULES[f"pyruntime.system.{module}"].read_text())


def _numbers(path: Path) -> set[str]:
    """The names in capitals that a module sets to numbers, without underscores in front."""
    return {target.id.lstrip("_") for node in _tree(path).body if isinstance(node, ast.Assign)
            for targets in node.targets for target in ast.walk(targets) if isinstance(target, ast.Name)
            if target.id.isupper() and target.id != "TYPE_CHECKING"
            and isinstance(node.value, (ast.Constant, ast.BinOp, ast.Tuple))}


def test_constants_of_the_kernel_stand_in_system() -> None:
    """Each is defined once: in uapi, in uapi_netlink, or beside the call that takes it."""
    system = {name: _numbers(MODULES[f"pyruntime.system.{name}"]) for name in ("uapi", "uapi_netlink", "kernel")}
    known = set().union(*system.values())
    assert len(known) == sum(map(len, system.values()))
    found = {name: both for name, path in MODULES.items() if not name.startswith("pyruntime.system.")
             and (both := _numbers(path) & known)}
    assert found == {}


def test_sections_do_no_io() -> None:
    """compiler/sections/ emits steps; only the compiled filters' cache touches files."""
    for path in (PACKAGE / "runtime/compiler/sections").glob("*.py"):
        if path.name.startswith("seccomp"):
            continue
        tree = _tree(path)
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        forbidden = {call for call in calls
                     if call == "open" or re.match(r"os\.(open|read|stat|listdir|mkdir|write)", call)}
        assert not forbidden, f"{path.name}: {forbidden}"


def test_no_silent_except() -> None:
    """`except ...: pass` needs a comment with the reason."""
    for path in PACKAGE.rglob("*.py"):
        lines = path.read_text().splitlines()
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ExceptHandler) and len(node.body) == 1 and isinstance(node.body[0], ast.Pass):
                around = "".join(lines[node.lineno - 3:node.body[0].end_lineno])
                assert "#" in around, f"{path.relative_to(TOP)}:{node.lineno}"


def _bare(handler: ast.ExceptHandler) -> list[int]:
    """Lines of a handler that use the text of its exception directly, in Python's wording."""
    found = []
    for node in ast.walk(handler):
        value = node.value if isinstance(node, ast.FormattedValue) else node.args[0] if isinstance(node, ast.Call) \
            and isinstance(node.func, ast.Name) and node.func.id == "str" and node.args else None
        if isinstance(value, ast.Name) and value.id == handler.name and not (
                isinstance(node, ast.FormattedValue) and node.conversion == ord("r")):
            found.append(value.lineno)
    return found


def test_no_system_error_is_shown_with_its_number() -> None:
    """"[Errno 28] No space left on device" is for programmers: errors.words says it without the number."""
    system = re.compile(r"\b(OSError|Exception|BaseException|TimeoutError|URLError)\b")
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ExceptHandler) and node.name and system.search(ast.unparse(node.type or node)):
                found += [f"{path.relative_to(TOP)}:{line}" for line in _bare(node)
                          if "strerror or" not in path.read_text().split("\n")[line - 1]]
    assert found == []


def test_public_functions_have_docstrings() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name == "_shape.py":
            continue
        tree = _tree(path)
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                lines = (node.end_lineno or node.lineno) - node.lineno
                # The sections of config/ all have the same two functions, which rules.py describes.
                told = ast.get_docstring(node) or lines < 6 or path.parent.name == "sections"
                assert told, f"{path.relative_to(TOP)}: {node.name}"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_stub_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    compile_c(tmp_path / "stub", STUB_SOURCES, compiler=compiler)


def test_stub_on_disk_is_static() -> None:
    done = subprocess.run(["file", "-L", NATIVE / "stub"], capture_output=True, text=True, check=False)
    text = done.stdout if done.returncode == 0 else ""
    header = (NATIVE / "stub").read_bytes()
    assert header[:4] == b"\x7fELF"
    assert b"/lib64/ld-linux" not in header and b"ld-musl" not in header, text


def test_stub_refuses_to_be_run_by_users() -> None:
    done = subprocess.run([NATIVE / "stub"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "part of pyruntime" in done.stderr


def test_fuzz_target_survives(tmp_path: Path) -> None:
    """A short run with the golden plans as the corpus; `make fuzz` runs longer."""
    from bundles.build import names
    from bundles.golden import reference_plan
    from pyruntime.runtime.plan.encode import encode

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in names():
        (corpus / name).write_bytes(encode(reference_plan(name).steps))
    target = compile_c(tmp_path / "fuzz", [TOP / "tests/native/fuzz_plan.c", NATIVE / "plan.c"],
                       "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", compiler="clang")
    done = subprocess.run([target, "-rss_limit_mb=0", "-runs=20000", "-max_len=8192", "-seed=1", corpus],
                          capture_output=True, text=True,
                          cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_documents_name_existing_paths() -> None:
    """Every path in backticks in the contributor guide exists."""
    text = (TOP / "HACKING.md").read_text()
    for name in re.findall(r"`((?:pyruntime|spec|bundles|tests|conformance|tools|docs|bench)/[\w./-]*)`", text):
        assert (TOP / name).exists(), name


def test_every_test_is_collected() -> None:
    """The name of a directory can exclude its tests (norecursedirs), and a test that is never run cannot fail."""
    done = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider"], cwd=TOP,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    collected = {line.partition(":")[0] for line in done.stdout.splitlines()}
    wanted = {str(path.relative_to(TOP)) for path in (TOP / "tests").rglob("test_*.py")}
    assert wanted - collected == set()


def test_no_module_runs_sys_executable() -> None:
    # PYTHONEXECUTABLE sets sys.executable even with -I; only entry.py, which writes the commands, may look at it.
    named = {str(path.relative_to(TOP)) for path in (TOP / "pyruntime").rglob("*.py")
             if "sys.executable" in path.read_text().replace("sets sys.executable", "")}
    assert named == {"pyruntime/commandline/entry.py"}


if __name__ == "__main__":
    for source in ROOMS:
        counts = {target: len(lines) for (start, target), lines in arrows().items() if start == source}
        print(f"{source:12}", ", ".join(f"{target} {count}" for target, count in sorted(counts.items())) or "-")
