"""The image commands by Docker's names, and what `run` does if an image is not in the local store."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images.integration.registries import PASSWORD, USER, serve
from tests.pocker.integration.command import Pocker
from tests.pocker.integration.test_run_flags import NONE


@pytest.fixture
def own(tmp_path: Path, store: Path) -> Pocker:
    """The command with a store of its own, with the image `busybox`."""
    made = Pocker(tmp_path, tmp_path / "store")
    made.ok("import", "--cmd", "sh", "--label", "kind=small", next(store.parent.glob("*.tar")), "busybox")
    return made


def test_lists(own: Pocker) -> None:
    heading, row = own.ok("images").splitlines()
    assert heading.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert row.split()[:2] == ["busybox", "latest"]
    own.ok("tag", "busybox", "team/web:1.2")
    assert own.ok("images", "--format", "{{.Repository}}:{{.Tag}}", "team/web") == "team/web:1.2"
    assert len(own.ok("images", "-q").split()) == 1
    assert len(own.ok("images", "--format", "json").splitlines()) == 2
    assert own.ok("image", "ls", "-f", "reference=team/*", "--format", "{{.Tag}}") == "1.2"
    assert own.ok("images", "-f", "label=kind=small", "-f", "reference=busybox", "--format", "{{.Tag}}") == "latest"
    assert own.ok("images", "-q", "-f", "label=kind=large") == ""
    heading, row = own.ok("history", "busybox").splitlines()
    assert heading.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert row.split()[0] == own.ok("images", "-q")


def test_times_of_images_are_times(own: Pocker, store: Path) -> None:
    """Other builders write local times, and times without a fraction: as strings, they would be out of order."""
    archive = next(store.parent.glob("*.tar"))
    for name, created in (("early", "2024-05-01T12:00:00+02:00"), ("late", "2024-05-01T11:00:00.5Z"),
                          ("latest", "2024-05-01T11:00:00.75Z")):
        own.ok("import", "--created", created, archive, f"t:{name}", program="pyimage")

    def tags(*filters: str) -> str:
        words = (f"--filter={text}" for text in filters)
        return " ".join(own.ok("images", "--format", "{{.Tag}}", *words, "t").split())

    assert tags() == "latest late early"
    assert tags("before=t:late") == "early" and tags("since=t:early") == "latest late"
    assert tags("until=2024-05-01T10:30:00Z") == "early"
    assert tags("until=2024-05-01T11:00:00.6Z") == "late early"
    own.ok("image", "prune", "-af", "--filter", "until=2024-05-01T10:30:00Z")
    assert tags() == "latest late"


def test_an_image_that_a_container_uses_is_not_removed(own: Pocker) -> None:
    own.ok("create", "--name", "user", *NONE, "busybox", "echo", "still here")
    assert 'used by container "user"' in own.fails("rmi", "busybox")
    own.ok("rmi", "-f", "busybox")
    assert own.ok("images", "-q") == ""
    assert own.ok("start", "-a", "user") == "still here"   # the layers that the container needs are kept
    own.ok("rm", "user")
    own.ok("image", "prune")
    assert own.ok("system", "df", "--format", "{{.Size}}").splitlines()[0] == "0B"
    own.check()


def test_save_and_load(own: Pocker, tmp_path: Path) -> None:
    own.ok("save", "-o", tmp_path / "image.tar", "busybox")
    own.ok("rmi", "busybox")
    assert "no such image" in own.fails("run", "--rm", "--pull", "never", *NONE, "busybox", "true", status=125)
    assert "busybox:latest" in own.ok("load", "-i", tmp_path / "image.tar")
    assert own.ok("run", "--rm", *NONE, "busybox", "echo", "back") == "back"


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, bz2.compress, lzma.compress],
                         ids=["tar", "gzip", "bzip2", "xz"])
def test_archives_are_packed_as_people_pack_them(own: Pocker, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    own.ok("save", "-o", tmp_path / "image.tar", "busybox")
    own.ok("create", "--name", "box", *NONE, "busybox")
    own.ok("export", "-o", tmp_path / "tree.tar", "box")
    own.ok("rm", "box")
    image = own.ok("images", "-q")
    own.ok("rmi", "busybox")
    for name in ("image", "tree"):
        (tmp_path / f"{name}.packed").write_bytes(pack((tmp_path / f"{name}.tar").read_bytes()))
    own.ok("load", "-i", tmp_path / "image.packed")
    assert own.ok("images", "-q") == image
    with (tmp_path / "image.packed").open("rb") as file:
        own.ok("load", stdin=file)
    imported = own.ok("import", "-c", 'CMD ["echo", "hi"]', "-c", "ENV A=b", tmp_path / "tree.packed", "tree:1")
    assert imported == own.ok("image", "inspect", "-f", "{{.Id}}", "tree:1")
    assert own.ok("run", "--rm", *NONE, "tree:1") == "hi"
    assert own.ok("run", "--rm", *NONE, "tree:1", "sh", "-c", "echo $A") == "b"
    assert "pocker import tree.packed" in own.ok("history", "tree:1")
    nameless = own.ok("import", tmp_path / "tree.packed")
    assert own.ok("images", "-q", "-f", "dangling=true") == nameless[7:19]


def test_the_compression_of_an_archive_is_detected(own: Pocker, tmp_path: Path) -> None:
    (tmp_path / "image.tar.lz4").write_bytes(b"\x04\x22\x4d\x18" + bytes(600))
    for words in (("load", "-i", tmp_path / "image.tar.lz4"), ("import", tmp_path / "image.tar.lz4", "x")):
        assert "compressed with lz4" in own.fails(*words)


def test_run_pulls_a_missing_image(own: Pocker, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with serve(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/box:1"
        own.ok("tag", "busybox", name)
        own.ok("push", "--tls-verify", "false", name)
        own.ok("rmi", name)
        conf = tmp_path / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
        environment = {"CONTAINERS_REGISTRIES_CONF": str(conf)}
        done = own("run", "--rm", *NONE, name, "echo", "pulled", env=environment)
        assert (done.returncode, done.stdout) == (0, "pulled\n"), done.stderr
        assert "locally: pulling it" in done.stderr
        own.ok("rmi", name)
        done = own("run", "--rm", "-q", *NONE, name, "echo", "pulled", env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (0, "pulled\n", "")
        assert own.ok("create", "--name", "again", "--pull", "always", *NONE, name, "true", env=environment)
        own.ok("rm", "again")
        own.ok("rmi", name)
        own.fails("run", "--rm", "--pull", "never", *NONE, name, "true", status=125, env=environment)
        assert own.ok("pull", "-q", name, env=environment).startswith("sha256:")


def test_all_tags_of_a_repository(own: Pocker, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with serve(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/box"
        for tag in ("1", "2", "latest"):
            own.ok("tag", "busybox", f"{name}:{tag}")
        own.ok("tag", "busybox", f"{name}-other:1")
        assert len(own.ok("push", "-q", "-a", "--tls-verify", "false", name).split()) == 3
        own.ok("rmi", *(f"{name}:{tag}" for tag in ("1", "2", "latest")))
        own.ok("pull", "--all-tags", "--tls-verify", "false", name)
        assert sorted(own.ok("images", "--format", "{{.Tag}}", name).split()) == ["1", "2", "latest"]
        for words, said in ((("push", "-a", f"{name}:1"), "without a tag"), (("push", "-a", "nosuch"), "no such image"),
                            (("pull", "-a", f"{name}:1"), "without a tag")):
            assert said in own.fails(*words, "--tls-verify", "false")


def test_credentials_outlive_a_reboot(own: Pocker, tmp_path: Path) -> None:
    """They are in Docker's file, not in a directory that is lost at a reboot, such as /run."""
    (tmp_path / "registry").mkdir()
    with serve(tmp_path / "registry", htpasswd=True) as registry:
        words = ("login", "-u", USER, "--password-stdin", "--tls-verify", "false", registry.host)
        own.ok(*words, input=PASSWORD)
        auths = json.loads((tmp_path / ".docker/config.json").read_text())["auths"]
        assert list(auths) == [registry.host] and (tmp_path / ".docker/config.json").stat().st_mode & 0o077 == 0
        name = f"{registry.host}/box"
        own.ok("tag", "busybox", name)
        own.ok("push", "-q", "--tls-verify", "false", name)
        own.ok("logout", registry.host)
        assert json.loads((tmp_path / ".docker/config.json").read_text())["auths"] == {}
        own.fails("pull", "-q", "--tls-verify", "false", name)
        own.ok(*words, input=PASSWORD, env={"DOCKER_CONFIG": str(tmp_path / "other")})
        assert registry.host in json.loads((tmp_path / "other/config.json").read_text())["auths"]


def test_an_image_for_another_platform_is_refused(own: Pocker) -> None:
    assert own.ok("run", "--rm", "--pull", "never", "--platform", "linux/amd64", *NONE, "busybox", "echo", "x") == "x"
    said = own.fails("run", "--rm", "--pull", "never", "--platform", "linux/s390x", *NONE, "busybox", "true",
                     status=125)
    assert 'not "linux/s390x"' in said


def test_images_in_use(own: Pocker) -> None:
    own.ok("volume", "create", "data")
    own.ok("run", "--name", "done", *NONE, "-v", "data:/d", "-v", "/anonymous", "busybox", "sh", "-c",
           "head -c 100000 /dev/zero >/d/file; head -c 50000 /dev/zero >/file")
    own.ok("run", "-d", "--name", "busy", *NONE, "busybox", "sleep", "1000")
    rows = {row["Type"]: row for row in map(json.loads, own.ok("system", "df", "--format", "json").splitlines())}
    assert [rows[kind]["TotalCount"] for kind in ("Images", "Containers", "Local Volumes")] == ["1", "2", "2"]
    assert rows["Containers"]["Active"] == rows["Images"]["Active"] == "1"
    assert rows["Containers"]["Reclaimable"] == "50kB (100%)" and rows["Local Volumes"]["Size"] == "100kB"
    assert own.ok("system", "df").splitlines()[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert "VOLUME NAME" in own.ok("system", "df", "-v")
    facts = json.loads(own.ok("info", "--format", "json"))
    assert (facts["Containers"], facts["ContainersRunning"], facts["Images"]) == (2, 1, 1)
    assert own.ok("system", "info", "-f", "{{.ContainersStopped}}") == "1"
    assert json.loads(own.ok("version", "--format", "json"))["Client"]["Version"]
    said = own.ok("system", "prune", "--volumes")
    assert "Deleted Containers:" in said and "Total reclaimed space:" in said
    assert own.statuses() == {"busy": "running"} and own.ok("volume", "ls", "-q") == "data"
    own.ok("rm", "-f", "busy")
    said = own.ok("system", "prune", "-a")
    assert "untagged: busybox:latest" in said and own.ok("images", "-q") == ""
    own.ok("volume", "rm", "data")
    own.check()


def test_every_command_has_help_with_an_example(own: Pocker) -> None:
    from pyruntime.commandline.groups import Group
    from pyruntime.pocker.cli.main import PROGRAM

    for name in PROGRAM.commands:
        if name == "monitor":
            continue
        command = PROGRAM.module(name).COMMAND
        assert "Example:" in command.text and "pocker " in command.text.partition("Example:")[2], name
        if isinstance(command, Group):
            for member in command.members:
                it, _ = command.member(member)
                assert "Example:" in it.text and "pocker " in it.text.partition("Example:")[2], (name, member)
    text = own.ok("image", "pull", "--help")
    assert "pocker image pull" in text and "Example:" in text


def test_no_command_imports_slow_modules() -> None:
    """The modules of the command itself; `run` imports few others even while it runs."""
    import sys

    from tests.conftest import TOP
    from tests.house.unit.test_house import CHEAP

    code = (f"import sys; sys.path.insert(0, {str(TOP)!r}); import pyruntime.pocker.cli.run;"
            "import pyruntime.pocker.containers.runtime_config; print(*sys.modules)")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith(("pyruntime", "_", "encodings"))}
    assert not loaded & {"re", "json", "subprocess", "typing", "pathlib", "contextlib", "dataclasses", "argparse",
                         "datetime", "dateutil", "hashlib", "random", "tempfile", "shutil"}, sorted(loaded - CHEAP)
    own_modules = {name for name in done.stdout.split() if name.startswith("pyruntime.pocker.")}
    for lazy in ("mounts", "volumes", "limits", "devices", "cdi", "namespaces", "security", "connections", "living"):
        assert f"pyruntime.pocker.{lazy}" not in own_modules, lazy
