"""The front's tables, its decoder, and its build; tests/runtime/integration/test_front.py tests its effect."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from pyruntime.runtime.cli.front import tables
from pyruntime.runtime.lifecycle.life import life_plan
from pyruntime.runtime.lifecycle.store import StateRecord
from pyruntime.runtime.plan.life import LIFE, OPS, VERBS
from tests.conftest import TOP, compile_c

FRONT = TOP / "pyruntime/native/front"
MUSL = 80_000   # bytes


def plan(**changes: object) -> bytes:
    """A life plan of a container that never existed."""
    record = StateRecord(**{"id": "c1", "pid": 12345, "started": 67890, "ociVersion": "1.3.0", "bundle": "/b",
                       "cgroup": {"freezer": "/c/freezer/c1", "devices": "/c/devices/c1", "": "/c/unified/c1"},
                       "cgroup_made": ["/c/freezer/c1", "/c/devices", "/c/devices/c1", "/c/unified/c1"], **changes})
    return life_plan(record, os.stat("/"), notifies=False)


def test_the_generated_header_is_fresh() -> None:
    assert (FRONT / "life.h").read_text() == tables(), "run `make generate`"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_front_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    compile_c(tmp_path / "front", sorted(FRONT.glob("*.c")), compiler=compiler)


def test_the_front_is_small_and_static() -> None:
    program = (FRONT / "front").read_bytes()
    assert program[:4] == b"\x7fELF" and b"/lib64/ld-linux" not in program and b"ld-musl" not in program
    assert len(program) < MUSL


def test_the_front_has_no_words_but_those_for_a_missing_interpreter() -> None:
    """All other output for users is printed by Python."""
    texts = {path.name: path.read_text() for path in FRONT.glob("*.c")}
    assert {name for name, text in texts.items() if "complain(" in text} == {"python.c"}
    assert not [name for name, text in texts.items() if re.search(r"printf\(|\bputs\(|perror|strerror", text)
                and name != "python.c"]


def test_every_instruction_is_emitted_and_every_verb_has_its_list() -> None:
    source = "".join((TOP / f"pyruntime/runtime/lifecycle/{name}.py").read_text() for name in ("life", "replay"))
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


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [TOP / "tests/native/fuzz_life.c", FRONT / "plan.c", FRONT / "request.c", FRONT / "exec.c",
               FRONT / "files.c"]
    return compile_c(tmp_path_factory.mktemp("fuzz") / "fuzz", sources, f"-I{FRONT}",
                     "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", compiler="clang")


def test_the_fuzz_target_survives(fuzz: Path, tmp_path: Path) -> None:
    """A short run; `make fuzz` runs it for longer."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "plan").write_bytes(plan())
    for number, words in enumerate(("--root\0/r\0state\0c1\0", "kill\0-a\0c1\0SIGKILL\0", "ps\0-f=json\0c1\0",
                                    "--log\0/l\0--log-format\0json\0delete\0--force\0c1\0", "list\0-q\0")):
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
