"""The command line itself: help, version, exit statuses, how options are written, the global options, messages."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from pyruntime.commandline.parse import Command, Flag, parse
from pyruntime.errors import UsageError
from pyruntime.runtime.cli.main import COMMANDS, GLOBAL, PROGRAM
from pyruntime.runtime.lifecycle import store
from tests.commands import COMMAND
from tests.conftest import TOP

RUNC = {"create", "delete", "events", "exec", "kill", "list", "pause", "ps", "resume", "run", "spec", "start", "state",
        "update", "features"}
Done = subprocess.CompletedProcess[str]


def call(*words: object, env: dict[str, str] | None = None, root: str = "/nonexistent/root") -> Done:
    return subprocess.run([str(word) for word in (COMMAND, "--root", root, *words)], capture_output=True, text=True,
                          check=False, timeout=30, umask=0o027, env=env or dict(os.environ), stdin=subprocess.DEVNULL)


# --- help, version, exit statuses --------------------------------------------------------------------------------

def test_every_command_of_runc_exists() -> None:
    assert set(COMMANDS) >= RUNC


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"], ["h"], ["-help"]])
def test_help_of_the_program(words: list[str]) -> None:
    done = call(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == ["NAME:", "   pyruntime - Open Container Initiative runtime"]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("form", ["{} -h", "{} --help", "help {}", "{} -help"])
def test_help_of_a_command(name: str, form: str) -> None:
    done = call(*form.format(name).split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"NAME:\n   pyruntime {name} - ")


def test_unknown_commands() -> None:
    for words, status in ((["foo"], 3), (["foo", "-h"], 1), (["foo", "--help"], 1), (["help", "foo"], 1)):
        done = call(*words)
        assert (done.returncode, done.stdout) == (status, "") and "No help topic for 'foo'" in done.stderr, words


@pytest.mark.parametrize("flag", ["-v", "--version", "-version"])
def test_version(flag: str) -> None:
    done = call(flag)
    first, commit, spec, python, libseccomp = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"pyruntime version [0-9]+\.[0-9]+\.[0-9]+\S*", first)
    assert commit.startswith("commit: ") and spec == "spec: 1.3.0" and python.startswith("python: 3.")
    assert re.fullmatch(r"libseccomp: ([0-9]+\.[0-9]+\.[0-9]+|none)", libseccomp)


@pytest.mark.parametrize(("words", "phrase", "status"), [
    (["--bad", "list"], "Incorrect Usage: flag provided but not defined: -bad", 1),
    (["list", "--bad"], "Incorrect Usage: flag provided but not defined: -bad", 1),
    (["-log"], "flag needs an argument: -log", 1),
    (["events", "--interval"], "flag needs an argument: -interval", 1),
    (["events", "--interval", "x", "c1"], 'invalid value "x" for flag -interval: parse error', 1),
    (["events", "--interval", "0s", "c1"], "duration interval must be greater than 0", 1),
    (["list", "--quiet=maybe"], 'invalid boolean value "maybe" for -quiet', 1),
    (["create", "--preserve-fds", "x", "c1"], 'invalid value "x" for flag -preserve-fds', 1),
    (["run", "--preserve-fds", "257", "c1"], 'invalid value "257" for --preserve-fds', 1),
    (["--log-format", "bad", "list"], "invalid log-format: bad", 1),
    (["--root", "/", "list"], "Option --root argument should not be set to /", 1),
    (["--root", "//", "create", "c1"], "Option --root argument should not be set to /", 1),
    (["--root", "/x/..", "state", "c1"], "Option --root argument should not be set to /", 1),
    (["--rootless", "maybe", "list"], 'invalid --rootless value "maybe"', 1),
    (["--log", "/nonexistent/log", "list"], '--log "/nonexistent/log": No such file or directory', 1),
    (["list", "--format", "bad"], 'invalid format option "bad"', 1),
    (["ps", "--format", "bad", "c1"], 'invalid format option "bad"', 1),
    (["list"], '--root "/nonexistent/root": No such file or directory', 1),
    (["kill", "c1", "BAD"], 'unknown signal "BAD"', 1),
    (["exec", "nobody", "true"], "container does not exist", 255),
    (["spec", "--bundle", "/nonexistent"], '"/nonexistent/config.json": No such file or directory', 1),
    (["create", "--bundle", "/nonexistent", "c1"], "JSON specification file config.json not found", 1),
    (["create", "--bundle", "x", "c1", "y"], "the bundle is given twice", 1),
    *(([name, "c1"], "container does not exist", 1) for name in (
        "start", "state", "kill", "delete", "pause", "resume", "ps", "update", "events")),
    *(([name, "a/b"], "invalid container ID format", 1) for name in ("create", "start", "state", "delete")),
    *(([name, ""], "container id cannot be empty", 1) for name in ("create", "run", "start", "state", "delete")),
])
def test_refusals(words: list[str], phrase: str, status: int) -> None:
    done = call(*words)
    assert done.returncode == status and phrase in done.stderr, done.stderr
    assert done.stderr.startswith("error: ")


# As in runc, except the bundle, which create and run also accept as an argument.
COUNTS = {"state": (1, 1), "start": (1, 1), "delete": (1, 1), "pause": (1, 1), "resume": (1, 1), "update": (1, 1),
          "events": (1, 1), "kill": (1, 2), "create": (1, 2), "run": (1, 2), "exec": (1, None), "ps": (1, None),
          "list": (0, 0), "spec": (0, 0), "features": (0, 0)}


@pytest.mark.parametrize("name", COMMANDS)
def test_numbers_of_arguments(name: str) -> None:
    command = PROGRAM.module(name).COMMAND
    least, most = COUNTS.get(name, (command.least, command.most))
    cases = [(least - 1, f"exactly {least}" if least == most else f"a minimum of {least}")] if least else []
    if most is not None:
        cases.append((most + 1, f"exactly {least}" if least == most else f"a maximum of {most}"))
    for count, words in cases:
        done = call(name, *["x"] * count)
        assert done.returncode == 1 and done.stdout.startswith("Incorrect Usage.\n\nNAME:\n")
        assert f'pyruntime: "{name}" requires {words} argument(s)' in done.stderr


def test_a_wrong_option_shows_the_help() -> None:
    done = call("list", "--bad")
    assert "NAME:\n   pyruntime list" in done.stdout
    assert "COMMANDS:" in call("--bad").stdout


# --- how options are written -------------------------------------------------------------------------------------

SAMPLE = Command("sample", "", "", Flag("quiet", "bool", "", short="q"), Flag("format", "str", "", short="f"),
                 Flag("number", "int", ""), Flag("env", "list", "", short="e"))


@pytest.mark.parametrize(("words", "name", "value"), [
    ("--format x", "format", "x"), ("--format=x", "format", "x"), ("-format x", "format", "x"),
    ("-format=x", "format", "x"), ("-f x", "format", "x"), ("-f=x", "format", "x"), ("--f x", "format", "x"),
    ("--format x --format y", "format", "y"), ("--format= ", "format", ""), ("--format --quiet", "format", "--quiet"),
    ("--quiet", "quiet", True), ("--quiet=false", "quiet", False), ("--quiet --quiet=false", "quiet", False),
    ("-q=0", "quiet", False), ("-q=T", "quiet", True), ("--quiet=TRUE", "quiet", True), ("", "quiet", False),
    ("--number 5", "number", 5), ("--number=-5", "number", -5), ("--number -5", "number", -5),
    ("--number 0x10", "number", 16), ("", "number", 0),
    ("--env a=1 -e b=2 --env=c=3,4", "env", ["a=1", "b=2", "c=3,4"]), ("", "env", []),
    ("x --quiet", "quiet", True), ("-- --quiet", "quiet", False),
])
def test_values(words: str, name: str, value: object) -> None:
    assert parse(SAMPLE, words.split())[name] == value


def test_where_options_end() -> None:
    assert parse(SAMPLE, ["a", "--quiet", "b", "--", "--format", "-"]).arguments == ["a", "b", "--format", "-"]
    assert parse(SAMPLE, ["-", "a"]).arguments == ["-", "a"]
    for name in ("exec", "ps"):
        command = PROGRAM.module(name).COMMAND
        assert parse(command, ["c1", "--format", "x", "-d"]).arguments == ["c1", "--format", "x", "-d"]
    assert parse(GLOBAL, ["--debug", "list", "--debug"]).arguments == ["list", "--debug"]


@pytest.mark.parametrize(("words", "phrase"), [
    ("--number x", 'invalid value "x" for flag -number'), ("--number 1.5", "-number"),
    ("--number", "needs an argument"),
    ("--quiet=yes", "invalid boolean"), ("-x", "not defined: -x"), ("--env", "needs an argument")])
def test_wrong_values(words: str, phrase: str) -> None:
    with pytest.raises(UsageError, match=phrase):
        parse(SAMPLE, words.split())


# --- global options ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("euid", "namespace", "env", "expected"), [
    (0, False, {}, "/run/pyruntime"),
    (0, False, {"XDG_RUNTIME_DIR": "{tmp}"}, "/run/pyruntime"),
    (0, True, {"XDG_RUNTIME_DIR": "{tmp}", "USER": "root"}, "/run/pyruntime"),
    (0, True, {"XDG_RUNTIME_DIR": "{tmp}", "USER": "somebody"}, "{tmp}/pyruntime"),
    (0, True, {"XDG_RUNTIME_DIR": "{tmp}"}, "{tmp}/pyruntime"),
    (0, True, {"XDG_RUNTIME_DIR": ""}, "/run/pyruntime"),
    (1000, False, {"XDG_RUNTIME_DIR": "{tmp}", "USER": "root"}, "{tmp}/pyruntime"),
])
def test_the_default_state_directory(euid: int, namespace: bool, env: dict[str, str], expected: str, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_RUNTIME_DIR", "USER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(store, "_in_user_namespace", lambda: namespace)
    assert store.default_root() == expected.format(tmp=tmp_path)


def test_the_state_directory_of_a_user_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The sticky bit excludes the directory from cleanups of XDG_RUNTIME_DIR (XDG Base Directory Specification).
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(store, "_in_user_namespace", lambda: True)
    monkeypatch.delenv("USER", raising=False)
    for root, mode in ((tmp_path / "pyruntime", 0o1700), (tmp_path / "other", 0o700)):
        store.StateDirectory(str(root), "c1").claim(store.StateRecord(id="c1"))
        assert root.stat().st_mode & 0o7777 == mode


def test_only_create_makes_the_state_directory(tmp_path: Path) -> None:
    root = tmp_path / "state"
    for words in (["state", "c1"], ["list"], ["delete", "-f", "c1"], ["kill", "c1"]):
        call(*words, root=str(root))
        assert not root.exists(), words


def test_a_missing_default_root_lists_no_containers(tmp_path: Path) -> None:
    done = subprocess.run(["unshare", "--user", "--map-root-user", COMMAND, "list"], capture_output=True, text=True,
                          check=False, env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path)})
    if "unshare" in done.stderr:
        pytest.skip(f"the host has no user namespaces: {done.stderr}")
    assert (done.returncode, done.stdout) == (0, "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n")


# --- messages --------------------------------------------------------------------------------------------------------

def test_text_on_standard_error() -> None:
    done = call("state", "c1")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", 'error: container does not exist: "c1"\n')


@pytest.mark.parametrize("form", ["text", ""])
def test_text_in_a_file(tmp_path: Path, form: str) -> None:
    log = tmp_path / "log"
    done = call("--log", log, "--log-format", form, "state", "c1")
    assert done.stderr == 'container does not exist: "c1"\n'   # bare
    assert re.fullmatch(r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=error msg="container does not exist:'
                        r' \\"c1\\""\n', log.read_text())
    assert log.stat().st_mode & 0o777 == 0o640
    call("--log", log, "state", "c2")
    assert len(log.read_text().splitlines()) == 2   # appended


def test_json_in_a_file_and_on_standard_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = call("--log", log, "--log-format", "json", "state", "<&>")
    assert done.stderr.startswith("invalid container ID format")
    line = log.read_text()
    assert re.match(r'\{"level":"error","msg":"invalid container ID format: \\"\\u003c\\u0026\\u003e\\"', line)
    entry = json.loads(line)
    assert list(entry) == ["level", "msg", "time"] and re.fullmatch(r"[\d-]{10}T[\d:]{8}Z", entry["time"])
    done = call("--log-format=json", "state", "c1")
    assert json.loads(done.stderr)["msg"] == 'container does not exist: "c1"'


def test_debug_messages_name_their_place(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = call("--debug", "--log", log, "--log-format", "json", "state", "c1")
    assert done.stderr == 'container does not exist: "c1"\n'
    entry = json.loads(log.read_text().splitlines()[-1])
    assert list(entry) == ["file", "func", "level", "msg", "time"]
    assert re.fullmatch(r"pyruntime/commandline/program\.py:\d+", entry["file"])
    assert entry["func"].startswith("pyruntime.commandline.program.")
    call("--debug", "--log", log, "state", "c1")
    assert re.search(r' func=\S+ file=\S+:\d+$', log.read_text().splitlines()[-1].replace('"', ""))
    call("--log", log, "--log-format", "json", "state", "c1")
    assert "func" not in json.loads(log.read_text().splitlines()[-1])


# --- spec ------------------------------------------------------------------------------------------------------------

def test_the_default_configuration(tmp_path: Path) -> None:
    done = call("spec", "-b", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = (tmp_path / "config.json").read_text()
    assert text.startswith('{\n\t"ociVersion": "1.3.0",\n\t"process": {\n\t\t"terminal": true,')
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o640
    config = json.loads(text)
    process = config["process"]
    assert process["args"] == ["sh"] and process["cwd"] == "/" and process["noNewPrivileges"] is True
    assert sorted(entry.partition("=")[0] for entry in process["env"]) == ["PATH", "TERM"]
    capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    assert process["capabilities"] == {name: capabilities for name in ("bounding", "effective", "permitted")}
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]
    assert config["root"] == {"path": "rootfs", "readonly": True}
    kinds = {entry["type"] for entry in config["linux"]["namespaces"]}
    assert kinds - {"cgroup"} == {"pid", "network", "ipc", "uts", "mount"}
    assert config["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    mounts = {mount["destination"]: mount for mount in config["mounts"]}
    assert {"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"} == set(mounts)
    assert "gid=5" in mounts["/dev/pts"]["options"] and mounts["/sys/fs/cgroup"]["type"] == "cgroup"
    assert "ro" in mounts["/sys/fs/cgroup"]["options"]
    assert config["linux"]["maskedPaths"] and config["linux"]["readonlyPaths"]
    again = call("spec", "--bundle", tmp_path)
    assert again.returncode == 1 and "File config.json exists. Remove it first" in again.stderr


def test_the_default_configuration_without_root(tmp_path: Path) -> None:
    assert call("spec", "--rootless", "--bundle", tmp_path).returncode == 0
    config = json.loads((tmp_path / "config.json").read_text())
    kinds = {entry["type"] for entry in config["linux"]["namespaces"]}
    assert "user" in kinds and "network" not in kinds and "resources" not in config["linux"]
    for kind, own in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
        assert config["linux"][kind] == [{"containerID": 0, "hostID": own, "size": 1}]
    sys_ = next(mount for mount in config["mounts"] if mount["destination"] == "/sys")
    assert sys_["type"] == "none" and {"rbind", "nosuid", "noexec", "nodev", "ro"} <= set(sys_["options"])
    assert not any(option.startswith(("uid=", "gid=")) for mount in config["mounts"]
                   for option in mount.get("options", []))


# --- explain: what its flags change ------------------------------------------------------------------------------

def test_explain(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    call("spec", "-b", tmp_path)
    text = call("explain", tmp_path).stdout
    assert "pivot_root" in text and "_ses.ID" in text
    plan = json.loads(call("explain", "--json", "--id", "other", tmp_path).stdout)
    assert "_ses.other" in json.dumps(plan)
    assert "pivot_root, umount2" not in call("explain", "--no-pivot", tmp_path).stdout
    assert "preserve=4" in call("explain", "--preserve-fds", "4", tmp_path).stdout


# --- coverage --------------------------------------------------------------------------------------------------------

def flags() -> list[tuple[str, str]]:
    """Every flag of the program and its commands, long and short."""
    found = [("", flag) for flag in GLOBAL.flags]
    for name in COMMANDS:
        found += [(name, flag) for flag in PROGRAM.module(name).COMMAND.flags]
    return [(name, form) for name, flag in found for form in (f"--{flag.name}", *([f"-{flag.short}"] if flag.short else
                                                                                 []))]


# Tested with their implementation in another package.
ELSEWHERE: set[tuple[str, str]] = set()


@pytest.mark.parametrize(("name", "form"), sorted({*flags()} - ELSEWHERE), ids=lambda value: value or "global")
def test_every_flag_is_used_by_a_test(name: str, form: str) -> None:
    """With its command: both are in one call, or in a table of flags in the tests of the command."""
    pattern = re.compile(rf'["\' ]{re.escape(form)}[="\' ,]')
    named = [path for path in sorted((TOP / "tests").rglob("*.py")) if pattern.search(path.read_text())]
    assert [path for path in named if not name or f'"{name}"' in path.read_text() or name in path.stem], \
        f"no test runs `pyruntime {name} {form}`"
