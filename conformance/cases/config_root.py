"""config.md#specification-version, #root, #hostname, #domainname, #annotations, #valid-values."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from conformance.lib.bundle import Config, remove_namespace, write_config
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

VERSION = "config.md#specification-version"
ROOT = "config.md#root"
VALID = "config.md#valid-values"


@requirement(VERSION, "ociVersion is required")
def version_missing(t: Trial) -> None:
    config = t.sleeper()
    del config["ociVersion"]
    t.refused(config, "no ociVersion")


def _bad_version(name: str, value: Any) -> None:
    @requirement(VERSION, f"ociVersion must be in SemVer format: {value!r} is refused", name=f"version_{name}")
    def case(t: Trial) -> None:
        t.refused(t.sleeper() | {"ociVersion": value}, f"ociVersion {value!r}")


for _name, _value in {"word": "latest", "two_parts": "1.0", "empty": "", "leading_v": "v1.0.2"}.items():
    _bad_version(_name, _value)


def _good_version(value: str) -> None:
    @requirement(
        VERSION,
        f"a bundle of a version 1.x up to 1.3.0 runs: {value}",
        name=f"version_accepts_{value.replace('.', '_').replace('-', '_')}",
    )
    def case(t: Trial) -> None:
        t.equal(t.output(t.config("echo ran") | {"ociVersion": value}), "ran", "output")


for _value in ("1.0.0", "1.0.2", "1.1.0", "1.2.0", "1.2.1", "1.3.0", "1.0.2-dev"):
    _good_version(_value)


@requirement(VERSION, "a bundle of a later major version is refused, or accepted with a warning: 2.0.0")
def version_later_major(t: Trial) -> None:
    t.refused_or_named(t.sleeper() | {"ociVersion": "2.0.0"}, "ociVersion 2.0.0", "ociVersion")


@requirement(ROOT, "root is required")
def root_missing(t: Trial) -> None:
    config = t.sleeper()
    del config["root"]
    t.refused(config, "no root")


@requirement(ROOT, "a relative root.path is relative to the bundle")
def root_relative(t: Trial) -> None:
    container = t.container(t.config("cat /marker"))
    (container.rootfs / "marker").write_text("found\n")
    t.succeed(container.create(cwd=t.path), "create")
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(container.stdout, "found\n", "a file of the root filesystem")


@requirement(ROOT, "root.path may be absolute and outside the bundle")
def root_absolute(t: Trial) -> None:
    container = t.container(t.config("cat /marker"))
    elsewhere = t.path / "elsewhere"
    container.rootfs.rename(elsewhere)
    (elsewhere / "marker").write_text("found\n")
    _rewrite(container.bundle, container.config, elsewhere)
    t.succeed(container.create(), "create")
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(container.stdout, "found\n", "a file of the root filesystem")


def _rewrite(bundle: Path, config: Config, root: Path) -> None:
    config["root"]["path"] = str(root)
    write_config(bundle, config)


@requirement(ROOT, "a directory must exist at root.path")
def root_not_there(t: Trial) -> None:
    config = t.sleeper()
    config["root"]["path"] = "nowhere"
    t.refused(config, "a root.path that does not exist")


@requirement(ROOT, "root.path must be a directory, not a file")
def root_is_a_file(t: Trial) -> None:
    config = t.sleeper()
    config["root"]["path"] = "rootfs/etc/passwd"
    t.refused(config, "a root.path that is a file")


@requirement(ROOT, "root.readonly true: the root filesystem cannot be written, mounts below it can")
def root_readonly(t: Trial) -> None:
    config = t.config("touch /x 2>/dev/null && echo wrote /; touch /dev/shm/x && echo wrote /dev/shm")
    config["root"]["readonly"] = True
    t.equal(t.output(config), "wrote /dev/shm", "writable directories")


@requirement(ROOT, "root.readonly true cannot be undone by writing to a directory of the root")
def root_readonly_everywhere(t: Trial) -> None:
    config = t.config("for d in / /etc /bin /root; do touch $d/x 2>/dev/null && echo wrote $d; done; echo done")
    config["root"]["readonly"] = True
    t.equal(t.output(config), "done", "writable directories")


@requirement(ROOT, "root.readonly defaults to false")
def root_writable(t: Trial) -> None:
    config = t.config("touch /x && echo wrote")
    del config["root"]["readonly"]
    t.equal(t.output(config), "wrote", "output")


@requirement(ROOT, "a readonly root leaves the host's directory writable on the host", level="MUST NOT")
def root_readonly_not_on_host(t: Trial) -> None:
    config = t.sleeper()
    config["root"]["readonly"] = True
    container = t.start(config)
    (container.rootfs / "host-writes").write_text("x")
    t.check((container.rootfs / "host-writes").exists(), "the host's directory became read-only")


@requirement("config.md#hostname", "hostname is the host name that processes in the container see")
def hostname(t: Trial) -> None:
    t.equal(
        t.output(t.config("hostname; cat /proc/sys/kernel/hostname") | {"hostname": "inside"}),
        "inside\ninside",
        "hostname",
    )


@requirement("config.md#hostname", "hostname does not change the host's own", level="MUST NOT")
def hostname_of_host(t: Trial) -> None:
    before = socket.gethostname()
    t.create(t.sleeper() | {"hostname": "changed-by-conformance"})
    t.equal(socket.gethostname(), before, "hostname of the host")


@requirement("config.md#hostname", "a hostname without a new UTS namespace is refused: it would be the host's")
def hostname_without_uts(t: Trial) -> None:
    config = t.sleeper()
    remove_namespace(config, "uts")
    t.refused(config, "a hostname without a UTS namespace")


@requirement("config.md#domainname", "domainname is the domain name that processes in the container see")
def domainname(t: Trial) -> None:
    config = t.config("cat /proc/sys/kernel/domainname") | {"domainname": "example.test", "ociVersion": "1.1.0"}
    t.equal(t.output(config), "example.test", "domainname")


@requirement("config.md#annotations", "unknown annotation keys are no error, also in the reserved namespace")
def annotations_unknown(t: Trial) -> None:
    config = t.config("echo ran")
    config["annotations"] = {"org.opencontainers.nobody.knows": "x", "a": "", "com.example.Ünïcode": "é"}
    t.equal(t.output(config), "ran", "output")


@requirement("config.md#annotations", "annotation values must be strings")
def annotations_number(t: Trial) -> None:
    t.refused(t.sleeper() | {"annotations": {"com.example.number": 1}}, "an annotation that is a number")


@requirement("config.md#annotations", "annotations must be a map")
def annotations_list(t: Trial) -> None:
    t.refused(t.sleeper() | {"annotations": ["com.example.a"]}, "annotations that are a list")


@requirement("config.md#annotations", "an annotation's key must not be empty", level="MUST NOT")
def annotations_empty_key(t: Trial) -> None:
    t.refused_or_named(t.sleeper() | {"annotations": {"": "x"}}, "an empty annotation key", "annotations")


def _wrong_type(name: str, path: list[str | int], value: Any) -> None:
    where = ".".join(map(str, path))

    @requirement(VALID, f"a value of the wrong type is an error: {where} = {value!r}", name=f"wrong_type_{name}")
    def case(t: Trial) -> None:
        config = t.sleeper()
        target: Any = config
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
        t.refused(config, f"{where} = {value!r}")


_wrong_type("root_path", ["root", "path"], 7)
_wrong_type("root_readonly", ["root", "readonly"], "yes")
_wrong_type("args", ["process", "args"], "sleep 1000")
_wrong_type("args_entry", ["process", "args"], ["/bin/sleep", 1000])
_wrong_type("env", ["process", "env"], {"A": "b"})
_wrong_type("uid_text", ["process", "user", "uid"], "0")
_wrong_type("uid_negative", ["process", "user", "uid"], -1)
_wrong_type("uid_too_big", ["process", "user", "uid"], 2**32)
_wrong_type("terminal", ["process", "terminal"], "false")
_wrong_type("mounts", ["mounts"], {"destination": "/proc"})
_wrong_type("mount_options", ["mounts", 0, "options"], "nosuid")
_wrong_type("hostname", ["hostname"], 1)
_wrong_type("namespaces", ["linux", "namespaces"], "pid")
_wrong_type("sysctl", ["linux", "sysctl"], {"net.ipv4.ip_forward": 1})


@requirement("config.md#hostname", "a hostname of 64 bytes fits")
def hostname_longest(t: Trial) -> None:
    t.equal(t.output(t.config("hostname") | {"hostname": "h" * 64}), "h" * 64, "hostname")


@requirement("config.md#hostname", "a hostname of 65 bytes, which the kernel refuses, generates an error")
def hostname_too_long(t: Trial) -> None:
    t.refused(t.sleeper() | {"hostname": "h" * 65}, "a hostname of 65 bytes")


@requirement("config.md#domainname", "a domainname without a new UTS namespace is refused: it would be the host's")
def domainname_without_uts(t: Trial) -> None:
    config = t.sleeper() | {"domainname": "example.test", "ociVersion": "1.1.0"}
    del config["hostname"]
    remove_namespace(config, "uts")
    t.refused(config, "a domainname without a UTS namespace")


@requirement("config.md#hostname", "without hostname the new UTS namespace keeps the host's name", level="SHOULD NOT")
def hostname_absent(t: Trial) -> None:
    config = t.config("hostname")
    del config["hostname"]
    t.equal(t.output(config), socket.gethostname(), "hostname")
