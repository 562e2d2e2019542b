"""AsyncSandbox: many runs in one event loop, and cancellation."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from pyruntime import AsyncSandbox, Limits
from pyruntime.errors import RunFailed, StateError, UsageError


def test_the_names_of_sandbox() -> None:
    async def program() -> None:
        async with AsyncSandbox.host(limits=Limits(memory="64m")) as box:
            await box.write("/work/in", b"abc")
            done = await box.run(["sh", "-c", "cat in; cat >out"], input=b"xyz", text=True)
            assert (done.stdout, await box.read("/work/out")) == ("abc", b"xyz")
            with pytest.raises(RunFailed):
                await box.run(["false"], check=True)
        with pytest.raises(StateError, match="is closed"):
            await box.run(["true"])
        with pytest.raises(StateError, match="async with"):
            await AsyncSandbox.host().run(["true"])
        with pytest.raises(UsageError):
            async with AsyncSandbox("/no/such/directory"):
                raise AssertionError

    asyncio.run(program())


def test_many_runs_wait_together(rootfs: Path) -> None:
    async def program() -> None:
        async with AsyncSandbox(rootfs, limits=Limits(pids=200)) as box:
            begun = time.monotonic()
            done = await asyncio.gather(*(box.run(["sh", "-c", f"sleep 2; echo {number}"]) for number in range(60)))
            assert [int(one.stdout) for one in done] == list(range(60))
            assert time.monotonic() - begun < 20

    asyncio.run(program())


def test_many_sandboxes(rootfs: Path) -> None:
    async def one(number: int) -> bytes | str:
        async with AsyncSandbox(rootfs) as box:
            return (await box.run(["echo", str(number)])).stdout

    async def program() -> list[bytes | str]:
        return await asyncio.gather(*map(one, range(40)))

    assert asyncio.run(program()) == [b"%d\n" % number for number in range(40)]


def test_cancellation_kills(rootfs: Path) -> None:
    async def program() -> None:
        async with AsyncSandbox(rootfs) as box:
            other = asyncio.create_task(box.run(["sleep", "1"]))
            begun = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(box.run(["sh", "-c", "(setsid sleep 300 &); sleep 301"]), 0.5)
            assert time.monotonic() - begun < 5
            assert "sleep 30" not in str((await box.run(["ps"], text=True)).stdout)
            assert (await other).reason == "exited"

    asyncio.run(program())


def test_a_cancelled_creation_leaves_nothing(rootfs: Path) -> None:
    async def make() -> None:
        async with AsyncSandbox(rootfs):
            await asyncio.sleep(60)

    async def program() -> None:
        for seconds in (0, 0.001, 0.005, 0.01, 0.05):
            task = asyncio.create_task(make())
            await asyncio.sleep(seconds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(program())
