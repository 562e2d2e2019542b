"""A killed command leaves a valid store; concurrent commands do not harm each other."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pyruntime.errors import DigestError, HostError, ImageError, LayerError, PyruntimeError
from pyruntime.images.digest import of
from pyruntime.images.document import Descriptor
from pyruntime.images.store import layers
from pyruntime.images.store.store import Store
from tests.images.integration.store_images import Image, archive, child, dying, fetch, listing, pull, status

BIG = random.Random(1).randbytes(3 << 20)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture(scope="module")
def image() -> Image:
    """Three layers: two independent ones, and one that inherits a directory and a file's hard link from below."""
    base = archive(("etc/", None), ("etc/passwd", b"root"), ("private/", None), ("private/key", b"secret"), mode=0o700,
                   uid=5, root=True)
    many = archive(("many/", None), *((f"many/{number}", b"x" * number) for number in range(100)), ("big", BIG))
    return Image(base, many, archive(("private/more", b"more"), ("link", "=> etc/passwd")))


@pytest.fixture(scope="module")
def other() -> Image:
    return Image(archive(("other", b"other")), archive(("other2", b"2" * 100_000)))


def sound(store: Store) -> None:
    """The store that a killed process has left is valid."""
    assert store.verify() == []


def complete(store: Store, image: Image) -> None:
    """The image is in the store, and its layers are correct."""
    made = pull(store, image, "again")
    assert len(listing(made.directories[1])) == 103
    assert listing(made.directories[2])["private"][:2] == (0o040700, 5)
    assert os.stat(f"{made.directories[2]}/link").st_nlink == 2
    assert [key.endswith(".chain") for key in made.keys] == [False, False, True]
    sound(store)


def settled(store: Store) -> None:
    """Nothing is left of killed processes after a cleanup. Workers of a killed parent need a moment to end."""
    deadline = time.monotonic() + 20
    while True:
        store.collect(everything=True)
        left = [name for name in ("ingest", "work", "trash", "leases") if os.listdir(store.layout.below(name))]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert left == []


def into(root: str, image: Image, name: str) -> None:
    """Pull into a store that is opened for it."""
    pull(Store.open(root), image, name)


# Killed.

def test_killed_at_every_step_of_a_pull(tmp_path: Path, image: Image) -> None:
    moment, done = 0, -9
    while done:
        store = Store.open(str(tmp_path / "store"))
        done = dying(partial(into, store.root, image, "x"), moment)
        assert done in (0, -9), f"moment {moment}"
        sound(store)
        complete(store, image)
        settled(store)
        shutil.rmtree(store.root)
        moment += 1
    assert moment > 100


def test_killed_one_after_another(tmp_path: Path, image: Image) -> None:
    """Each process starts with the store that the previous one left."""
    root = str(tmp_path / "store")
    for moment in range(100):
        assert dying(partial(into, root, image, "x"), moment) in (0, -9), f"moment {moment}"
        sound(Store.open(root))
    complete(Store.open(root), image)
    settled(Store.open(root))


def test_killed_at_any_time_of_a_pull(tmp_path: Path, image: Image) -> None:
    """By a signal, also while a worker writes or during a system call."""
    start = time.monotonic()
    assert status(child(lambda: pull(Store.open(str(tmp_path / "whole")), image, "x"))) == 0
    whole = time.monotonic() - start
    chance = random.Random(7)
    for number in range(60):
        root = str(tmp_path / f"store{number // 10}")
        pid = child(partial(into, root, image, "x"))
        time.sleep(chance.random() * whole)
        os.kill(pid, signal.SIGKILL)
        status(pid)
        sound(Store.open(root))
        if number % 10 == 9:
            complete(Store.open(root), image)
            settled(Store.open(root))


def test_a_killed_download_is_resumed(store: Store) -> None:
    image = Image(archive(("big", BIG)))
    layer = image.layers[0]

    def half() -> None:
        with store.ingest(layer.digest, layer.size) as ingest:
            ingest.write(image.blobs[layer.digest][:layer.size // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    assert status(child(half)) == -9
    assert fetch(store, image, layer) == layer.size - layer.size // 2
    sound(store)


def test_killed_at_every_step_of_a_collection(tmp_path: Path, image: Image, other: Image) -> None:
    """Nothing with a name is lost, whatever else is left."""
    moment, done = 0, -9
    store = Store.open(str(tmp_path / "store"))
    pull(store, image, "kept")
    while done:
        pull(store, other, "away")
        store.untag("away")
        Path(store.layout.partial(of(b"partial"))).write_bytes(b"par")
        os.makedirs(store.layout.below("work", "left/fs/behind"), exist_ok=True)
        done = dying(lambda: Store.open(store.root).collect(everything=True), moment)
        assert done in (0, -9), f"moment {moment}"
        sound(store)
        assert all(store.has(digest) for digest in image.blobs)
        moment += 1
    assert moment > 50
    complete(store, image)
    settled(store)
    assert not any(store.has(digest) for digest in other.blobs)


def test_killed_at_any_time_of_a_collection(tmp_path: Path, image: Image, other: Image) -> None:
    store = Store.open(str(tmp_path / "store"))
    pull(store, image, "kept")
    chance = random.Random(3)
    for number in range(60):
        pull(store, other, "away")
        store.untag("away")
        os.makedirs(store.layout.below("work", f"left/{number}/behind"))
        pid = child(lambda: Store.open(store.root).collect(everything=True))
        time.sleep(chance.random() * 0.02)
        os.kill(pid, signal.SIGKILL)
        status(pid)
        sound(store)
        assert all(store.has(digest) for digest in image.blobs)
    complete(store, image)
    settled(store)


def test_killed_while_making_a_store(tmp_path: Path) -> None:
    moment, done = 0, -9
    while done:
        root = str(tmp_path / f"store{moment}")
        done = dying(partial(Store.open, root), moment)
        assert done in (0, -9)
        sound(Store.open(root))
        moment += 1
    assert moment > 10


def test_a_killed_worker_is_an_error(store: Store, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    for descriptor in image.layers:
        fetch(store, image, descriptor)
    monkeypatch.setattr(os, "getppid", lambda: signal.raise_signal(signal.SIGKILL))   # the worker's first read
    with pytest.raises(PyruntimeError, match=r"layer sha256:.*ended with signal 9"):
        store.extract_layers(image.wanted)
    assert layers.all_keys(store.layout) == os.listdir(store.layout.below("work")) == []


# At once.

def test_one_download_for_all(store: Store) -> None:
    image = Image(archive(("big", BIG)))
    log = Path(store.root).parent / "log"

    def one() -> None:
        count = fetch(Store.open(store.root), image, image.layers[0])
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{count}\n".encode())

    pids = [child(one) for _ in range(6)]
    assert [status(pid) for pid in pids] == [0] * 6
    assert sorted(map(int, log.read_text().split())) == [0] * 5 + [image.layers[0].size]


def test_a_waiting_process_resumes_after_a_killed_one(store: Store) -> None:
    image = Image(archive(("big", BIG)))
    layer = image.layers[0]
    ready, tell = os.pipe()

    def first() -> None:
        with store.ingest(layer.digest, layer.size) as ingest:
            ingest.write(image.blobs[layer.digest][:1000])
            os.write(tell, b"1")
            signal.pause()

    def second() -> None:
        with store.ingest(layer.digest, layer.size, waiting=lambda: check_written(os.write(tell, b"2"))) as ingest:
            assert ingest.offset == 1000 and ingest.resumed
            ingest.write(image.blobs[layer.digest][1000:])
            ingest.commit()

    killed = child(first)
    assert os.read(ready, 1) == b"1"
    goes_on = child(second)
    assert os.read(ready, 1) == b"2"
    os.kill(killed, signal.SIGKILL)
    assert (status(killed), status(goes_on)) == (-9, 0)
    os.close(ready)
    os.close(tell)
    sound(store)


def check_written(count: int) -> None:
    assert count == 1


def test_one_extraction_for_all(store: Store, image: Image) -> None:
    for descriptor in image.layers:
        fetch(store, image, descriptor)
    pids = [child(lambda: Store.open(store.root).extract_layers(image.wanted)) for _ in range(5)]
    assert [status(pid) for pid in pids] == [0] * 5
    assert len(layers.all_keys(store.layout)) == 3 and os.listdir(store.layout.below("work")) == []
    complete(store, image)


def test_orders_of_layers_that_cross(store: Store) -> None:
    """Both layers depend on those below, and two images have them in opposite orders: there is no deadlock."""
    one, two = archive(("dir/one", b"1")), archive(("dir/two", b"2"))
    images = [Image(one, two), Image(two, one)]
    for image in images:
        for descriptor in image.layers:
            fetch(store, image, descriptor)
    pids = [child(partial(Store.open(store.root).extract_layers, image.wanted))
            for _ in range(4) for image in images]
    assert [status(pid) for pid in pids] == [0] * 8
    assert len(layers.all_keys(store.layout)) == 4
    sound(store)


def test_a_layer_twice_in_an_image(store: Store) -> None:
    layer = archive(("file", b"1"))
    image = Image(layer, archive(("other", b"2")), layer)
    made = pull(store, image, "x")
    assert made.keys[0] == made.keys[2] and len(layers.all_keys(store.layout)) == 2
    settled(store)


def test_collections_beside_pulls_lose_nothing(store: Store, image: Image, other: Image) -> None:
    def pulls() -> None:
        for number in range(15):
            mine = Store.open(store.root)
            one = (image, other)[number % 2]
            made = pull(mine, one, f"{os.getpid()}")
            with mine.lease() as lease:
                lease.add(*made.keys, *one.blobs)
                assert all(os.path.isdir(path) for path in mine.extract_layers(one.wanted).directories)
                mine.untag(f"{os.getpid()}")
                time.sleep(0.01)
                assert all(mine.has(digest) for digest in one.blobs)
                assert all(os.path.exists(f"{mine.layout.layer(key)}/info") for key in made.keys)

    def collections() -> None:
        while True:
            Store.open(store.root).collect(everything=True)

    def checks() -> None:
        mine = Store.open(store.root)
        while True:
            assert mine.verify() == []

    endless = [child(collections), child(collections), child(checks)]
    pids = [child(pulls) for _ in range(3)]
    results = [status(pid) for pid in pids]
    for pid in endless:
        os.kill(pid, signal.SIGTERM)
    assert results == [0] * 3 and [status(pid) for pid in endless] == [-15] * 3
    settled(store)
    assert layers.all_keys(store.layout) == [] and store.usage().blobs == 0


# Failures.

@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem with little space."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=755", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_disk_full_while_downloading(small: Path, other: Image) -> None:
    store = Store.open(str(small / "store"))
    pull(store, other, "other")
    huge = Image(archive(("huge", BIG * 3)))
    with pytest.raises(HostError, match=r"writing blob sha256:.*no space left: remove images"):
        pull(store, huge, "huge")
    sound(store)
    settled(store)
    assert list(store.names()) == ["other"]


def test_disk_full_while_extracting(small: Path, other: Image) -> None:
    store = Store.open(str(small / "store"))
    huge = Image(archive(("fine", b"1")), archive(("huge", BIG)))
    with pytest.raises(HostError, match=r"free|no space left"):
        pull(store, huge, "huge", workers=1)
    sound(store)
    assert os.listdir(store.layout.below("work")) == [] and len(layers.all_keys(store.layout)) == 1
    settled(store)
    pull(store, other, "other")


def test_collecting_on_a_full_disk(small: Path) -> None:
    store = Store.open(str(small / "store"))
    pull(store, Image(archive(("big", BIG[:1 << 20]))), "x")
    store.untag("x")
    with open(small / "filler", "wb") as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
                filler.flush()
        except OSError as error:
            assert error.errno == errno.ENOSPC
            filler.raw.truncate(filler.raw.tell())
        assert store.collect().size > 2 << 20
        settled(store)


def test_a_store_that_is_read_only(tmp_path: Path, image: Image, other: Image) -> None:
    store = Store.open(str(tmp_path / "store"))
    pull(store, image, "x")
    store.put(b"loose")
    subprocess.run(["mount", "--bind", store.root, store.root], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", store.root], check=True)
        store = Store.open(store.root)
        assert store.resolve("x") == image.manifest and store.verify() == []
        with store.lease() as lease:
            lease.add(image.manifest.digest)
            assert len(store.extract_layers(image.wanted).directories) == 3
        with store.ingest(image.layers[0].digest) as ingest:
            assert ingest.present
        for act in (lambda: pull(store, other, "y"), lambda: store.tag("y", image.manifest), store.collect,
                    lambda: store.put(b"new"), lambda: store.untag("x")):
            with pytest.raises(HostError, match="user 0 cannot write it"):
                act()
        assert len(store.collect(dry_run=True).blobs) == 1
    finally:
        subprocess.run(["umount", store.root], check=True)


def test_another_users_store(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))

    def stranger() -> None:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        with pytest.raises(HostError, match="name another store with PYRUNTIME_STORE"):
            Store.open(store.root)
        with pytest.raises(HostError, match="name another store with PYRUNTIME_STORE"):
            Store.open(str(tmp_path / "new"))

    for path in [*tmp_path.parents][:3]:
        assert path.is_dir()
    assert status(child(stranger)) == 0


def test_wrong_layers(store: Store) -> None:
    """A good layer beside a bad one is kept; the bad one leaves nothing."""
    good, cut = archive(("good", b"1")), archive(("bad", BIG))[:5000]
    image = Image(good, cut)
    with pytest.raises(LayerError):
        pull(store, image, "x", workers=1)
    assert layers.all_keys(store.layout) == [layers.plain_key(of(good))]
    swapped = Image(good, archive(("other", b"")))
    swapped.diff_ids[1] = of(b"something else")
    for descriptor in swapped.layers:
        fetch(store, swapped, descriptor)
    with pytest.raises(DigestError, match="the image's configuration has"):
        store.extract_layers(swapped.wanted)
    missing = Image(good, archive(("missing", b"")))
    with pytest.raises(ImageError, match=r"is not in store.*pull the image again"):
        store.extract_layers(missing.wanted)
    assert len(layers.all_keys(store.layout)) == 1 and store.names() == {}
    settled(store)


def test_progress_and_warnings_come_from_the_workers(store: Store) -> None:
    from pyruntime.images.store.extract import Talk

    image = Image(archive(("dir/", None), (".wh..wh.plnk", b"")), archive(("big", BIG)))
    for descriptor in image.layers:
        fetch(store, image, descriptor)
    seen: list[tuple[int, int]] = []
    warnings: list[str] = []
    store.extract_layers(image.wanted, talk=Talk(lambda index, done: seen.append((index, done)), warnings.append))
    assert max(done for index, done in seen if index == 1) == image.layers[1].size and len(seen) >= 4
    assert len(warnings) == 1 and "AUFS" in warnings[0]


def test_a_layer_shared_by_images_is_extracted_once(store: Store) -> None:
    shared = archive(("shared", b"1"))
    one = pull(store, Image(archive(("a", b"1")), shared), "one")
    two = pull(store, Image(archive(("b", b"1")), archive(("c", b"1")), shared), "two")
    assert one.keys[1] == two.keys[2] and len(layers.all_keys(store.layout)) == 4


def test_descriptor_of_a_blob_is_enough(store: Store) -> None:
    digest = store.put(b"{}")
    assert store.read(Descriptor("", digest, 2)) == b"{}"
