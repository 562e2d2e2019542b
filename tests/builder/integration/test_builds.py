"""Builds: the cache, build contexts and outputs, and what killed builds leave."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.builder.integration.conftest import Builder, write
from tests.commands import BIN

TEXT = "FROM busybox\nARG V=1\nCOPY . /x\nRUN echo $V > /v\n"


def _cached(builder: Builder, context: Path, *flags: str) -> list[bool]:
    """For each step that changes files, whether it came from the cache."""
    done = builder("build", "--progress", "json", "-t", "app", *flags, context)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    titles = {event["step"]: event["title"] for event in events if event["event"] == "begin"}
    return [event["outcome"] == "cached" for event in events
            if event["event"] == "end" and "FROM" not in titles[event["step"]]]


def test_a_base_is_shown_by_the_name_in_the_file(builder: Builder, tmp_path: Path) -> None:
    """The progress shows the name in FROM, not another name of the same image."""
    builder.ok("tag", "busybox", "aaa.example/first:1")
    for name in ("busybox", "aaa.example/first:1"):
        context = write(tmp_path / "context", f"ARG B={name}\nFROM $B\nENV A=1\n", {})
        assert f"FROM {name}\n" in builder("build", "--progress", "plain", context).stderr
    builder.ok("rmi", "aaa.example/first:1")


def test_the_second_build_does_nothing(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", TEXT, {"a": "1", "d/b": "2"})
    assert _cached(builder, context) == [False, False]
    first = builder.image("app").id
    assert _cached(builder, context) == [True, True]
    assert builder.image("app").id == first


@pytest.mark.parametrize(("change", "copy", "run"), [
    ("touch -d 2001-01-01 a d d/b", True, True), ("echo 1 > a", False, False), ("chmod 600 a", False, False),
    ("mv a c", False, False), ("chown 7:7 a", True, True), ("echo x > ignored", True, True), ("mkdir e", False, False),
    ("cp a t && mv t a", True, True), ("ln -s a l", False, False), ("sed -i s/V=1/V=2/ Dockerfile", True, False),
    ("sed -i 's/$V/$V $V/' Dockerfile", True, False), ("sed -i '3i # comment' Dockerfile", True, True),
    ("sed -i '3i LABEL a=b' Dockerfile", True, True), ("sed -i '3i ENV A=b' Dockerfile", True, False),
    ("printf '\\061' > a", True, True), ("echo echo > d/b && touch -r Dockerfile d/b", False, False),
])
def test_changes_that_invalidate_a_step(change: str, copy: bool, run: bool, builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", TEXT, {"a": "1", "d/b": "2", "ignored": "",
                                                 ".dockerignore": "ignored\nDockerfile\n.dockerignore\n"})
    _cached(builder, context)
    subprocess.run(["sh", "-c", change], cwd=context, check=True)
    assert _cached(builder, context) == [copy, run]


def test_a_file_of_the_same_size_and_time_is_not_taken_for_the_old_one(builder: Builder, tmp_path: Path) -> None:
    """A comparison by size and mtime alone would miss the change."""
    context = write(tmp_path / "context", "FROM busybox\nCOPY a /a\n", {"a": "1"})
    os.utime(context / "a", (10**9, 10**9))
    time.sleep(2.5)   # old enough that its digest is cached
    _cached(builder, context)
    (context / "a").write_text("2")
    os.utime(context / "a", (10**9, 10**9))
    assert _cached(builder, context) == [False]
    assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/a") == "2"


def test_arguments_count_where_they_are_used(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nRUN true\nARG V=1\nRUN echo $V\n", {})
    _cached(builder, context)
    assert _cached(builder, context, "--build-arg", "V=2") == [True, False]
    assert _cached(builder, context, "--build-arg", "V=1") == [True, True]
    assert _cached(builder, context, "--build-arg", "HTTP_PROXY=http://x:1") == [True, True]
    assert "no ARG declares the build argument" in builder("build", "--build-arg", "W=1", context).stderr


def test_no_cache(builder: Builder, tmp_path: Path) -> None:
    text = "FROM busybox AS one\nRUN echo 1 > /a\nFROM busybox AS two\nRUN echo 2 > /b\nCOPY --from=one /a /a\n"
    context = write(tmp_path / "context", text, {})
    _cached(builder, context)
    assert _cached(builder, context, "--no-cache") == [False] * 3
    assert sorted(_cached(builder, context, "--no-cache-filter", "one")) == [False, True, True]


def test_copy_from_a_stage_depends_on_the_copied_files(builder: Builder, tmp_path: Path) -> None:
    text = "FROM busybox AS one\nRUN echo 1 > /a; echo {} > /b\nFROM busybox\nCOPY --from=one /a /a\nRUN true\n"
    context = write(tmp_path / "context", text.replace("{}", "1"), {})
    _cached(builder, context)
    write(context, text.replace("{}", "2"), {})
    assert _cached(builder, context) == [False, True, True]


def test_mounts_and_secrets(builder: Builder, tmp_path: Path) -> None:
    text = ("FROM busybox\nRUN --mount=type=bind,source=d,target=/x cat /x/f > /f\n"
            "RUN --mount=type=secret,id=s cat /run/secrets/s > /dev/null\n")
    context = write(tmp_path / "context", text, {"d/f": "1", "s": "1"})
    flags = ("--secret", f"id=s,src={context}/s")
    _cached(builder, context, *flags)
    (context / "s").write_text("2")
    assert _cached(builder, context, *flags) == [True, True]
    (context / "d/f").write_text("2")
    assert _cached(builder, context, *flags) == [False, False]
    assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/f") == "2"


def test_gc_keeps_what_the_cache_has_until_it_is_pruned(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", TEXT, {"a": "x" * 100_000})
    _cached(builder, context)
    builder.ok("rmi", "app")
    builder.ok("prune", program="pyimage")
    assert _cached(builder, context) == [True, True]
    builder.ok("rmi", "app")
    said = builder.ok("builder", "prune")
    assert "forgot: COPY . /x" in said and not said.endswith(" 0B")
    assert _cached(builder, context) == [False, False]
    builder.ok("builder", "prune", "--unused-for", "1d")
    assert _cached(builder, context) == [True, True]
    assert builder.ok("verify", program="pyimage") is not None


def test_a_lost_blob_is_no_cache_hit(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", TEXT, {"a": "1"})
    _cached(builder, context)
    layer = builder.image("app").manifest.layers[-1]
    (builder.store / "blobs/sha256" / layer.digest.partition(":")[2]).unlink()
    for record in (builder.store / "cache/steps").iterdir():
        if "COPY" in record.read_text():
            record.write_text("{")   # damaged
    assert _cached(builder, context) == [False, False]


# ---- reproducible -------------------------------------------------------------------------------


def test_two_builds_are_the_same_image_under_source_date_epoch(builder: Builder, tmp_path: Path, images: Path) -> None:
    text = ("FROM busybox AS one\nRUN mkdir /o && date +%s > /dev/null && touch /o/f\nFROM busybox\nCOPY . /x\n"
            "RUN touch /t && ln /t /u && rm -r /home\nWORKDIR /w\nCOPY --from=one /o /o\nCOPY <<A /h\n1\nA\nENV a=b\n")
    digests = []
    for number in range(2):
        shutil.rmtree(builder.store)
        shutil.copytree(images, builder.store, symlinks=True)
        context = write(tmp_path / f"checkout{number}", text, {"a": "1", "d/b": "2", ".dockerignore": "Dockerfile"})
        builder.ok("build", "-t", "app", context, env={"SOURCE_DATE_EPOCH": "1700000000"})
        digests.append(builder.image("app").descriptor.digest)
        time.sleep(1.1)   # archives have whole seconds
    assert digests[0] == digests[1]
    assert builder.image("app").config.document["created"] == "2023-11-14T22:13:20Z"


# ---- several at once, and killed ----------------------------------------------------------------


def test_builds_at_the_same_time_do_a_step_once(builder: Builder, tmp_path: Path) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c,id=count echo x >> /c/count && sleep 0.3\n"
    context = write(tmp_path / "context", text, {})
    running = [builder.start("build", "--progress", "plain", context) for _ in range(4)]
    ids = set()
    for one in running:
        output, said = one.communicate(timeout=100)
        assert one.returncode == 0, said
        ids.add(output.strip())
    assert len(ids) == 1
    write(context, "FROM busybox\nRUN --mount=type=cache,target=/c,id=count wc -l < /c/count > /n\n", {})
    builder.build(context, "-t", "app")
    assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/n") == "1"


def test_independent_stages_run_at_the_same_time(builder: Builder, tmp_path: Path) -> None:
    """Each stage waits for the other through a cache mount: in sequence, they would wait in vain."""
    meet = ("RUN --mount=type=cache,target=/c,id=meet touch /c/{0}; n=0; until test -e /c/{1}; do n=$((n+1));"
            " test $n -lt 600 && sleep 0.1 || exit 1; done; touch /{0}\n")
    text = ("FROM busybox AS a\n" + meet.format("a", "b") + "FROM busybox AS b\n" + meet.format("b", "a")
            + "FROM busybox\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n")
    builder.build(write(tmp_path / "context", text, {}), "-t", "app")


def test_containers_of_parallel_steps_share_no_cgroup(builder: Builder, tmp_path: Path) -> None:
    """No container would remove a parent cgroup that another one still used: it would stay behind, empty."""
    waits = ("RUN --mount=type=cache,target=/c,id=meet touch /c/{0} /{0};"
             " until test -e /c/end; do sleep 0.1; done\n")
    text = (f"FROM busybox AS a\n{waits.format('a')}FROM busybox AS b\n{waits.format('b')}"
            "FROM busybox\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n")
    build = builder.start("build", write(tmp_path / "context", text, {}))
    records: dict[str, set[str]] = {}

    def both_run() -> bool:
        for path in (builder.run / "build").glob("*/state.json"):
            records[path.parent.name] = set(json.loads(path.read_text())["cgroup"].values())
        return len(records) == 2 and len([*(builder.store / "cache").glob("**/[ab]")]) == 2
    builder.eventually(both_run, "the steps do not run at the same time")
    (next((builder.store / "cache").glob("**/a")).parent / "end").touch()
    assert build.communicate(timeout=60) and build.returncode == 0
    cgroups = set.union(*records.values())
    assert cgroups and not any(map(os.path.exists, cgroups))
    assert all(os.path.ismount(os.path.dirname(path)) for path in cgroups), cgroups


def test_killed_at_any_time(builder: Builder, tmp_path: Path) -> None:
    """kill -9 at 30 random moments: the next build is correct, and nothing is left."""
    text = ("FROM busybox AS one\nRUN for i in 1 2 3 4 5; do echo $i > /f$i; sleep 0.02; done\nCOPY . /x\n"
            "FROM busybox\nRUN echo {} > /n\nCOPY --from=one /x /f5 /y/\nWORKDIR /w\nRUN cat /y/f5 /n > /r\n")
    chance = random.Random(7)
    context = tmp_path / "context"
    for number in range(30):
        write(context, text.format(number), {"a": "1" * 1000, f"d/{number}": "2"})
        started = builder.start("build", "--progress", "plain", "-t", "app", context, start_new_session=True)
        time.sleep(chance.random() * 0.9)
        if number % 3:
            os.kill(started.pid, signal.SIGKILL)
        else:   # with all its children
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()
    builder.build(context, "-t", "app")
    assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/r") == "5\n29"
    problems = builder("verify", program="pyimage")
    assert problems.returncode == 0, problems.stdout + problems.stderr

    def tidy() -> bool:
        builder.ok("prune", program="pyimage")
        builder.build(context)   # removes the containers of killed builds
        for lock in (builder.store / "cache/locks").iterdir():
            lock.unlink()
        return not builder.leftovers() or builder.leftovers() == [f"file {builder.root}"]

    for name in builder.ok("ps", "-aq").split():
        builder.ok("rm", "-f", name)
    builder.eventually(tidy, "leftovers of killed builds are not removed")


@pytest.mark.parametrize("network", ["none", "default"])
def test_too_few_descriptors(network: str, builder: Builder, tmp_path: Path) -> None:
    """There may be enough for a container, and too few for its removal: what cannot be removed is not made."""
    context, prefix = write(tmp_path / "context", "FROM busybox\nRUN true\n", {}), builder.prefix
    for number in range(20, 100):
        builder.prefix = [*prefix, "prlimit", f"--nofile={number}"]
        done = builder("build", "--no-cache", "--network", network, context)
        builder.prefix = prefix
        left = [path for path in builder.leftovers() if "pocker-build." in path]
        assert not left, f"{number}: {done.stderr}{left}"
        if not done.returncode:
            return
        assert "Too many open files" in done.stderr
    pytest.fail(done.stderr)


def test_interrupted(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nRUN echo begun; sleep 100\n", {})
    started = builder.start("build", "--progress", "plain", context, start_new_session=True)
    assert started.stderr is not None
    while "begun" not in started.stderr.readline():
        assert started.poll() is None
    os.killpg(started.pid, signal.SIGINT)
    started.communicate(timeout=60)
    assert started.returncode == 130


def test_interrupted_while_another_build_does_the_step(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nCOPY a /a\n", {"a": "1"})
    builder.build(context)
    (record,) = (builder.store / "cache/steps").iterdir()
    record.unlink()
    lock = builder.store / "cache/locks" / record.name
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        started = builder.start("build", "--progress", "plain", context, start_new_session=True)
        inode = f":{os.fstat(file.fileno()).st_ino} "
        builder.eventually(lambda: any("->" in line and inode in line for line in
                                       Path("/proc/locks").read_text().splitlines()), "no wait for the lock")
        os.killpg(started.pid, signal.SIGINT)
        started.communicate(timeout=20)
    lock.unlink(missing_ok=True)
    assert started.returncode == 130


# ---- where contexts come from, and results go ---------------------------------------------------


def test_a_context_on_standard_input(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nCOPY a /a\n", {"a": "1"})
    packed = subprocess.run(["tar", "-C", context, "-czf", "-", "."], capture_output=True, check=True).stdout
    for data, file in ((packed, ""), (b"FROM busybox\nRUN echo 1 > /a\n", "")):
        done = subprocess.run([str(BIN / "pocker"), "build", "-t", "app", *([] if not file else ["-f", file]), "-"],
                              input=data, env=builder.environment, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/a") == "1"
    done = subprocess.run([str(BIN / "pocker"), "build", "-t", "app", "-f", "-", context],
    input=b"FROM busybox\nCOPY a /b\n",
                          env=builder.environment, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/b") == "1"


def test_a_context_in_a_repository(builder: Builder, tmp_path: Path) -> None:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    work = write(tmp_path / "work", "FROM busybox\nRUN false\n", {})
    write(work / "sub", "FROM busybox\nCOPY . /x\n", {"a": "1"})
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "x"], ["tag", "v1"]):
        subprocess.run(["git", "-C", work, *words], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", work, tmp_path / "work.git"], check=True)
    builder.ok("build", "-t", "app", f"file://{tmp_path}/work.git#v1:sub")
    assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/x/a") == "1"
    assert "no such" in builder.fails("build", f"file://{tmp_path}/work.git#v1:none").lower()


def test_outputs(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM scratch\nCOPY a d /x/\n", {"a": "1", "d/b": "2"})
    builder.ok("build", "-o", tmp_path / "out", context)
    assert (tmp_path / "out/x/a").read_text() == "1" and (tmp_path / "out/x/b").read_text() == "2"
    builder.ok("build", "-o", f"type=tar,dest={tmp_path}/out.tar", context)
    listed = subprocess.run(["tar", "-tf", tmp_path / "out.tar"], capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["./", "x/", "x/a", "x/b"]
    for kind in ("oci", "docker"):
        image_id = builder.build(context, "-t", "localhost/given", "-o", f"type={kind},dest={tmp_path}/{kind}.tar")
        assert not builder.ok("images", "-q", "localhost/given")
        builder.ok("load", "-i", tmp_path / f"{kind}.tar")
        assert builder.image("localhost/given").id == image_id
        builder.ok("rmi", "localhost/given")


def test_names_and_ids(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nLABEL a=b\nRUN true\nCMD [\"a\"]\n", {})
    done = builder("build", "-q", "-t", "one:1", "-t", "two", "--iidfile", tmp_path / "id", context)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.strip() == (tmp_path / "id").read_text() == builder.image("one:1").id == builder.image("two").id
    history = builder.image("two").config.history
    assert [entry["created_by"] for entry in history[-3:]] == ["LABEL a=b", "RUN /bin/sh -c true # buildkit",
    'CMD ["a"]']
    assert [entry.get("empty_layer", False) for entry in history[-3:]] == [True, False, True]
    assert all(entry["comment"] == "buildkit.dockerfile.v0" for entry in history[-3:])
    layers = len(builder.image("two").manifest.layers)
    assert layers == sum(not entry.get("empty_layer") for entry in history)
    assert builder.build(context)   # an untagged image is kept, too
    assert re.fullmatch("sha256:[0-9a-f]{64}", done.stdout.strip())


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compression(compression: str, builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nCOPY a /a\n", {"a": "1" * 10_000})
    builder.build(context, "-t", "plain")
    builder.build(context, "-t", "packed", "--compression", compression)
    plain, packed = builder.image("plain"), builder.image("packed")
    assert plain.id == packed.id
    assert packed.manifest.layers[-1].media_type.endswith(compression)
    assert packed.manifest.layers[-1].size < plain.manifest.layers[-1].size
    builder.ok("run", "--rm", "--network", "none", "packed", "true")


def test_pyimage_builds_too(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nRUN echo 1 > /a\n", {})
    builder.ok("build", "-t", "app", context, program="pyimage")
    assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/a") == "1"


def test_a_base_from_an_unreachable_registry(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nFROM localhost:1/none:x\n", {})
    said = builder.fails("build", "--retries", "0", context)
    assert said.startswith("error: Dockerfile:2:6:") and "FROM localhost:1/none:x" in said


@pytest.mark.parametrize(("flags", "words"), [
    (("--progress", "none"), "--progress"), (("--network", "x"), "--network"), (("--secret", "x"), "--secret"),
    (("--output", "type=x"), "--output"), (("--build-context", "x"), "--build-context"),
    (("--add-host", "x"), "--add-host"),
    (("--ssh", "default"), "no agent"), (("--platform", "x"), "not a platform"),
    (("--compression", "x"), "--compression"),
    (("--build-arg", "SOURCE_DATE_EPOCH=253402300800"), "before the year 10000"), (("--file", "/dev/zero"), "16 MiB"),
    (("--build-arg", "SOURCE_DATE_EPOCH=" + "9" * 5000), "SOURCE_DATE_EPOCH"), (("--file", "/"), "Is a directory"),
    (("--tag", "A B"), "reference"), (("--file", "none"), "none"), (("--secret", "id=x,src=/none"), "/none"),
])
def test_wrong_flags(flags: tuple[str, ...], words: str, builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\n", {})
    assert words in builder.fails("build", *flags, context, env={"SSH_AUTH_SOCK": ""})
