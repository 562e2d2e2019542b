"""The effect of mount options: mode and owner of a tmpfs, attributes, read-only, propagation."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.containers import Bundle, Runtime


@pytest.fixture
def restricted(tmp_path: Path) -> Iterator[Path]:
    """A mount of the host with every attribute that a bind mount inherits, and another mount beneath it."""
    path = tmp_path / "restricted"
    path.mkdir()
    words = "nosuid,nodev,noexec,nodiratime,noatime"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{words},mode=755", "tmpfs", path], check=True)
    (path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "tmpfs", path / "below"], check=True)
    subprocess.run(["mount", "-o", f"remount,bind,ro,{words}", path], check=True)
    yield path
    subprocess.run(["umount", "-R", path], check=True)


def options_of(inside: str, place: str) -> set[str]:
    """The options of a mount, from a /proc/mounts."""
    line = next(line for line in reversed(inside.splitlines()) if f" {place} " in line)
    return set(line.split()[3].split(",")) & {"ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime"}


# --- tmpfs -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [[], ["tmpcopyup"], ["size=1m", "nosuid"]])
def test_a_tmpfs_on_a_new_mount_point_is_writable_for_all_users(
        runtime: Runtime, own_bundle: Bundle, options: list[str]) -> None:
    own_bundle.add_mount("/new/deep", "tmpfs", "tmpfs", *options)
    own_bundle.shell("stat -c %a /new /new/deep && touch /new/deep/x", process__user={"uid": 1000, "gid": 1000})
    # The second container of this root filesystem finds the mount point that was created for the first.
    assert [runtime.ok("run", name, own_bundle) for name in ("c1", "c2")] == ["755\n1777\n"] * 2


@pytest.mark.parametrize(("options", "wanted"), [
    ([], "2755 0:0"), (["tmpcopyup"], "2755 7:8"), (["mode=0711"], "711 0:0"), (["mode=0711", "tmpcopyup"], "711 7:8"),
    (["uid=3", "gid=4", "tmpcopyup"], "2755 3:4"), (["mode=0711,uid=3,gid=4", "tmpcopyup"], "711 3:4")])
def test_a_tmpfs_has_the_mode_and_owner_of_the_covered_directory_by_default(
        runtime: Runtime, own_bundle: Bundle, options: list[str], wanted: str) -> None:
    place = own_bundle.path / "rootfs" / "place"
    place.mkdir()
    (place / "file").write_text("kept\n")
    subprocess.run(["chown", "7:8", place], check=True)
    place.chmod(0o2755)
    own_bundle.add_mount("/place", "tmpfs", "tmpfs", *options)
    own_bundle.shell("stat -c '%a %u:%g' /place; cat /place/file 2>/dev/null")
    out = runtime("run", "c1", own_bundle).stdout.splitlines()
    assert out == [wanted] + ["kept"] * ("tmpcopyup" in options)


@pytest.mark.parametrize("word", ["ro", "rro"])
@pytest.mark.parametrize("user", [False, True])
def test_a_read_only_tmpfs_contains_later_mounts_and_devices(runtime: Runtime, own_bundle: Bundle, word: str,
                                                           user: bool) -> None:
    if user:
        own_bundle.in_user_namespace()
    config = own_bundle.config
    next(m for m in config["mounts"] if m["destination"] == "/dev")["options"].append(word)
    own_bundle.add_mount("/made", "tmpfs", "tmpfs", word)
    own_bundle.add_mount("/made/inner", "tmpfs", "tmpfs")
    # Covered later: the mount beneath becomes read-only nevertheless.
    own_bundle.add_mount("/made", "tmpfs", "tmpfs", "size=1m")
    own_bundle.shell("echo x >/dev/null; ls -d /dev/shm /dev/fd /dev/ptmx; touch /dev/x; touch /dev/shm/x /made/x;"
                     "cat /proc/mounts")
    done = runtime("run", "c1", own_bundle)
    assert "touch: /dev/x: Read-only file system" in done.stderr
    assert done.stdout.startswith("/dev/fd\n/dev/ptmx\n/dev/shm\n"), done
    assert options_of(done.stdout, "/dev") >= {"ro"} and options_of(done.stdout, "/made") >= {"rw"}
    first = next(line for line in done.stdout.splitlines() if " /made " in line)
    assert "ro" in first.split()[3].split(",")


# --- bind mounts -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("options", "wanted"), [
    ([], {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"}),
    (["rprivate"], {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"}),
    (["rw"], {"rw", "noatime", "nodiratime"}), (["ro"], {"ro", "noatime", "nodiratime"}),
    (["exec"], {"rw", "noatime", "nodiratime"}), (["diratime"], {"rw", "noatime"}),
    (["nosuid", "rprivate"], {"rw", "nosuid", "noatime", "nodiratime"}), (["relatime"], {"rw"})])
def test_a_bind_mount_with_options_does_not_inherit_attributes(
        runtime: Runtime, bundle: Bundle, restricted: Path, options: list[str], wanted: set[str]) -> None:
    bundle.add_mount("/mnt", "none", str(restricted), "rbind", *options)
    bundle.shell("cat /proc/mounts")
    out = runtime.ok("run", "c1", bundle)
    assert options_of(out, "/mnt") == wanted
    assert options_of(out, "/mnt/below") == {"rw", "nosuid", "nodev", "noexec"}   # only the mount itself


def test_locked_attributes_are_kept(runtime: Runtime, own_bundle: Bundle, restricted: Path) -> None:
    # Joined user namespace: the sources are opened in it, and the host's attributes are locked.
    own_bundle.add_mount("/mnt", "none", str(restricted), "rbind", "nodiratime")
    own_bundle.without_root()
    own_bundle.shell("cat /proc/mounts")
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", 'exec "$@"', "sh", *map(str, [
        COMMAND, "--root", runtime.root, "--cgroup-manager=disabled", "run",
        "c1", own_bundle])], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert options_of(done.stdout, "/mnt") == {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"}, done.stderr


# --- propagation -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rootfs", ["rprivate", "private", "rslave", "slave", "rshared", "shared", "", None])
@pytest.mark.parametrize("own", ["private", "rprivate", "slave", "rslave", "shared", "rshared"])
def test_the_propagation_of_a_mount_overrides_that_of_the_root(
        runtime: Runtime, bundle: Bundle, tmp_path: Path, rootfs: str | None, own: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source], check=True)
    try:
        subprocess.run(["mount", "--make-shared", source], check=True)
        bundle.add_mount("/mnt", "none", str(source), "bind", own)
        bundle.shell("cat /proc/self/mountinfo", linux__rootfsPropagation=rootfs)
        out = runtime.ok("run", "c1", bundle)
    finally:
        subprocess.run(["umount", source], check=True)
    fields = next(line.split() for line in out.splitlines() if line.split()[4] == "/mnt")
    tags = {field.split(":")[0] for field in fields[6:fields.index("-")]}
    kind = own.removeprefix("r")
    assert ("shared" in tags) == (kind == "shared")
    if kind != "shared":
        assert ("master" in tags) == (kind == "slave")


# --- sources ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("user", [False, True])
def test_a_source_that_an_earlier_mount_provides(runtime: Runtime, own_bundle: Bundle, tmp_path: Path,
                                                 user: bool) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file").write_text("from the earlier mount\n")
    if user:
        own_bundle.in_user_namespace()
    own_bundle.add_mount("/one", "none", str(tmp_path / "given"), "bind")
    own_bundle.add_mount("/two", "none", str(own_bundle.path / "rootfs/one/file"), "bind")
    own_bundle.shell("cat /two")
    assert runtime.ok("run", "c1", own_bundle) == "from the earlier mount\n"
