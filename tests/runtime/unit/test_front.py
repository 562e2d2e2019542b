"""The front's tables, its decoder, and its build; tests/runtime/integration/test_front.py tests its effect."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from binascii import crc32
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruntime.runtime.cgroups.host import CgroupHost
from pyruntime.runtime.cli.front import tables
from pyruntime.runtime.compiler.compile import Plan
from pyruntime.runtime.compiler.setup import Host
from pyruntime.runtime.config.joining import asked_process, kept_of
from pyruntime.runtime.config.load import Config
from pyruntime.runtime.lifecycle.exec import ExecRequest, exec_plan
from pyruntime.runtime.lifecycle.life import Life
from pyruntime.runtime.lifecycle.replay import keep
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.runtime.lifecycle.template import template
from pyruntime.runtime.plan.encode import HEADER, STUB, encode
from pyruntime.runtime.plan.life import LIFE, OPS, VERBS
from pyruntime.system import uapi
from pyruntime.system.processes import start_time
from tests.conftest import PADDING, TOP, compile_c

FRONT = TOP / "pyruntime/native/front"
MUSL = 80_000   # bytes


def plan(**changes: object) -> bytes:
    """A life plan of a container that never existed."""
    record = StateRecord(**{"id": "c1", "pid": 12345, "started": 67890, "ociVersion": "1.3.0", "bundle": "/b",
                       "cgroup": {"freezer": "/c/freezer/c1", "devices": "/c/devices/c1", "": "/c/unified/c1"},
                       "cgroup_made": ["/c/freezer/c1", "/c/devices", "/c/devices/c1", "/c/unified/c1"], **changes})
    return Life(record, None, notifies=False).plan(os.stat("/"))


def test_the_generated_header_is_fresh() -> None:
    assert (FRONT / "life.h").read_text() == tables(), "run `make generate`"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_front_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    compile_c(tmp_path / "front", sorted(FRONT.glob("*.c")), compiler=compiler)


def test_the_front_is_small_and_static() -> None:
    program = (FRONT / "front").read_bytes()
    assert program[:4] == b"\x7fELF" and b"/lib64/ld-linux" not in program and b"ld-musl" not in program
    assert len(program) < MUSL + PADDING


def test_the_front_has_no_words_but_those_for_a_missing_interpreter() -> None:
    """All other output for users is printed by Python."""
    texts = {path.name: path.read_text() for path in FRONT.glob("*.c")}
    assert {name for name, text in texts.items() if "complain(" in text} == {"python.c"}
    assert not [name for name, text in texts.items() if re.search(r"printf\(|\bputs\(|perror|strerror", text)
                and name != "python.c"]


def test_every_instruction_is_emitted_and_every_verb_has_its_list() -> None:
    source = "".join((TOP / f"pyruntime/runtime/{name}.py").read_text()
                     for name in ("plan/life", "lifecycle/life", "lifecycle/exec_list", "lifecycle/template",
                                  "lifecycle/replay"))
    assert [name for name in OPS if f'emit("{name}"' not in source and name != "verb"] == []
    assert [name for name in VERBS if f'verb("{name}"' not in source] == []


def test_what_is_not_ordinary_has_no_list() -> None:
    whole = _verbs(plan())
    assert whole == set(VERBS) - {"exec"}
    assert whole - _verbs(plan(hooks={"poststop": [{}]})) == {"delete", "delete_force"}
    assert whole - _verbs(plan(hooks={"poststart": [{}]})) == {"start"}
    assert whole - _verbs(plan(has_process=False)) == {"start"}
    assert whole - _verbs(plan(own_pids=False)) == {"kill_hard", "kill_all_hard"}
    assert whole - _verbs(plan(unit="x.scope", user_unit=True)) == {"delete", "delete_force"}
    assert whole - _verbs(plan(cgroup={}, cgroup_made=[])) == {"ps", "pause", "resume"}


def _verbs(data: bytes) -> set[str]:
    at, found = 24, set()
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], "little")
        if int.from_bytes(data[at + 8:at + 10], "little") == LIFE.numbers["verb"]:
            found.add(list(VERBS)[int.from_bytes(data[at + 16:at + 24], "little") - 1])
        at += size
    return found


class Process:
    """A container's template, and what Python would compile for a request."""

    def __init__(self, place: Path, **process: Any) -> None:
        self.place = place
        config = Config({**SAMPLE, "process": {**SAMPLE["process"], **process}}, "config.json", "/b")
        self.kept = kept_of(config, new_keyring=True)
        self.record = StateRecord(id="c1", pid=12345, started=67890, bundle="/b", cgroup={"freezer": "/c/freezer/c1"})
        self.container = StateDirectory(str(place), "c1")
        os.makedirs(self.container.directory, exist_ok=True)
        self.container.keep(json.dumps(self.kept).encode())
        own = asked_process(self.kept, ["/"])
        user = {**own["user"], "uid": 1}
        self.template = template(self.container, self.plan({**own, "user": user}), own)

    def plan(self, process: dict[str, Any]) -> Plan:
        host = Host(cgroup=CgroupHost((), None))
        config = Config({**self.kept, "process": process}, "exec", "/b")
        return exec_plan(self.container, self.record, config, ExecRequest(), host, uapi.CLONE_NEWPID)

    def compiled(self, args: list[str], **options: Any) -> list[bytes]:
        """The records of the launch plan by Python."""
        return _records(encode(self.plan(asked_process(self.kept, args, **options)).steps))

    def filled(self, program: Path, *words: str) -> list[bytes]:
        """The records of the launch plan by the front; none if it hands over."""
        (self.place / "template").write_bytes(self.template)
        done = subprocess.run([program, self.place / "template", "pyruntime", *words], capture_output=True, check=False)
        assert done.returncode in (0, 3), done.stderr
        return _records(done.stdout) if done.returncode == 0 else []


def _records(plan: bytes) -> list[bytes]:
    """The records without their steps' numbers: the template has one step more than a plan for the user 0."""
    magic, size, count, checksum, fingerprint = HEADER.unpack_from(plan)
    body = plan[HEADER.size:]
    assert (magic, size, checksum, fingerprint) == (STUB.magic, len(plan), crc32(body), STUB.fingerprint)
    found = []
    while body:
        size = int.from_bytes(body[:4], "little")
        found.append(body[:4] + body[8:size])
        body = body[size:]
    assert len(found) == count
    return found


@pytest.mark.parametrize("lives", [True, False])
def test_a_plan_is_kept_only_while_its_container_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       lives: bool) -> None:
    """Later, state.json and exec.json may be those of another container with the same ID."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    process = Process(tmp_path)
    process.record.pid, process.record.started = os.getpid(), start_time(os.getpid()) - (not lives)
    process.container.write(process.record)
    asked = process.plan(asked_process(process.kept, ["true"]))
    keep(process.container, process.record, asked, encode(asked.steps), b"{}")
    assert bool(list(Path(process.container.directory).glob("exec.[0-7]"))) == lives


SAMPLE = json.loads((TOP / "bundles/busybox/config.json").read_text())
OWN = [{}, {"env": None}, {"env": ["A=0", "B=0", "A=1", "PATH=/p", "HOME="]}, {"cwd": "/tmp"},
       {"user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 18}}, {"noNewPrivileges": False}]
WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
ID = st.integers(0, 70000)


@pytest.fixture(scope="module")
def fill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [FRONT / f"{name}.c" for name in ("plan", "request", "exec", "files", "fill")]
    return compile_c(tmp_path_factory.mktemp("fill") / "fill", [TOP / "tests/native/fill_template.c", *sources],
                     f"-I{FRONT}", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.parametrize("own", OWN, ids=repr)
@settings(max_examples=60, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_filled_template_is_the_plan_that_python_compiles(fill: Path, tmp_path: Path, own: dict[str, Any],
                                                            data: st.DataObject) -> None:
    """Byte for byte, except for the numbers of the steps."""
    args = [data.draw(WORD.filter(bool)), *data.draw(st.lists(WORD, max_size=4))]
    names = st.sampled_from(["A", "B", "C", "PATH", "HOME", "X1"])
    env = data.draw(st.lists(st.builds("{}={}".format, names, WORD), max_size=5))
    user = data.draw(st.sampled_from(["", "0", "0:0", "{}", "{}:{}"])).format(data.draw(ID), data.draw(ID))
    cwd = data.draw(st.sampled_from(["", "/", "/tmp", "/a b"]))
    words = [word for entry in env for word in ("-e", entry)]
    words += ["--cwd", cwd, "-u", user] if cwd or user else []
    process = Process(tmp_path, **own)
    made = process.filled(fill, "exec", *words, "c1", *args)
    assert made and made == process.compiled(args, cwd=cwd, env=env, user=user)


@pytest.mark.parametrize("words", [
    "c1", "c1 ", "-e =1 c1 true", "-e A c1 true", "--cwd tmp c1 true", "-u x c1 true", "-u 1: c1 true", "-u :1 c1 true",
    "-u 4294967295 c1 true", "-u 1:4294967295 c1 true", "-u -1 c1 true", "-u 1x c1 true", "-t c1 true",
    "--process /p c1 true", "-- c1 true", "-dt c1 true", "-u 00000000000000000001 c1 true", "../c1 true",
    "c1" + 3 * f" {'x' * 100_000}", "--pid-file a/../b c1 true"], ids=lambda words: words[:30])
def test_what_the_front_does_not_fill_in(fill: Path, tmp_path: Path, words: str) -> None:
    assert Process(tmp_path).filled(fill, "exec", *words.split(" ")) == []


@pytest.mark.parametrize("count", [256, 257])
def test_variables_that_do_not_fit(fill: Path, tmp_path: Path, count: int) -> None:
    words = [word for number in range(count) for word in ("-e", f"V{number}=1")]
    assert bool(Process(tmp_path).filled(fill, "exec", *words, "c1", "true")) == (count <= 256)


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [TOP / "tests/native/fuzz_life.c", FRONT / "plan.c", FRONT / "request.c", FRONT / "exec.c",
               FRONT / "files.c"]   # and fill.c, which it includes
    return compile_c(tmp_path_factory.mktemp("fuzz") / "fuzz", sources, f"-I{FRONT}",
                     "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", compiler="clang")


def test_the_fuzz_target_survives(fuzz: Path, tmp_path: Path) -> None:
    """A short run; `make fuzz` runs it for longer."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "plan").write_bytes(plan())
    (corpus / "template").write_bytes(Process(tmp_path).template)
    for number, words in enumerate(("--root\0/r\0state\0c1\0", "kill\0-a\0c1\0SIGKILL\0", "ps\0-f=json\0c1\0",
                                    "--log\0/l\0--log-format\0json\0delete\0--force\0c1\0", "list\0-q\0",
                                    "exec\0-e\0A=2\0--cwd\0/x\0-u5:6\0--user=7\0-d\0c1\0sh\0-c\0")):
        (corpus / f"words{number}").write_bytes(words.encode())
    done = subprocess.run([fuzz, "-rss_limit_mb=0", "-runs=20000", "-max_len=8192", "-seed=1", corpus],
                          capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_damaged_plans_are_refused(tmp_path: Path) -> None:
    """4,000 damaged plans, none accepted."""
    script = tmp_path / "many.c"
    script.write_text('''
#include "front.h"
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	unsigned size, accepted = 0, total = 0;
	while (fread(&size, 4, 1, stdin) == 1) {
		unsigned char *data = malloc(size ? size : 1);
		struct plan plan;
		const char *why;
		if (!data || fread(data, 1, size, stdin) != size)
			return 2;
		total++;
		accepted += !plan_verify(data, size, &plan, &why);
		free(data);
	}
	printf("%u of %u", accepted, total);
	return 0;
}
''')
    program = compile_c(tmp_path / "many", [script, FRONT / "plan.c"], f"-I{FRONT}", "-fsanitize=address,undefined",
                        "-fno-sanitize-recover=all")
    chance, good = random.Random(7), plan()
    feed = b""
    for turn in range(4000):
        bad = bytearray(good)
        if turn % 4 == 0:
            del bad[chance.randrange(len(bad)):]
        elif turn % 4 == 1:
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        elif turn % 4 == 2:
            at = chance.randrange(len(bad))
            del bad[at:at + chance.randrange(1, 64)]
        else:
            bad += bytes(chance.randrange(1, 64))
        feed += len(bad).to_bytes(4, "little") + bytes(bad)
    feed += len(good).to_bytes(4, "little") + good
    done = subprocess.run([program], input=feed, capture_output=True, check=False)
    assert done.stdout == b"1 of 4001", done.stderr
