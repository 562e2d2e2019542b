"""Many sandboxes: ``python -m bench.many_sandboxes``, as root.

1,000 one after another, 100 at once in threads, 200 at once in an event loop, and some in forked children. Prints for
each how many have failed, the time, and this process's memory before and after.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyruntime import AsyncSandbox, Sandbox
from pyruntime.sandbox.leftovers import every


def resident() -> float:
    """MiB of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def one(number: int) -> bool:
    """Whether a sandbox does what it should."""
    with Sandbox.host() as box:
        return box.run(["echo", str(number)]).stdout == b"%d\n" % number


def in_threads(count: int) -> int:
    """Sandboxes that live at the same time, each used in a worker thread; how many succeed."""
    with ThreadPoolExecutor(count) as threads:
        boxes = list(threads.map(lambda _: Sandbox.host(), range(count)))
        good = list(threads.map(lambda box: box.run(["echo", "x"]).stdout == b"x\n", boxes)).count(True)
        list(threads.map(Sandbox.close, boxes))
    return good


def in_a_loop(count: int) -> int:
    """The same with asyncio."""
    async def single(all_there: asyncio.Barrier) -> bool:
        async with AsyncSandbox.host() as box:
            await all_there.wait()
            return (await box.run(["echo", "x"])).stdout == b"x\n"

    async def together() -> list[bool]:
        barrier = asyncio.Barrier(count)
        return await asyncio.gather(*(single(barrier) for _ in range(count)))

    return asyncio.run(together()).count(True)


def in_children(count: int) -> int:
    """Forked children, each with a sandbox of its own."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os._exit(not one(number))
        children.append(child)
    return sum(os.waitpid(child, 0)[1] == 0 for child in children)


def main() -> int:
    """Returns the exit status."""
    cases: dict[str, tuple[int, Callable[[int], int]]] = {
        "one after another": (1000, lambda count: sum(map(one, range(count)))),
        "at once, in threads": (100, in_threads),
        "at once, in an event loop": (200, in_a_loop),
        "in forked children": (20, in_children),
    }
    one(0)
    bad = 0
    print("| sandboxes | failed | seconds | MiB before | MiB after | MiB after the same again |\n"
          "| --- | --- | --- | --- | --- | --- |")
    for title, (count, case) in cases.items():
        before, begun = resident(), time.perf_counter()
        failed = count - case(count)
        took, after = time.perf_counter() - begun, resident()
        failed += count - case(count)
        print(f"| {count} {title} | {failed} | {took:.1f} | {before:.1f} | {after:.1f} | {resident():.1f} |",
              flush=True)
        bad += failed
    left = [found.name for found in every() if found.program == os.getpid()]
    print(f"left: {left or 'nothing'}; descriptors: {len(os.listdir('/proc/self/fd')) - 1}")
    return 1 if bad or left else 0


if __name__ == "__main__":
    sys.exit(main())
