"""``python -m bench.builds``: build six steps on Debian with a context of 2,000 files, with pocker and buildah.

Measures CPU seconds (user and system, of the command and all its children) and wall seconds: of a build with every step
executed, and of a build with every step cached. Rounds are interleaved; prints medians.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bundles.images import Layout, debian

BIN = Path(sys.executable).parent
DOCKERFILE = """\
FROM localhost/base
ENV STAGE=build
COPY . /srv/app
RUN find /srv/app -type f | wc -l > /srv/count
WORKDIR /srv/app
RUN mkdir out && for i in $(seq 100); do echo $i > out/$i; done
COPY d0 /srv/again
LABEL done=yes
CMD ["cat", "/srv/count"]
"""


def _context(path: Path) -> Path:
    path.mkdir()
    for number in range(2000):
        directory = path / f"d{number // 100}"
        directory.mkdir(exist_ok=True)
        (directory / f"f{number}").write_text(f"{number}\n" * 200)
    (path / "Dockerfile").write_text(DOCKERFILE)
    return path


class Tool:
    """A builder with its own directories."""

    def __init__(self, name: str, build: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self._build = build
        self._environment = {**os.environ, **environment}
        self.seconds: dict[str, list[tuple[float, float]]] = {"uncached": [], "cached": []}

    def build(self, kind: str, context: Path, *, count: bool = True) -> None:
        """One build."""
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        words = [*self._build, *(["--no-cache"] if kind == "uncached" else []), "-t", "localhost/built", str(context)]
        done = subprocess.run(words, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise SystemExit(f"{self.name}: {done.stderr[-2000:]}")
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if count:
            self.seconds[kind].append((cpu, wall))


def _tools(work: Path) -> list[Tool]:
    layout = Layout(work / "layout")
    layout.image("localhost/base:latest", [layout.layer(debian())], Cmd=["bash"],
                 Env=["PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
    environment = {"POCKER_ROOT": f"{work}/root", "POCKER_RUN": f"{work}/run", "PYRUNTIME_STORE": f"{work}/store"}
    subprocess.run([BIN / "pyimage", "copy", f"oci:{work}/layout", "localhost/base:latest"],
                   env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    tools = [Tool("pocker build", [str(BIN / "pocker"), "build", "--progress", "plain"], environment)]
    if shutil.which("buildah"):
        base = ["buildah", "--root", f"{work}/buildah", "--runroot", f"{work}/buildah-run",
                "--storage-driver", "overlay"]
        subprocess.run([*base, "pull", "-q", f"oci:{work}/layout:localhost/base:latest"], check=True,
                       stdout=subprocess.DEVNULL)
        names = subprocess.run([*base, "images", "-q"], capture_output=True, text=True, check=True).stdout.split()
        subprocess.run([*base, "tag", names[0], "localhost/base"], check=True)
        tools.append(Tool("buildah build", [*base, "bud", "--layers", "--isolation", "chroot", "--pull-never"], {}))
    return tools


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="bench-builds"))
    try:
        tools = _tools(work)
        context = _context(work / "context")
        time.sleep(3)   # steps with freshly written files are not cached
        for tool in tools:
            tool.build("cached", context, count=False)
        for number in range(options.rounds):
            for tool in tools[number % 2:] + tools[:number % 2]:
                tool.build("uncached", context)
                tool.build("cached", context)
        print(f"{'':16}{'uncached: CPU s':>18}{'wall s':>9}{'cached: CPU s':>16}{'wall s':>9}")
        for tool in tools:
            row = [statistics.median(values[place] for values in tool.seconds[kind])
                   for kind in ("uncached", "cached") for place in (0, 1)]
            print(f"{tool.name:16}{row[0]:18.2f}{row[1]:9.2f}{row[2]:16.3f}{row[3]:9.2f}")
    finally:
        for target in ("buildah/overlay",):
            subprocess.run(["umount", work / target], capture_output=True, check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
