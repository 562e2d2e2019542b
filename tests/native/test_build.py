"""How the C programs are built: flags of the environment, warnings, hardening, sizes."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PADDING, TOP

PROGRAMS = TOP / "pyruntime/native"
ET_DYN, PT_INTERP, PT_GNU_RELRO, EM_AARCH64 = 3, 3, 0x6474E552, 183   # elf.h
STUB_SIZE = 102_400   # bytes, 25 pages: each counts in a waiting container


def commands(**environment: str) -> str:
    """The commands that would build the programs."""
    return subprocess.run(["make", "-n", "-B", "PACKAGES=", *(f"pyruntime/native/{name}/{name}" for name in (
        "stub", "monitor", "proxy", "init"))], cwd=TOP, capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], **environment}).stdout


def headers(name: str) -> tuple[int, set[int]]:
    """The type of an ELF program, and the types of its segments."""
    data = (PROGRAMS / name / name).read_bytes()
    kind, (offset,), (size, count) = (struct.unpack_from("<H", data, 16)[0], struct.unpack_from("<Q", data, 32),
                                      struct.unpack_from("<HH", data, 54))
    return kind, {struct.unpack_from("<I", data, offset + index * size)[0] for index in range(count)}


def test_flags_of_the_environment_are_honoured() -> None:
    lines = [line for line in commands(CFLAGS="-O3 -DMINE", LDFLAGS="-Wl,--mine").splitlines() if " -o " in line]
    assert len(lines) == 4
    for line in lines:
        assert "-O3 -DMINE" in line and "-Os" not in line
        assert line.endswith(" -Wl,--mine")


def test_warnings_are_no_errors_for_users() -> None:
    assert "-Werror" not in commands() + (PROGRAMS / "cflags").read_text()
    assert "-Werror" not in "".join(path.read_text() for path in PROGRAMS.glob("build_*.py"))


@pytest.mark.parametrize("name", ["monitor", "proxy", "shim"])
def test_programs_that_stay_on_the_host_are_static_pie(name: str) -> None:
    if shutil.which("musl-gcc") and not [*Path("/usr/lib").glob("*-linux-musl*/rcrt1.o")]:
        pytest.skip("this musl has no start file for static-pie programs")
    kind, segments = headers(name)
    assert kind == ET_DYN and PT_INTERP not in segments and PT_GNU_RELRO in segments


def test_the_stub_stays_small() -> None:
    if not shutil.which("musl-gcc"):
        pytest.skip("without musl-gcc, the stub is ten times as large")
    assert (PROGRAMS / "stub/stub").stat().st_size < STUB_SIZE + PADDING


def test_programs_for_another_architecture() -> None:
    """Without warnings. tests/vm/arm64 runs them."""
    if not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("the compiler for arm64 is not installed: run tools/install-deps test")
    subprocess.run(["make", "-s", "PACKAGES=", "CROSS=aarch64-linux-gnu", "cross"], cwd=TOP, check=True)
    for name in ("stub", "monitor", "proxy", "init", "front", "shim"):
        assert struct.unpack_from("<H", (TOP / f"build/aarch64-linux-gnu/{name}").read_bytes(), 18) == (EM_AARCH64,)


def test_big_endian_machines_are_refused() -> None:
    """By the compiler: Python writes numbers, filters and the kernel's structures as little-endian machines do."""
    checked = ["gcc", "-fsyntax-only", "-U__BYTE_ORDER__", str(PROGRAMS / "stub/plan.c")]
    for order, status in ("LITTLE", 0), ("BIG", 1):
        done = subprocess.run([*checked, f"-D__BYTE_ORDER__=__ORDER_{order}_ENDIAN__"], capture_output=True, text=True,
                              check=False)
        assert (done.returncode, "little-endian machines only" in done.stderr) == (status, status == 1), done.stderr
