"""config.md#mounts and #linux-mount-options, except propagation and ID-mapped mounts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from conformance import kernel
from conformance.lib import mountinfo
from conformance.lib.bundle import Config, bind, mount
from conformance.lib.mountinfo import Mounted
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

MOUNTS = "config.md#mounts"
OPTIONS = "config.md#linux-mount-options"
POSIX = "config.md#posix-platform-mounts"
MOUNTINFO = "cat /proc/self/mountinfo"


def mounted_at(t: Trial, entries: list[Config], target: str = "/mnt") -> Mounted:
    """Add the entries to a container's mounts and return the mount at the target, as seen in the container."""
    config = t.config(MOUNTINFO)
    config["mounts"] += entries
    found = mountinfo.at(t.output(config), target)
    if found is None:
        t.check(False, f"nothing is mounted on {target}")
        raise AssertionError
    return found


def _tmpfs(*options: str) -> list[Config]:
    return [mount("/mnt", "tmpfs", "conf", *options)]


def source_folder(t: Trial, name: str = "source") -> Path:
    """A directory on the host with a file and a program in it."""
    folder = t.path / name
    folder.mkdir()
    (folder / "file").write_text("content\n")
    return folder


@requirement(MOUNTS, "entries are mounted in the listed order: a later one hides an earlier one")
def listed_order(t: Trial) -> None:
    config = t.config(f"{MOUNTINFO}; ls /mnt")
    config["mounts"] += [
        mount("/mnt", "tmpfs", "first"),
        mount("/mnt/sub", "tmpfs", "below"),
        mount("/mnt", "tmpfs", "second"),
    ]
    text = t.output(config)
    t.equal([m.source for m in mountinfo.parse(text) if m.target == "/mnt"], ["first", "second"], "mounts on /mnt")
    t.check(not text.endswith("sub"), "the second mount does not hide the first")


@requirement(MOUNTS, "a mount below an earlier mount appears in it")
def nested(t: Trial) -> None:
    config = t.config(MOUNTINFO)
    config["mounts"] += [mount("/mnt", "tmpfs", "outer"), mount("/mnt/a/b", "tmpfs", "inner")]
    text = t.output(config)
    seen = [(m.target, m.source) for m in mountinfo.parse(text) if m.target.startswith("/mnt")]
    t.equal(seen, [("/mnt", "outer"), ("/mnt/a/b", "inner")], "mounts")


@requirement(MOUNTS, "a relative destination is relative to /")
def relative_destination(t: Trial) -> None:
    t.equal(mounted_at(t, [mount("mnt", "tmpfs", "relative")]).source, "relative", "source of the mount on /mnt")


@requirement(MOUNTS, "a relative source of a bind mount is relative to the bundle")
def relative_source(t: Trial) -> None:
    config = t.config("cat /mnt/file")
    config["mounts"].append(bind("beside", "/mnt"))
    container = t.container(config)
    (container.bundle / "beside").mkdir()
    (container.bundle / "beside/file").write_text("relative\n")
    t.succeed(container.create(cwd=t.path), "create")
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(container.stdout, "relative\n", "file in the bound directory")


@requirement(POSIX, "a mount is a bind mount if its options contain bind or rbind, whatever its type")
def bind_type_is_a_dummy(t: Trial) -> None:
    folder = source_folder(t)
    for number, kind in enumerate(("none", "bind", "dummy", None)):
        config = t.config("cat /mnt/file")
        config["mounts"].append(bind(folder, "/mnt") | {"type": kind})
        if kind is None:
            del config["mounts"][-1]["type"]
        t.equal(t.output(config), "content", f"file in the bound directory, type {kind} (try {number})")


@requirement(OPTIONS, "bind mounts a file on a file")
def bind_file(t: Trial) -> None:
    config = t.config("cat /etc/bound")
    config["mounts"].append(bind(source_folder(t) / "file", "/etc/bound"))
    t.equal(t.output(config), "content", "the bound file")


@requirement(OPTIONS, "bind does not include the mounts below the source")
def bind_is_not_recursive(t: Trial) -> None:
    folder = source_folder(t)
    (folder / "sub").mkdir()
    kernel.mount("conf-sub", str(folder / "sub"), "tmpfs", 0)
    (folder / "sub/hidden").write_text("x")
    config = t.config("ls /mnt/sub")
    config["mounts"].append(bind(folder, "/mnt"))
    t.equal(t.output(config), "", "files in the submount")


@requirement(OPTIONS, "rbind includes the mounts below the source")
def rbind_is_recursive(t: Trial) -> None:
    folder = source_folder(t)
    (folder / "sub").mkdir()
    kernel.mount("conf-sub", str(folder / "sub"), "tmpfs", 0)
    (folder / "sub/seen").write_text("x")
    config = t.config("ls /mnt/sub")
    config["mounts"].append(bind(folder, "/mnt") | {"options": ["rbind"]})
    t.equal(t.output(config), "seen", "files in the submount")


@requirement(MOUNTS, "a bind mount whose source does not exist generates an error")
def bind_source_missing(t: Trial) -> None:
    config = t.sleeper()
    config["mounts"].append(bind(t.path / "nowhere", "/mnt"))
    t.refused(config, "a bind mount without a source")


@requirement(POSIX, "a filesystem type unknown to the kernel generates an error")
def unknown_type(t: Trial) -> None:
    config = t.sleeper()
    config["mounts"].append(mount("/mnt", "no-such-filesystem", "x"))
    t.refused(config, "an unknown filesystem type")


@requirement(MOUNTS, "destination is required")
def destination_missing(t: Trial) -> None:
    config = t.sleeper()
    config["mounts"].append({"type": "tmpfs", "source": "tmpfs"})
    t.refused(config, "a mount without a destination")


@requirement(OPTIONS, "options of the filesystem itself are passed to it: size and mode of a tmpfs", level="SHOULD")
def filesystem_options(t: Trial) -> None:
    seen = mounted_at(t, _tmpfs("size=128k", "mode=710"))
    t.check({"size=128k", "mode=710"} <= seen.super_options, f"options of the tmpfs: {sorted(seen.super_options)}")


@requirement(OPTIONS, "an option unknown to the filesystem generates an error", level="SHOULD")
def unknown_filesystem_option(t: Trial) -> None:
    config = t.sleeper()
    config["mounts"] += _tmpfs("nosuchoption=1")
    t.refused(config, "an unknown option of tmpfs")


@requirement(MOUNTS, "mount options may be absent")
def without_options(t: Trial) -> None:
    entry = mount("/mnt", "tmpfs", "conf")
    del entry["options"]
    t.equal(mounted_at(t, [entry]).kind, "tmpfs", "type of the mount")


@requirement(
    MOUNTS, "a destination that is a symlink is resolved inside the container, never on the host", level="MUST NOT"
)
def symlink_stays_inside(t: Trial) -> None:
    config = t.config(MOUNTINFO)
    config["mounts"].append(mount("/link/sub", "tmpfs", "conf"))
    container = t.container(config)
    outside = t.path / "outside"
    (outside / "sub").mkdir(parents=True)
    (container.rootfs / "link").symlink_to(outside)
    done = container.create()
    if done.status:
        return  # refusing is also safe
    t.succeed(container.start(), "start")
    container.wait()
    seen = [m.target for m in mountinfo.parse(container.stdout) if m.source == "conf"]
    t.equal(seen, [f"{outside}/sub"], "target of the mount, as seen in the container")
    t.check(not mountinfo.at(Path("/proc/self/mountinfo").read_text(), f"{outside}/sub"), "it is mounted on the host")


# -- one case per option of the table ----------------------------------------------------------------------------------

Expect = Callable[[Mounted], bool]


def _has(word: str) -> Expect:
    return lambda seen: word in seen.options


def _lacks(*words: str) -> Expect:
    return lambda seen: not seen.options & set(words)


def _super(word: str) -> Expect:
    return lambda seen: word in seen.super_options


def _super_lacks(word: str) -> Expect:
    return lambda seen: word not in seen.super_options


# option: (options before it, expected result); an option that clears a flag follows an option that sets the flag.
_TABLE: dict[str, tuple[list[str], Expect, str]] = {
    "async": (["sync"], _super_lacks("sync"), "MUST"),
    "atime": (["noatime"], _lacks("noatime"), "MUST"),
    "defaults": ([], _lacks("ro", "nosuid", "nodev", "noexec"), "MUST"),
    "dev": (["nodev"], _lacks("nodev"), "MUST"),
    "diratime": (["nodiratime"], _lacks("nodiratime"), "MUST"),
    "dirsync": ([], _super("dirsync"), "MUST"),
    "exec": (["noexec"], _lacks("noexec"), "MUST"),
    "iversion": ([], _lacks(), "MUST"),
    "lazytime": ([], _super("lazytime"), "MUST"),
    "loud": (["silent"], _lacks(), "MUST"),
    "noatime": ([], _has("noatime"), "MUST"),
    "nodev": ([], _has("nodev"), "MUST"),
    "nodiratime": ([], _has("nodiratime"), "MUST"),
    "noexec": ([], _has("noexec"), "MUST"),
    "noiversion": ([], _lacks(), "MUST"),
    "nolazytime": (["lazytime"], _super_lacks("lazytime"), "MUST"),
    "norelatime": (["relatime"], _lacks("noatime"), "MUST"),
    "nostrictatime": (["strictatime"], _has("relatime"), "MUST"),
    "nosuid": ([], _has("nosuid"), "MUST"),
    "nosymfollow": ([], _has("nosymfollow"), "SHOULD"),
    "relatime": (["noatime", "atime"], _has("relatime"), "MUST"),
    "ro": ([], _has("ro"), "MUST"),
    "rw": (["ro"], _has("rw"), "MUST"),
    "silent": ([], _lacks(), "MUST"),
    "strictatime": ([], _lacks("relatime", "noatime"), "MUST"),
    "suid": (["nosuid"], _lacks("nosuid"), "MUST"),
    "symfollow": (["nosymfollow"], _lacks("nosymfollow"), "SHOULD"),
    "sync": ([], _super("sync"), "MUST"),
}


def _option(option: str, before: list[str], expect: Expect, level: str) -> None:
    given = ",".join([*before, option])

    @requirement(OPTIONS, f"option {option} (given {given} on a tmpfs)", level=level, name=f"option_{option}")
    def case(t: Trial) -> None:
        seen = mounted_at(t, _tmpfs(*before, option))
        shown = f"{sorted(seen.options)} {sorted(seen.super_options)}"
        t.check(expect(seen), f"{given} gives {shown}")
        t.check(option not in seen.super_options or expect(seen), f"{option} was passed to the filesystem: {shown}")


for _name, (_before, _expect, _level) in _TABLE.items():
    _option(_name, _before, _expect, _level)


def _bind_option(option: str, level: str) -> None:
    @requirement(OPTIONS, f"option {option} takes effect on a bind mount", level=level, name=f"bind_option_{option}")
    def case(t: Trial) -> None:
        seen = mounted_at(t, [bind(source_folder(t), "/mnt", option)])
        t.check(option in seen.options, f"bind,{option} gives {sorted(seen.options)}")


for _name in ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"):
    _bind_option(_name, "MUST")
_bind_option("nosymfollow", "SHOULD")


def _recursive(option: str, sets: str) -> None:
    @requirement(
        OPTIONS, f"option {option} sets {sets} on the mounts below a recursive bind too", level="SHOULD",
        name=f"recursive_{option}",
    )  # fmt: skip
    def case(t: Trial) -> None:
        t.need_kernel(5, 12, "mount_setattr(AT_RECURSIVE)")
        folder = source_folder(t)
        (folder / "sub").mkdir()
        kernel.mount("conf-sub", str(folder / "sub"), "tmpfs", 0)
        entry = bind(folder, "/mnt") | {"options": ["rbind", option]}
        for target in ("/mnt", "/mnt/sub"):
            seen = mounted_at(t, [entry], target)
            t.check(sets in seen.options, f"rbind,{option} gives {sorted(seen.options)} on {target}")


for _name in ("rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rnosymfollow"):
    _recursive(_name, _name.removeprefix("r"))


def _recursive_clear(option: str, flag: int, cleared: str) -> None:
    @requirement(
        OPTIONS, f"option {option} clears {cleared} on the mounts below a recursive bind too", level="SHOULD",
        name=f"recursive_{option}",
    )  # fmt: skip
    def case(t: Trial) -> None:
        t.need_kernel(5, 12, "mount_setattr(AT_RECURSIVE)")
        folder = source_folder(t)
        (folder / "sub").mkdir()
        kernel.mount("conf-sub", str(folder / "sub"), "tmpfs", flag)
        seen = mounted_at(t, [bind(folder, "/mnt") | {"options": ["rbind", option]}], "/mnt/sub")
        t.check(cleared not in seen.options, f"rbind,{option} gives {sorted(seen.options)}")


for _name, _flag, _cleared in (
    ("rrw", 1, "ro"),
    ("rsuid", 2, "nosuid"),
    ("rdev", 4, "nodev"),
    ("rexec", 8, "noexec"),
    ("rdiratime", 2048, "nodiratime"),
    ("rrelatime", 1024, "noatime"),
    ("rstrictatime", 1024, "noatime"),
):
    _recursive_clear(_name, _flag, _cleared)


@requirement(OPTIONS, "option ro on an rbind is not recursive: mounts below stay writable")
def ro_is_not_recursive(t: Trial) -> None:
    folder = source_folder(t)
    (folder / "sub").mkdir()
    kernel.mount("conf-sub", str(folder / "sub"), "tmpfs", 0)
    seen = mounted_at(t, [bind(folder, "/mnt") | {"options": ["rbind", "ro"]}], "/mnt/sub")
    t.check("rw" in seen.options, f"rbind,ro gives {sorted(seen.options)} on the mount below")


@requirement(OPTIONS, "option remount changes the flags of an existing mount")
def remount(t: Trial) -> None:
    again = {"destination": "/mnt", "type": "tmpfs", "source": "conf", "options": ["remount", "ro", "nosuid"]}
    seen = mounted_at(t, [*_tmpfs(), again])
    t.check({"ro", "nosuid"} <= seen.options, f"remount,ro,nosuid gives {sorted(seen.options)}")
    t.equal(seen.source, "conf", "source of the mount")


@requirement(OPTIONS, "a read-only bind mount keeps the source writable on the host", level="MUST NOT")
def ro_bind_not_on_host(t: Trial) -> None:
    folder = source_folder(t)
    config = t.config("touch /mnt/x 2>/dev/null || echo refused")
    config["mounts"].append(bind(folder, "/mnt", "ro"))
    t.equal(t.output(config), "refused", "writing inside")
    (folder / "host").write_text("x")


@requirement(MOUNTS, "a missing destination directory is created", level="SHOULD")
def destination_is_made(t: Trial) -> None:
    t.equal(mounted_at(t, [mount("/made/for/it", "tmpfs", "conf")], "/made/for/it").kind, "tmpfs", "type")


def _destination(name: str, destination: str, expected: str) -> None:
    @requirement(MOUNTS, f"the destination {destination!r} is a path like any other", name=f"destination_{name}")
    def case(t: Trial) -> None:
        config = t.config(MOUNTINFO)
        config["mounts"].append(mount(destination, "tmpfs", "conf-target"))
        targets = [m.target for m in mountinfo.parse(t.output(config)) if m.source == "conf-target"]
        t.equal(targets, [expected], "target of the mount")


_destination("spaces", "/mnt/two words", "/mnt/two\\040words")
_destination("unicode", "/mnt/é", "/mnt/é")
_destination("dots", "/mnt/a/../b", "/mnt/b")
_destination("slashes", "//mnt///c/", "/mnt/c")


@requirement(MOUNTS, "mounts onto missing directories work under a read-only root too")
def destination_under_readonly_root(t: Trial) -> None:
    config = t.config("touch /made/x && echo wrote")
    config["root"]["readonly"] = True
    config["mounts"].append(mount("/made", "tmpfs", "conf"))
    t.equal(t.output(config), "wrote", "output")


@requirement(OPTIONS, "bind mounts a device and a socket on missing files")
def bind_special_files(t: Trial) -> None:
    folder = source_folder(t)
    os.mkfifo(folder / "fifo")
    config = t.config("test -p /opt/fifo && test -c /opt/null && echo both")
    config["mounts"] += [bind(folder / "fifo", "/opt/fifo"), bind("/dev/null", "/opt/null")]
    t.equal(t.output(config), "both", "output")


@requirement(OPTIONS, "the source of a bind mount may be a symlink: it is resolved on the host")
def bind_symlink_source(t: Trial) -> None:
    folder = source_folder(t)
    (t.path / "link").symlink_to(folder)
    config = t.config("cat /mnt/file")
    config["mounts"].append(bind(t.path / "link", "/mnt"))
    t.equal(t.output(config), "content", "file in the bound directory")


@requirement(MOUNTS, "many mounts are all mounted, in order")
def many(t: Trial) -> None:
    config = t.config(MOUNTINFO)
    config["mounts"] += [mount(f"/mnt/{number}", "tmpfs", f"conf-{number}") for number in range(120)]
    seen = [m.source for m in mountinfo.parse(t.output(config)) if m.target.startswith("/mnt/")]
    t.equal(seen, [f"conf-{number}" for number in range(120)], "mounts below /mnt")


@requirement(POSIX, "an overlay is mounted with its own options")
def overlay(t: Trial) -> None:
    t.skip_unless("\toverlay\n" in Path("/proc/filesystems").read_text(), "the kernel has no overlay filesystem")
    lower, upper, work = (t.path / name for name in ("lower", "upper", "work"))
    for folder in (lower, upper, work):
        folder.mkdir()
    (lower / "file").write_text("lower\n")
    config = t.config("cat /mnt/file; echo new > /mnt/new")
    options = (f"lowerdir={lower}", f"upperdir={upper}", f"workdir={work}")
    config["mounts"].append(mount("/mnt", "overlay", "overlay", *options))
    t.equal(t.output(config), "lower", "file of the lower layer")
    t.equal((upper / "new").read_text(), "new\n", "file in the upper layer")


@requirement(POSIX, "proc takes its own options: hidepid", level="SHOULD")
def proc_options(t: Trial) -> None:
    config = t.config("grep ' /proc ' /proc/self/mountinfo")
    config["mounts"][0]["options"] = ["nosuid", "noexec", "nodev", "hidepid=2"]
    seen = t.output(config)
    t.check("hidepid=" in seen, f"options of /proc: {seen}")
