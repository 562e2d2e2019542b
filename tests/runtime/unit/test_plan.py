"""The instruction set, the encoding, and the stub's decoder."""

from __future__ import annotations

import os
import random
import subprocess
from binascii import crc32
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.build import names
from bundles.golden import golden, reference_plan
from pyruntime.errors import PyruntimeError
from pyruntime.runtime.compiler.compile import Plan
from pyruntime.runtime.lifecycle.launch import Launch
from pyruntime.runtime.plan import encode as wire
from pyruntime.runtime.plan.explain import json as explain_json
from pyruntime.runtime.plan.generate import header
from pyruntime.runtime.plan.phases import ORDER, PHASES
from pyruntime.runtime.plan.steps import BYTES, INT, OPS, STR, step
from tests.conftest import NATIVE, TOP, compile_c


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("native") / "decode"
    return compile_c(target, [TOP / "tests/native/decode.c", NATIVE / "plan.c"], "-fsanitize=address,undefined",
                     "-fno-sanitize-recover=all")


def decode(decoder: Path, plan: bytes, directory: Path) -> tuple[int, str]:
    file = directory / "plan"
    file.write_bytes(plan)
    done = subprocess.run([decoder, file], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr   # anything else is a sanitizer's complaint
    return done.returncode, done.stdout


def test_generated_header_is_fresh() -> None:
    assert (NATIVE / "steps.h").read_text() == header(), "run `make generate`"


def test_every_operation_is_described() -> None:
    for op in OPS.values():
        assert op.doc and op.calls and op.actor in ("host", "stub"), op.name


def test_every_operation_is_emitted_somewhere() -> None:
    emitters = [path.read_text() for room in ("compiler/sections", "cgroups")
                for path in (TOP / "pyruntime/runtime" / room).glob("*.py")]
    emitters.append((TOP / "pyruntime/runtime/plan/encode.py").read_text())   # sync
    assert [name for name in OPS if not any(f'"{name}"' in text for text in emitters)] == []


def test_a_plan_that_cannot_be_encoded_leaves_nothing_open() -> None:
    """The library's caller may go on for years."""
    nul = step("seal", "prepare_exec", "process.args", args=["echo", "a\0b"], env=[], preserve=0)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(PyruntimeError, match=r"process\.args: .* holds a NUL character"):
            Launch(Plan([nul], [], {}, []), {}, 0, lambda text: None).run()
    assert len(os.listdir("/proc/self/fd")) == before


def test_every_phase_has_a_reason() -> None:
    assert list(ORDER) == list(PHASES)
    assert all(len(why) > 20 for why in PHASES.values())


@pytest.mark.parametrize("name", names())
def test_golden_plan(name: str) -> None:
    assert (TOP / "bundles" / name / "plan.txt").read_text() == golden(name), "run `python -m bundles.golden`"


@pytest.mark.parametrize("name", names())
def test_phases_are_in_order(name: str) -> None:
    order = [ORDER[item.phase] for item in reference_plan(name).steps]
    assert order == sorted(order)


@pytest.mark.parametrize("name", names())
def test_every_step_names_its_place(name: str) -> None:
    assert all(item.where for item in reference_plan(name).steps)


@pytest.mark.parametrize("name", names())
def test_stub_decodes_what_python_encodes(name: str, decoder: Path, tmp_path: Path) -> None:
    steps = reference_plan(name).steps
    status, text = decode(decoder, wire.encode(steps), tmp_path)
    assert status == 0
    expected = []
    host = False
    for index, item in enumerate(steps):
        if item.op.actor == "stub":
            host = False
            expected.append((index, item.op.name))
        elif not host:
            host = True
            expected.append((index, "sync"))
    assert [(int(line.split()[0]), line.split()[1]) for line in text.splitlines()] == expected


def test_explain_json_is_one_document() -> None:
    import json
    document = json.loads(explain_json(reference_plan("hooks")))
    assert [item["number"] for item in document["steps"]] == list(range(1, len(document["steps"]) + 1))
    assert {item["actor"] for item in document["steps"]} == {"host", "stub", "init"}
    assert any(item["path"] == "hooks.createContainer[0]" for item in document["steps"])


def test_truncated_and_damaged_plans_are_refused(decoder: Path, tmp_path: Path) -> None:
    """4,000 damaged plans, none accepted: a plan with a missing or changed step must never be executed."""
    plan = wire.encode(reference_plan("seccomp").steps)
    chance = random.Random(7)
    script = tmp_path / "many.c"
    # One process for all plans: starting a sanitized program 4,000 times would take minutes.
    script.write_text('''
#include "plan.h"
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
		if (!plan_verify(data, size, &plan, &why))
			accepted++;
		free(data);
	}
	printf("%u of %u", accepted, total);
	return 0;
}
''')
    program = compile_c(tmp_path / "many", [script, NATIVE / "plan.c"], "-fsanitize=address,undefined",
                        "-fno-sanitize-recover=all")
    batch = bytearray()
    for _ in range(4000):
        damaged = bytearray(plan)
        kind = chance.randrange(5)
        place = chance.randrange(len(plan))
        if kind == 0:
            damaged[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del damaged[place:place + chance.randint(1, 64)]
        elif kind == 2:
            del damaged[place:]
        elif kind == 3:
            damaged[place:place] = chance.randbytes(chance.randint(1, 64))
        else:
            end = min(len(plan), place + chance.randint(2, 64))
            if damaged[place:end] == damaged[place:end][::-1]:
                damaged[place] ^= 0xFF
            else:
                damaged[place:end] = damaged[place:end][::-1]
        batch += len(damaged).to_bytes(4, "little") + damaged
    done = subprocess.run([program], input=bytes(batch), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"0 of 4000"


@pytest.mark.parametrize(("change", "complaint"), [
    (lambda body: body[:16] + body[16:], None),
    (lambda body: (8).to_bytes(4, "little") + body[4:], "malformed"),            # a record shorter than its head
    (lambda body: (1 << 20).to_bytes(4, "little") + body[4:], "malformed"),      # longer than the plan
    (lambda body: body[:8] + (9999).to_bytes(2, "little") + body[10:], "malformed"),   # no such operation
    (lambda body: body[:10] + b"\x09" + body[11:], "malformed"),                 # no such fault
    (lambda body: body[:11] + b"\x01" + body[12:], "malformed"),                 # a reserved byte
    (lambda body: body + bytes(8), "malformed|after the last"),
])
def test_invalid_plans_are_refused(change: object, complaint: str | None, decoder: Path, tmp_path: Path) -> None:
    plan = wire.encode([step("isolate", "set_hostname", "hostname", name="x")])
    body = change(plan[wire.HEADER.size:])  # type: ignore[operator]
    header = wire.HEADER.pack(wire.STUB.magic, wire.HEADER.size + len(body), 1, crc32(body), wire.STUB.fingerprint)
    status, text = decode(decoder, header + body, tmp_path)
    if complaint is None:
        assert (status, text) == (0, "0 set_hostname x\n")
    else:
        assert status == 1 and any(word in text for word in complaint.split("|")), text


def test_strings_with_nul_are_refused() -> None:
    from pyruntime.errors import PyruntimeError
    with pytest.raises(PyruntimeError, match="NUL"):
        wire.encode([step("isolate", "set_hostname", "hostname", name="a\0b")])


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40),
                max_size=30),
       st.integers(-2**63, 2**64 - 1))
@settings(max_examples=200)
def test_encoding_round_trip(texts: list[str], number: int) -> None:
    """Decode the bytes by the description of the format, independently of the stub."""
    item = step("seal", "prepare_exec", "process.args", args=texts, env=texts[::-1], preserve=number)
    plan = wire.encode([item])
    magic, size, count, crc, _ = wire.HEADER.unpack_from(plan)
    assert (magic, size, count, crc) == (wire.STUB.magic, len(plan), 1, crc32(plan[wire.HEADER.size:]))
    at = wire.HEADER.size + wire.RECORD.size
    for expected in (texts, texts[::-1]):
        entries, length = (int.from_bytes(plan[at + skip:at + skip + 4], "little") for skip in (0, 4))
        data = plan[at + 8:at + 8 + length]
        assert entries == len(expected)
        assert data == b"".join(text.encode() + b"\0" for text in expected)
        at += 8 + length
    assert int.from_bytes(plan[at:at + 8], "little") == number & (2**64 - 1)
    assert len(plan) % 8 == 0


def test_step_refuses_unknown_fields() -> None:
    with pytest.raises(AssertionError):
        step("isolate", "set_hostname", "hostname", named="x")
    with pytest.raises(AssertionError):
        step("nowhere", "set_hostname", "hostname", name="x")


def test_field_kinds_are_known_to_both_sides() -> None:
    kinds = {kind for op in OPS.values() for kind in op.fields.values()}
    assert kinds <= {INT, STR, "strs", BYTES}
