"""Templates, and pools of their sandboxes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pyruntime import AsyncPool, AsyncSandbox, ImageStore, Limits, Pool, Sandbox, Template
from pyruntime.errors import RunFailed, SandboxFileError, StateError, StepError, UsageError
from pyruntime.sandbox.leftovers import PLACE
from tests.conftest import TOP


def test_a_template_is_prepared_once(rootfs: Path) -> None:
    with Template(rootfs, files={"/work/data": "content", "/etc/made": "x"}, env={"A": "1"},
                  setup=[["sh", "-c", "cp /work/data /etc/copy; rm /etc/passwd; date +%s%N >/work/stamp"]]) as template:
        stamps = set()
        for _ in range(3):
            with template.sandbox() as box:
                done = box.run(["sh", "-c", "cat /work/data /etc/copy /etc/made; echo $A; ls /etc/passwd"], text=True)
                assert done.stdout == "contentcontentx1\n" and "No such file" in str(done.stderr)
                stamps.add(box.read("/work/stamp"))
                assert box.run(["sh", "-c", "echo mine >/work/new && touch /etc/x"]).returncode == 1, "read-only"
                assert box.read("/work/new") == b"mine\n"
        assert len(stamps) == 1
        with template.sandbox() as box, pytest.raises(SandboxFileError):
            box.read("/work/new")
    assert (rootfs / "etc/passwd").exists() and not (rootfs / "usr/copy").exists()


def test_sandboxes_do_not_change_the_template(rootfs: Path) -> None:
    with Template(rootfs, files={"/work/data": "content"}, writable=True, user=0) as template:
        with template.sandbox() as box:
            box.run(["sh", "-c", "echo changed >/work/data; rm -r /work/*; echo changed >/etc/passwd"], check=True)
        with template.sandbox() as box:
            assert box.read("/work/data") == b"content"
            assert b"changed" not in box.read("/etc/passwd")


def test_a_template_of_the_host() -> None:
    with Template(files={"/work/module.py": "value = 42"}) as template, template.sandbox() as box:
        assert box.run(["python3", "-c", "import module; print(module.value)"], text=True).stdout == "42\n"
    with Template() as template, template.sandbox(limits=Limits(pids=7)) as box:
        assert box.limits.pids == 7


def test_a_template_of_an_image(images: ImageStore) -> None:
    with Template("box", store=images, setup=[["touch", "/made"]]) as template:
        images.remove("box")
        images.prune(everything=True)
        with template.sandbox() as box:
            assert box.run(["sh", "-c", "ls /made; echo $OF; pwd"], text=True).stdout == (
                "/made\nthe image\n/home/user\n")
        assert not images.prune(everything=True)[1].layers, "the template keeps them"
    assert images.prune(everything=True)[1].layers


def test_a_set_up_that_fails_leaves_nothing(rootfs: Path) -> None:
    with pytest.raises(RunFailed, match="exit status 3"):
        Template(rootfs, setup=[["sh", "-c", "exit 3"]])
    with pytest.raises(RunFailed, match="time was over"):
        Template(rootfs, setup=[["sleep", "300"]], setup_timeout=0.3)
    with pytest.raises(RunFailed):
        Template(rootfs, setup=[["dd", "if=/dev/zero", "of=/big", "bs=1M", "count=20"]], limits=Limits(disk="8m"))
    with pytest.raises(UsageError):
        Template("/no/such/directory", setup=[["true"]])


def test_a_closed_template(rootfs: Path) -> None:
    template = Template(rootfs, files={"/work/data": "content"})
    with template.sandbox() as box:
        template.close()
        template.close()
        assert box.read("/work/data") == b"content"
        with pytest.raises(StateError, match="closed"):
            template.sandbox()


def test_a_pool(rootfs: Path) -> None:
    with Template(rootfs, files={"/work/data": "content"}) as template, Pool(template, 3) as pool:
        _until(lambda: pool.ready == 3)
        for number in range(20):
            done = pool.run(["sh", "-c", "cat /work/data; ls /work; touch /work/mine"], text=True, check=True)
            assert done.stdout == "contentdata\n", number
        with pool.sandbox() as box, pool.sandbox() as other:
            assert box.name != other.name
            assert box.run(["true"]).returncode == 0
        _until(lambda: pool.ready == 3)
    with pytest.raises(StateError, match="closed"):
        pool.run(["true"])
    pool.close()


def test_a_pool_is_used_by_many_threads(rootfs: Path) -> None:
    results: list[object] = []
    most = 0
    with Template(rootfs) as template, Pool(template, 2, most=4) as pool:
        def work() -> None:
            nonlocal most
            for _ in range(4):
                with pool.sandbox() as box:
                    most = max(most, pool._count)
                    results.append(box.run(["sh", "-c", "sleep 0.05; echo x"]).stdout)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [b"x\n"] * 32 and most <= 4


def test_a_pool_survives_dead_sandboxes(rootfs: Path) -> None:
    with Template(rootfs) as template, Pool(template, 2) as pool:
        _until(lambda: pool.ready == 2)
        for box in list(pool._ready):
            os.kill(box._container.entrance.pid, signal.SIGKILL)
        time.sleep(0.1)
        assert [pool.run(["echo", "alive"]).stdout for _ in range(5)] == [b"alive\n"] * 5


def test_a_pool_whose_sandboxes_cannot_be_made(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    template = Template(tmp_path / "none")
    with Pool(template, 1) as pool:
        with pytest.raises(UsageError, match="not a directory"):
            pool.run(["true"])
        _until(lambda: pool.error is not None)
        assert "not a directory" in str(pool.error)
        os.symlink(rootfs, tmp_path / "none")
        assert pool.run(["true"]).returncode == 0
        _until(lambda: pool.error is None and pool.ready == 1)
    with pytest.raises(UsageError):
        Pool(template, 0)
    with pytest.raises(UsageError):
        Pool(template, 4, most=3)


def test_a_pool_in_a_child(rootfs: Path) -> None:
    with Template(rootfs) as template, Pool(template, 1) as pool:
        child = os.fork()
        if child == 0:
            try:
                pool.run(["true"])
            except StateError:
                pool.close()
                with Template(rootfs) as own, own.sandbox() as box:
                    os._exit(box.run(["sh", "-c", "exit 7"]).returncode)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert pool.run(["true"]).returncode == 0


def test_a_pool_in_an_event_loop(rootfs: Path) -> None:
    async def program() -> None:
        with Template(rootfs, files={"/work/data": "content"}) as template:
            async with AsyncPool(template, 3) as pool:
                done = await asyncio.gather(*(pool.run(["cat", "/work/data"], text=True) for _ in range(20)))
                assert [one.stdout for one in done] == ["content"] * 20
                async with pool.sandbox() as box:
                    assert (await box.run(["true"])).returncode == 0
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(pool.run(["sleep", "300"]), 0.3)
            async with AsyncSandbox.of(template.sandbox) as box:
                assert await box.read("/work/data") == b"content"

    asyncio.run(program())


def test_a_wait_for_a_pool_can_be_cancelled(rootfs: Path) -> None:
    async def program() -> None:
        with Template(rootfs) as template:
            async with AsyncPool(template, 1, most=1) as pool:
                async with pool.sandbox() as box:
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(pool.run(["true"]), 0.2)
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(pool.python("print(1)"), 0.2)
                    assert (await box.run(["true"])).returncode == 0
                assert (await pool.run(["true"])).returncode == 0

    asyncio.run(program())


def test_a_pool_without_close_leaves_nothing(rootfs: Path) -> None:
    code = "from pyruntime import Pool, Template\n" \
           f"pool = Pool(Template({str(rootfs)!r}, files={{'/work/x': ''}}), 2)\n" \
           "pool.run(['true'])\nimport os; print(os.getpid())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    assert done.stderr == ""
    assert not [name for name in os.listdir(f"{PLACE}/state") if name.startswith(f"sandbox-{done.stdout.strip()}-")]


def _until(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


CODE = """
import sys, pickle
class Thing:
    pass
assert pickle.loads(pickle.dumps(Thing())) and __name__ == "__main__"
print(sys.stdin.read(), end="")
print("problem", file=sys.stderr)
sys.exit(3)
"""


def test_an_interpreter_that_waits() -> None:
    with Sandbox.host() as box:
        done = box.python(CODE, input="abc")
        assert (done.stdout, done.stderr, done.returncode) == (b"abc", b"problem\n", 3), done.stderr
        assert done.args == ("python3", "-c", CODE)
    with Template(interpreter="python3") as template:
        with template.sandbox() as box:
            assert "python3" in str(box.run(["ps", "ax"], text=True).stdout), "it waits"
            for _ in range(3):
                done = box.python(CODE, input="abc", text=True)
                assert (done.stdout, done.stderr, done.returncode) == ("abc", "problem\n", 3)
            assert box.python("1/0").returncode == 1
            assert b'File "<code>", line 1' in box.python("1/0").stderr
            assert box.python("while 1: pass", timeout=0.2).timed_out
            with pytest.raises(RunFailed):
                box.python("raise SystemExit(4)", check=True)
        with template.sandbox() as box:
            box.run(["sh", "-c", "kill -9 $(ps ax | grep '[p]ython3' | awk '{print $1}')"])
            _until(lambda: box._waiting is not None and not box._waiting.alive)
            assert box.python("print(1)").stdout == b"1\n", "another one is started"
        with template.sandbox(limits=Limits(memory="64m")) as box:
            assert box.python("x = bytearray(1 << 30)").reason == "oom"
        with pytest.raises(StepError):
            template.sandbox(interpreter="no-such-python")
        with Pool(template, 2) as pool:
            assert [pool.python(f"print({number})", text=True).stdout for number in range(6)] == [
                f"{number}\n" for number in range(6)]

            async def program() -> None:
                async with AsyncPool(template, 1) as pool:
                    done = await asyncio.gather(*(pool.python("print(input())", input=str(n), text=True)
                                                  for n in range(5)))
                    assert [one.stdout for one in done] == [f"{n}\n" for n in range(5)]
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(pool.python("while 1: pass"), 0.3)

            asyncio.run(program())
