"""The local store: blobs, names, leases, garbage collection, verification; without root and without layers."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pyruntime.errors import ConfigError, DigestError, ImageError, NoSuchImage, PyruntimeError, UsageError
from pyruntime.images import media
from pyruntime.images.digest import chain_ids, of
from pyruntime.images.document import Descriptor
from pyruntime.images.store import layers, names
from pyruntime.images.store.layout import default_root
from pyruntime.images.store.store import Store
from pyruntime.system.json import encode


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def put(store: Store, value: object, media_type: str) -> Descriptor:
    """Store a document."""
    data = value if isinstance(value, bytes) else encode(value).encode()
    return Descriptor(media_type, store.put(data), len(data))


def image(store: Store, *contents: bytes, variant: str = "") -> tuple[Descriptor, list[str]]:
    """An image with these bytes as layers; its manifest and every digest it needs."""
    blobs = [put(store, content, media.OCI_LAYER) for content in contents]
    config = put(store, {"architecture": "amd64", "os": "linux", "variant": variant, "rootfs": {
        "type": "layers", "diff_ids": [blob.digest for blob in blobs]}}, media.OCI_CONFIG)
    manifest = put(store, {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": config.json(),
                           "layers": [blob.json() for blob in blobs]}, media.OCI_MANIFEST)
    return manifest, [manifest.digest, config.digest, *(blob.digest for blob in blobs)]


def index(store: Store, *manifests: Descriptor) -> Descriptor:
    return put(store, {"schemaVersion": 2, "mediaType": media.OCI_INDEX,
                       "manifests": [manifest.json() for manifest in manifests]}, media.OCI_INDEX)


def fake_layer(store: Store, diff_id: str, **info: Any) -> str:
    """An extracted layer, as far as the garbage collection reads it."""
    key = layers.plain_key(diff_id)
    os.makedirs(f"{store.layout.layer(key)}/fs")
    Path(store.layout.layer(key), "info").write_text(layers.Info(diff_id=diff_id, usage=4096, **info).json())
    return key


# Making and opening.

def test_other_users_cannot_read_a_new_store(store: Store) -> None:
    assert os.stat(store.root).st_mode & 0o777 == 0o700
    assert all(os.stat(f"{store.root}/{name}").st_mode & 0o077 == 0 for name in os.listdir(store.root))


def test_a_store_is_found_again(store: Store) -> None:
    digest = store.put(b"content")
    assert Store.open(store.root).has(digest)


def test_a_killed_creation_of_a_store_is_completed(tmp_path: Path) -> None:
    (tmp_path / "store/blobs").mkdir(parents=True)
    store = Store.open(str(tmp_path / "store"))
    assert store.has(store.put(b"x")) and store.verify() == []


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UsageError, match=r'is not a store, and holds "holiday.jpg"'):
        Store.open(str(tmp_path))
    assert os.listdir(tmp_path) == ["holiday.jpg"]


@pytest.mark.parametrize(("text", "words"), [("99 trusted.\n", "format 99.*newer"), ("", "not a store's"),
                                             ("one trusted.", "not a store's"), ("1 other.", "not a store's")])
def test_an_unknown_format_is_refused(store: Store, text: str, words: str) -> None:
    Path(store.root, "version").write_text(text)
    with pytest.raises(ImageError, match=words):
        Store.open(store.root)


def test_default_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRUNTIME_STORE", "/some/where")
    assert default_root() == "/some/where"
    monkeypatch.delenv("PYRUNTIME_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_root() == "/data/pyruntime"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_root() == "/home/me/.local/share/pyruntime"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("pyruntime.images.store.layout.privileged", lambda: True)
    assert default_root() == "/var/lib/pyruntime"


# Blobs.

@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_ingest(store: Store, algorithm: str) -> None:
    digest = of(b"hello world", algorithm)
    assert not store.has(digest) and store.size(digest) == -1
    with store.ingest(digest, 11) as ingest:
        assert not ingest.present and ingest.offset == 0
        ingest.write(b"hello ")
        ingest.write(memoryview(b"world"))
        assert ingest.offset == 11 and not store.has(digest)
        ingest.commit()
    assert store.has(digest) and Path(store.path(digest)).read_bytes() == b"hello world"
    assert store.read(Descriptor("", digest, 11)) == b"hello world"
    assert os.listdir(store.layout.below("ingest")) == [] and os.listdir(store.layout.below("leases")) == []
    with store.ingest(digest, 11) as ingest:
        assert ingest.present


def test_a_partial_download_is_resumed_and_hashed(store: Store) -> None:
    digest = of(b"hello world")
    with store.ingest(digest) as ingest:
        ingest.write(b"hello ")
    with store.ingest(digest, 11) as ingest:
        assert ingest.offset == 6 and ingest.resumed
        ingest.write(b"world")
        ingest.commit()
    assert Path(store.path(digest)).read_bytes() == b"hello world"


def test_a_corrupted_partial_download_is_discarded(store: Store) -> None:
    digest = of(b"hello world")
    Path(store.layout.partial(digest)).write_bytes(b"hallo ")
    with store.ingest(digest, 11) as ingest:
        assert ingest.resumed
        ingest.write(b"world")
        with pytest.raises(DigestError, match="does not match its digest"):
            ingest.commit()
    assert not store.has(digest)
    with store.ingest(digest, 11) as ingest:
        assert ingest.offset == 0 and not ingest.resumed


def test_a_partial_download_too_long_restarts(store: Store) -> None:
    digest = of(b"hello")
    Path(store.layout.partial(digest)).write_bytes(b"hello world")
    with store.ingest(digest, 5) as ingest:
        assert ingest.offset == 0 and not ingest.resumed
        ingest.write(b"hello")
        ingest.commit()
    assert Path(store.path(digest)).read_bytes() == b"hello"


def test_restart(store: Store) -> None:
    digest = of(b"hello")
    with store.ingest(digest, 5) as ingest:
        ingest.write(b"xx")
        ingest.restart()
        ingest.write(b"hello")
        ingest.commit()
    assert Path(store.path(digest)).read_bytes() == b"hello"


def test_too_many_bytes_are_refused_at_once(store: Store) -> None:
    with store.ingest(of(b"hello"), 5) as ingest, pytest.raises(DigestError, match="longer than the 5 bytes"):
        ingest.write(b"hello world")
    assert os.listdir(store.layout.below("ingest")) == []


def test_too_few_bytes_are_refused(store: Store) -> None:
    with store.ingest(of(b"hello"), 5) as ingest:
        ingest.write(b"hell")
        with pytest.raises(DigestError, match="has 4 bytes"):
            ingest.commit()
    assert not store.has(of(b"hello"))


def test_damaged_documents_are_not_read(store: Store) -> None:
    digest = store.put(b"{}")
    os.chmod(store.path(digest), 0o600)
    Path(store.path(digest)).write_bytes(b"[]")
    with pytest.raises(DigestError):
        store.read(Descriptor("", digest, 2))
    assert any("is damaged" in problem for problem in store.verify())
    assert store.verify(content=False) == []


def test_reading_has_a_limit_and_names_missing_content(store: Store) -> None:
    digest = store.put(b"123456")
    with pytest.raises(ImageError, match="the limit is 5"):
        store.read(Descriptor("", digest, 6), 5)
    with pytest.raises(ImageError, match="is not in store"):
        store.read(Descriptor("", of(b"absent"), 6))


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../../etc/passwd", "md5:" + "0" * 32,
                                    "sha256:" + "A" * 64, "/etc/passwd", "sha256:" + "0" * 63 + "/"])
def test_an_invalid_digest_has_no_path(store: Store, digest: str) -> None:
    for act in (store.has, store.path, store.open_blob, store.ingest):
        with pytest.raises(ImageError):
            act(digest)


def test_empty_content(store: Store) -> None:
    assert store.read(Descriptor("", store.put(b""), 0)) == b"" and store.verify() == []


def test_threads_share_a_download(store: Store) -> None:
    content = os.urandom(1 << 20)
    written: list[int] = []

    def one() -> None:
        with store.ingest(of(content), len(content)) as ingest:
            if not ingest.present:
                written.append(len(content) - ingest.offset)
                ingest.write(content)
                ingest.commit()

    threads = [Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written == [len(content)] and os.listdir(store.layout.below("leases")) == []


# Names.

NAMES = ["docker.io/library/busybox:latest", "localhost:5000/a/b@sha256:" + "0" * 64, "a" * 255, "x/" * 120 + "y",
         "..", ".", ".hidden", "%2F", "a b", "ü/ä:ö", "-rf", "UPPER"]


@pytest.mark.parametrize("name", NAMES)
def test_names(store: Store, name: str) -> None:
    one, two = Descriptor(media.OCI_MANIFEST, of(b"1"), 1), Descriptor(media.OCI_INDEX, of(b"2"), 2)
    store.tag("other", one)
    with pytest.raises(NoSuchImage):
        store.resolve(name)
    store.tag(name, one)
    store.tag(name, Descriptor(two.media_type, two.digest, two.size, {"annotations": {"a": "b"}}))
    assert store.resolve(name) == two, "a name keeps type, digest and size; other members are dropped"
    assert store.names() == dict(sorted({"other": one, name: two}.items()))
    assert store.untag(name) and not store.untag(name)
    assert store.names() == {"other": one}
    assert os.listdir(store.layout.below("work")) == []


def test_names_do_not_collide() -> None:
    files = {names.file_name(name) for name in [*NAMES, "a/b", "a%2Fb", "a_b", "x/" * 120 + "z"]}
    assert len(files) == len(NAMES) + 4 and all("/" not in file and len(file) < 255 for file in files)


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb"])
def test_invalid_names(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        store.tag(name, Descriptor(media.OCI_MANIFEST, of(b"1"), 1))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name":"x","descriptor":{}}', '{"name":"x","descriptor":1}',
                                  '{"name":"x","descriptor":{"mediaType":"","digest":"sha256:x","size":1}}'])
def test_a_damaged_name(store: Store, text: str) -> None:
    Path(store.layout.below("names", "x")).write_text(text)
    for act in (lambda: store.resolve("x"), store.names, store.collect):
        with pytest.raises((ImageError, ConfigError)):
            act()
    assert len(store.verify()) == 1
    assert store.untag("x") and store.verify() == []


# Garbage collection.

def test_gc_keeps_content_of_names(store: Store) -> None:
    one, needed = image(store, b"layer 1", b"layer 2")
    two, others = image(store, b"layer 2", b"layer 3")
    both = index(store, one, two)
    store.tag("both", both)
    store.tag("one", one)
    kept = {fake_layer(store, of(b"layer 1")), fake_layer(store, of(b"layer 2")), fake_layer(store, of(b"layer 3"))}
    assert store.collect().size == 0
    store.untag("both")
    dry = store.collect(dry_run=True)
    assert {name for name, _ in dry.blobs} == {both.digest, two.digest, others[1], of(b"layer 3")}
    assert store.has(both.digest) and dry.size > 0
    done = store.collect()
    assert done.blobs == dry.blobs and done.layers == dry.layers == [(layers.plain_key(of(b"layer 3")), 4096)]
    assert all(store.has(digest) for digest in needed) and not store.has(of(b"layer 3"))
    assert set(layers.all_keys(store.layout)) == kept - {layers.plain_key(of(b"layer 3"))}
    assert os.listdir(store.layout.below("trash")) == [] and store.collect().size == 0
    store.untag("one")
    store.collect()
    assert not any(store.has(digest) for digest in needed)


def test_gc_keeps_layers_by_chain(store: Store) -> None:
    manifest, _ = image(store, b"layer 1", b"layer 2")
    store.tag("x", manifest)
    chain = chain_ids([of(b"layer 1"), of(b"layer 2")])[1]
    key = layers.chain_key(chain)
    os.makedirs(f"{store.layout.layer(key)}/fs")
    os.makedirs(store.layout.below("subvolumes", chain[7:]))
    os.makedirs(store.layout.below("subvolumes", "0" * 64))
    done = store.collect()
    assert layers.all_keys(store.layout) == [key] and done.subvolumes == [("0" * 64, 0)]
    assert os.listdir(store.layout.below("subvolumes")) == [chain[7:]]


def test_gc_keeps_leased_content(store: Store) -> None:
    manifest, needed = image(store, b"layer")
    loose = store.put(b"loose")
    with store.lease() as lease:
        lease.add(manifest.digest, loose)
        Store.open(store.root).collect()
        assert all(store.has(digest) for digest in [*needed, loose])
        with store.lease():
            pass   # the inner one does not end the outer one
        Store.open(store.root).collect()
        assert store.has(loose)
    store.collect()
    assert not store.has(loose) and not any(store.has(digest) for digest in needed)


def test_a_forked_child_leaves_the_lease_alone(store: Store) -> None:
    loose = store.put(b"loose")
    with store.lease() as lease:
        lease.add(loose)
        if (pid := os.fork()) == 0:
            lease.__exit__()
            os._exit(0)
        os.waitpid(pid, 0)
        assert Store.open(store.root).collect().size == 0 and store.has(loose)


def test_a_void_lease_is_removed(store: Store) -> None:
    loose = store.put(b"loose")
    Path(store.layout.below("leases", "1.1.0")).write_text(f"{loose}\n")
    assert [name for name, _ in store.collect().leases] == ["1.1.0"]
    assert not store.has(loose) and os.listdir(store.layout.below("leases")) == []


def test_gc_keeps_layers_of_bundles(store: Store, tmp_path: Path) -> None:
    key = fake_layer(store, of(b"layer"))
    used = layers.layers_of(store.layout, [key], [of(b"layer")])
    (tmp_path / "bundle").mkdir()
    record = store.add_bundle(str(tmp_path / "bundle"), manifest=of(b"m"), driver="overlay", layers=used)
    assert [found.path for found in store.bundles()] == [str(tmp_path / "bundle")]
    assert store.collect().size == 0 and layers.all_keys(store.layout) == [key]
    again = store.add_bundle(str(tmp_path / "bundle"), manifest=of(b"m"), driver="copy", layers=used)
    assert [name for name, _ in store.collect().bundles] == [record.path]
    store.remove_bundle(again)
    assert store.bundles() == [] and os.listdir(tmp_path / "bundle") == []
    store.collect()
    assert layers.all_keys(store.layout) == []


def test_a_removed_bundle_keeps_nothing(store: Store, tmp_path: Path) -> None:
    key = fake_layer(store, of(b"layer"))
    (tmp_path / "bundle").mkdir()
    store.add_bundle(str(tmp_path / "bundle"), manifest=of(b"m"), driver="overlay",
                     layers=layers.layers_of(store.layout, [key], [of(b"layer")]))
    os.rename(tmp_path / "bundle", tmp_path / "moved")
    assert store.collect().layers == [(key, 4096)] and os.listdir(store.layout.below("bundles")) == []


def test_gc_and_partials(store: Store) -> None:
    for name in (b"old", b"new", b"busy"):
        Path(store.layout.partial(of(name))).write_bytes(b"x" * 5000)
    os.utime(store.layout.partial(of(b"old")), (0, 0))
    os.utime(store.layout.partial(of(b"busy")), (0, 0))
    with Store.open(store.root).ingest(of(b"busy")):
        assert [name for name, size in store.collect().partials] == ["sha256-" + of(b"old")[7:]]
        assert [name for name, size in store.collect(everything=True).partials] == ["sha256-" + of(b"new")[7:]]
    assert len(store.collect().partials) == 1 and os.listdir(store.layout.below("ingest")) == []


def test_gc_removes_abandoned_work_and_trash(store: Store) -> None:
    deep = Path(store.layout.below("work", "x/fs/a/b"))
    deep.mkdir(parents=True)
    (deep / "file").touch()
    os.chmod(deep, 0)
    Path(store.layout.below("work", "y")).touch()
    Path(store.layout.below("trash", "z/w")).mkdir(parents=True)
    assert {name for name, _ in store.collect().work} == {"x", "y"}
    assert os.listdir(store.layout.below("work")) == os.listdir(store.layout.below("trash")) == []


def test_trees_are_removed_however_deep(store: Store) -> None:
    fd = os.open(store.layout.below("work"), os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 10, dir_fd=fd)
        below = os.open("d" * 10, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    store.collect()
    assert os.listdir(store.layout.below("work")) == os.listdir(store.layout.below("trash")) == []


def test_gc_removes_nothing_if_a_document_is_damaged(store: Store) -> None:
    manifest, needed = image(store, b"layer")
    store.tag("x", manifest)
    loose = store.put(b"loose")
    os.chmod(store.path(manifest.digest), 0o600)
    Path(store.path(manifest.digest)).write_bytes(b"{}")
    with pytest.raises(ImageError, match=r'nothing was removed.*\n.*image "x"'):
        store.collect()
    assert store.has(loose) and all(store.has(digest) for digest in needed)
    assert len(store.verify()) == 2
    store.untag("x")
    store.collect()
    assert not store.has(loose)


def test_a_digest_with_two_types_hides_nothing(store: Store) -> None:
    """A layer has the digest of another image's manifest: that manifest's own layers are kept."""
    victim, needed = image(store, b"layer")
    decoy = Descriptor(media.OCI_LAYER, victim.digest, victim.size)
    manifest = put(store, {"schemaVersion": 2, "config": put(store, b"{}", media.OCI_EMPTY).json(),
                           "layers": [decoy.json()]}, media.OCI_MANIFEST)
    for name in ("a", "z"):
        store.tag(name, manifest)
    store.tag("m", victim)
    store.collect()
    assert all(store.has(digest) for digest in needed) and store.verify() == []


def test_indexes_of_indexes(store: Store) -> None:
    manifest, needed = image(store, b"layer")
    nested = manifest
    for _ in range(1500):   # deeper than Python recurses
        nested = index(store, nested)
    store.tag("deep", nested)
    assert store.collect().blobs == [] and all(store.has(digest) for digest in needed)


# Verification and sizes.

def test_verify_reports_missing_content(store: Store) -> None:
    manifest, needed = image(store, b"layer")
    absent = Descriptor(media.OCI_MANIFEST, of(b"of another platform"), 5)
    store.tag("x", index(store, manifest, absent))
    assert store.verify() == []
    os.unlink(store.path(needed[2]))
    assert [needed[2] in problem and 'image "x"' in problem for problem in store.verify()] == [True]


def test_verify_reports_changed_layers(store: Store) -> None:
    key = fake_layer(store, of(b"layer"), names=1, size=3)
    file = Path(store.layout.layer(key), "fs", "file")
    file.write_text("abc")
    assert store.verify() == []
    file.write_text("abcd")
    assert "was changed" in store.verify()[0]
    Path(store.layout.layer(key), "info").write_text("{}")
    assert "is damaged" in store.verify()[0]
    Path(store.layout.layer(key), "info").unlink()
    assert "is incomplete" in store.verify()[0]
    os.rename(store.layout.layer(key), store.layout.layer("0" * 64))
    Path(store.layout.layer("0" * 64), "info").write_text(layers.Info(diff_id=of(b"layer"), names=1, size=4).json())
    assert "has the record of" in store.verify()[0]


def test_verify_reports_a_bundle_without_its_layers(store: Store, tmp_path: Path) -> None:
    key = fake_layer(store, of(b"layer"))
    (tmp_path / "bundle").mkdir()
    store.add_bundle(str(tmp_path / "bundle"), manifest=of(b"m"), driver="overlay",
                     layers=layers.layers_of(store.layout, [key], [of(b"layer")]))
    assert store.verify() == []
    assert store.layers_of(store.bundles()[0]).keys == [key]
    os.rename(store.layout.layer(key), tmp_path / "stolen")
    assert "unpack the bundle again" in store.verify()[0]
    with pytest.raises(ImageError, match="unpack the image again"):
        store.layers_of(store.bundles()[0])


def test_usage(store: Store) -> None:
    one, needed = image(store, b"1" * 1000, b"shared" * 1000)
    two, _ = image(store, b"22" * 1000, b"shared" * 1000)
    store.tag("one", one)
    store.tag("uno", one)
    store.tag("two", two)
    fake_layer(store, of(b"1" * 1000))
    fake_layer(store, of(b"shared" * 1000))
    store.put(b"loose")
    found = store.usage()
    images = {image.name: image for image in found.images}
    assert images["one"].size == images["uno"].size == sum(store.size(digest) for digest in needed)
    assert images["one"].size - images["one"].unique == images["two"].size - images["two"].unique == 6000
    assert (images["one"].layers, images["one"].own_layers, images["two"].own_layers) == (8192, 4096, 0)
    assert found.unused == 5 and found.layers == 8192 and found.partials == 0


# What fails.

def test_a_file_instead_of_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PyruntimeError, match="file"):
        Store.open(str(tmp_path / "file"))
