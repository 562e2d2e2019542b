"""AsyncSandbox: many runs in one event loop, and cancellation."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from pyruntime import AsyncSandbox, ImageStore, Limits, Sandbox, run_sandboxed_async
from pyruntime.errors import RunFailed, StateError, UsageError
from pyruntime.sandbox.api import PIPE


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


def test_every_name_of_sandbox() -> None:
    async def program() -> None:
        async with AsyncSandbox.host() as box:
            assert (box.alive, box.addresses, box.unenforced) == (True, (), box.box.unenforced)
            assert box.name.startswith("sandbox-")
            with pytest.raises(UsageError, match="always of bytes"):
                await box.popen(["cat"], text=True)
            internal = {"at_end", "python_until", "run_until"}
            names = {name for name in dir(Sandbox) if not name.startswith("_")} - internal
            assert names <= set(dir(box))

    asyncio.run(program())


def test_the_present_files(rootfs: Path, images: ImageStore) -> None:
    async def program() -> None:
        async with AsyncSandbox("box", store=images, writable=True) as box:
            await box.write("/work/file", "first")
            assert await box.diff() == [("A", "/work/file")]
            async with box.fork() as other:
                await other.write("/work/file", "other")
                assert await box.read("/work/file") == b"first"
            assert await box.commit("made", store=images) == images.find("made").id

    asyncio.run(program())


def test_one_call() -> None:
    async def program() -> None:
        done, other = await asyncio.gather(
            run_sandboxed_async("print(open('in').read())", files={"in": "abc"}, text=True),
            run_sandboxed_async(["sh", "-c", "echo x >out"], collect=["out"]))
        assert (done.stdout, other.files) == ("abc\n", {"out": b"x\n"})
        loop, seen = asyncio.get_running_loop(), []

        def look(piece: bytes) -> None:
            assert asyncio.get_running_loop() is loop
            seen.append(piece)
            task.cancel()

        task = asyncio.create_task(run_sandboxed_async(["sh", "-c", "echo begun; sleep 300"], on_stdout=look))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == [b"begun\n"]

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


def test_a_dialogue(rootfs: Path) -> None:
    async def program() -> None:
        async with AsyncSandbox(rootfs) as box:
            async with await box.popen(["cat"], stdin=PIPE) as process:
                assert process.stdin and process.stdout and process.stderr
                process.stdin.write(b"one\n")
                assert await process.stdout.readline() == b"one\n"
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(process.wait(), 0.1)
                assert process.returncode is None
                process.stdin.close()
                assert await process.wait() == 0 == process.returncode
            assert process.done.reason == "exited"
            async with await box.popen(["sh", "-c", "cat; echo problem >&2"], stdin=PIPE) as process:
                assert await process.communicate(b"x" * 100_000, max_output="64k") == (b"x" * 65536, b"problem\n")
            async with await box.popen(["sh", "-c", "stty size; exit 3"], terminal=True, size=(5, 6)) as process:
                assert process.stdout and await process.stdout.read() == b"5 6\r\n"
                assert await process.wait() == 3
            async with await box.popen(["sleep", "300"]) as process:
                pass
            assert process.done.reason == "cancelled"

    asyncio.run(program())


def test_a_stream(rootfs: Path) -> None:
    async def program() -> None:
        async with AsyncSandbox(rootfs) as box:
            stream = box.stream(["sh", "-c", "cat; sleep 0.2; echo two"], input="one\n", text=True)
            with pytest.raises(StateError, match="not been started"):
                _ = stream.done
            assert [chunk async for chunk in stream] == [("stdout", "one\n"), ("stdout", "two\n")]
            assert stream.done.returncode == 0
            async with box.stream(["yes"]) as endless:
                async for _, _data in endless:
                    break
            assert endless.done.reason == "cancelled"

            async def follow() -> None:
                async for _ in waiting:
                    pass
            waiting = box.stream(["sh", "-c", "echo ready; sleep 300"])
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(follow(), 0.5)
            assert "sleep 300" not in str((await box.run(["ps"], text=True)).stdout)
            assert waiting.done.reason == "cancelled"
            await waiting.close()

    asyncio.run(program())
