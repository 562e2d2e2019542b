"""The output of ``pyimage``, and its messages for bad input: one clear line, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.images.integration.command import PYIMAGE, Pyimage
from tests.images.integration.registries import FakeRegistry, Registry, cut, free_port, status
from tests.images.integration.samples import HOST, OTHER, blobs_of, digest_of

Layout = tuple[Path, dict[str, str]]
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\n")


def on_a_terminal(pyimage: Pyimage, *words: object, code: int = 0) -> tuple[str, str]:
    """Run a command with a terminal as standard error; its output there, and its standard output."""
    leader, follower = pty.openpty()
    with subprocess.Popen([PYIMAGE, "--root", pyimage.store, *map(str, words)], stdin=follower, stderr=follower,
                          stdout=subprocess.PIPE, env={**pyimage.environment, "TERM": "xterm"}) as process:
        os.close(follower)
        said = b""
        try:
            while data := os.read(leader, 4096):
                said += data
        except OSError as error:   # the last one has closed the terminal
            assert error.errno == errno.EIO
        os.close(leader)
        assert process.stdout
        printed = process.stdout.read().decode()
        assert process.wait(60) == code, said
    return said.decode(), printed


def test_quiet_is_the_digest_alone(loaded: Pyimage, plain_registry: Registry) -> None:
    reference = f"{plain_registry.host}/quiet/busy:1"
    for words in (("push", "-q", "busy:1", reference), ("pull", "-q", reference), ("copy", "-q", "busy:1", "other:1"),
                  ("copy", "--quiet", "busy:1", f"oci:{loaded.path}/quiet")):
        done = loaded(*words)
        assert done.returncode == 0 and done.stderr == "" and DIGEST.fullmatch(done.stdout), (words, done)


def test_lines_without_a_terminal(loaded: Pyimage, plain_registry: Registry) -> None:
    done = loaded("push", "busy:1", f"{plain_registry.host}/lines/busy:1")
    assert DIGEST.fullmatch(done.stdout)
    assert len(done.stderr.splitlines()) == 3 and all(
        re.fullmatch(r"sha256:[0-9a-f]{12} (config|layer) [0-9.]+[kM]?B pushed", line)
        for line in done.stderr.splitlines()), done.stderr


def test_bars_on_a_terminal(loaded: Pyimage, plain_registry: Registry) -> None:
    reference = f"{plain_registry.host}/bars/busy:1"
    loaded.ok("push", "-q", "busy:1", reference)
    loaded.ok("rm", "busy:1", "dock:1", "multi:1")
    said, printed = on_a_terminal(loaded, "pull", reference)
    assert printed == f"{reference}@{printed.partition('@')[2]}" and "\x1b" not in printed
    assert "\x1b[" in said and "layer" in said and "MB" in said
    said, printed = on_a_terminal(loaded, "pull", reference)
    assert said == f"{reference}: up to date\r\n"
    for words in (("push", "absent:1"), ("copy", "absent:1", f"dir:{loaded.path}/x"), ("copy", "oci:/etc", "x:1"),
                  ("load", "-i", "/etc/passwd")):
        said, printed = on_a_terminal(loaded, *words, code=1)
        assert said.startswith("error: ") and said.count("\n") == 1 and printed == "", "no empty progress bars"
    said, printed = on_a_terminal(loaded, "pull", "-q", reference)
    assert said == "" and DIGEST.fullmatch(printed)


def test_an_archive_is_not_written_to_a_terminal(loaded: Pyimage) -> None:
    for command in ("save", "export"):
        leader, follower = pty.openpty()
        done = subprocess.run([PYIMAGE, "--root", loaded.store, command, "busy:1"], stdout=follower, timeout=60,
                              stderr=subprocess.PIPE, text=True, check=False)
        os.close(follower)
        os.close(leader)
        assert done.returncode == 1 and "give --output FILE" in done.stderr


def test_messages_as_json_and_in_a_file(pyimage: Pyimage, tmp_path: Path) -> None:
    words = [str(PYIMAGE), "--root", str(pyimage.store), "--log-format", "json"]
    done = subprocess.run([*words, "inspect", "absent"], capture_output=True, text=True, check=False, timeout=60)
    assert json.loads(done.stderr)["level"] == "error" and "absent" in json.loads(done.stderr)["msg"]
    done = subprocess.run([*words, "--log", tmp_path / "log", "inspect", "absent"], capture_output=True, text=True,
                          check=False, timeout=60)
    assert json.loads((tmp_path / "log").read_text())["msg"] + "\n" == done.stderr


BAD = [
    (("pull",), "requires at least 1 argument"),
    (("pull", "team/Case"), 'write "team/case"'),
    (("pull", "a:b:c"), "reference"),
    (("pull", "x@sha256:abc"), '"sha256:abc" is not a digest'),
    (("pull", "--platform", "a/b/c/d", "x"), "is not a platform"),
    (("pull", "--threads", "many", "x"), "write a number"),
    (("pull", "--tls-verify", "maybe", "x"), "write true or false"),
    (("pull", "--creds", "nobody", "x"), "write the credentials as user:password"),
    (("pull", "--nonsense", "x"), "unknown flag: --nonsense: see `pyimage pull --help`"),
    (("pull", "--registries-conf", "/absent", "x"), "/absent"),
    (("nonsense",), "nonsense"),
    (("inspect", "absent"), 'no such image: "absent"'),
    (("inspect", "-f", "{{.Nothing}}", "busy:1"), 'there is no "Nothing"; there is: '),
    (("inspect", "-f", "{{if .Id}}", "busy:1"), "is not supported"),
    (("inspect", "-f", "{{.Id", "busy:1"), '"{{" without "}}"'),
    (("inspect", "-f", "plain", "busy:1"), "write table, json, or a template"),
    (("inspect", "-f", "table", "busy:1"), "there is no table"),
    (("ls", "-f", "wide"), "write table, json, or a template"),
    (("inspect", "oci:/absent"), "is not a directory"),
    (("inspect", "oci:"), "names no file or directory"),
    (("inspect", "oci:/etc"), "not an OCI image layout"),
    (("inspect", "oci-archive:/absent"), "/absent: No such file or directory"),
    (("inspect", "dir:/absent"), "manifest.json"),
    (("inspect", "docker-archive:/etc/passwd"), "not a tar archive"),
    (("copy", "absent:1", "dir:{path}/x"), 'no such image: "absent:1"'),
    (("copy", "busy:1", "dir:/etc"), "is not empty"),
    (("copy", "busy:1", "oci-archive:/absent/x.tar"), "cannot write"),
    (("copy", "busy:1", "oci:/proc/x"), "/proc/x"),
    (("copy", "--platform", "linux/s390x", "multi:1", "dir:{path}/x"), "s390x"),
    (("save", "-o", "/absent/x.tar", "busy:1"), 'cannot write "/absent/x.tar'),
    (("save", "--format", "zip", "-o", "{path}/x.tar", "busy:1"), "write docker-archive or oci-archive"),
    (("save", "-o", "{path}/x.tar", "absent:1"), 'no such image: "absent:1"'),
    (("load", "-i", "/absent"), "/absent"),
    (("load", "-i", "/etc"), "not an OCI image layout"),
    (("import", "/absent", "x"), "/absent"),
    (("import", "/etc/passwd", "Upper"), "must be lower case"),
    (("import", "--created", "yesterday", "{path}/tree.tar", "x"), "yesterday"),
    (("import", "--compression", "xz", "{path}/tree.tar", "x"), "write gzip, zstd or none"),
    (("export", "-o", "/absent/x", "busy:1"), "/absent/x"),
    (("export", "absent:1", "-o", "{path}/x"), 'no such image: "absent:1"'),
    (("export", "--platform", "linux/s390x", "multi:1", "-o", "{path}/x"), "s390x"),
    (("history", "absent:1"), 'no such image: "absent:1"'),
    (("unpack", "busy:1"), "requires at least 2 argument"),
    (("repack", "{path}", "x:1"), "is not a bundle"),
    (("mount", "absent:1", "{path}/m"), 'no such image: "absent:1"'),
    (("umount", "{path}"), "is not a bundle"),
    (("tag", "busy:1"), "requires at least 2 argument"),
    (("rm", "absent:1"), 'no such image: "absent:1"'),
    (("completion", "tcsh"), 'no completion for "tcsh"'),
    (("login", "-u", "x", "127.0.0.1:1"), "--password-stdin"),
    (("logout", "nowhere.example"), "not logged in"),
    (("verify", "extra"), "requires exactly 0 argument"),
    (("prune", "-f", "wide"), "write table, json, or a template"),
]


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> Pyimage:
    """A store with the samples, which bad input does not change."""
    made = Pyimage(tmp_path_factory.mktemp("common"))
    made.ok("load", "-q", "-i", layout[0])
    (made.path / "tree.tar").write_bytes(bytes(1024))
    return made


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input(common: Pyimage, words: tuple[str, ...], said: str) -> None:
    before = sorted(common.path.iterdir()), common.blobs()
    done = common(*(word.format(path=common.path) if word.startswith(("{path", "dir:{")) else word for word in words))
    assert done.returncode in (1, 3) and said in done.stderr, done
    assert done.stderr.startswith("error: ") and done.stderr.count("error: ") == 1
    assert (sorted(common.path.iterdir()), common.blobs()) == before and common.leftovers() == []


def test_a_registry_that_cannot_be_reached(common: Pyimage) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    for words in (("pull", f"{nobody}/x"), ("push", "busy:1", f"{nobody}/x"), ("tags", f"{nobody}/x"),
                  ("inspect", f"docker://{nobody}/x"), ("copy", "busy:1", f"docker://{nobody}/x"),
                  ("login", "-u", "x", "-p", "y", nobody)):
        options = () if words[0] == "login" else ("--retries", "0")
        done = common(words[0], *options, *words[1:])
        assert done.returncode == 1 and nobody in done.stderr and "Connection refused" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert common.leftovers() == []


def test_a_broken_image_leaves_nothing(pyimage: Pyimage, fake: FakeRegistry) -> None:
    manifest = fake.add_image("team/app", "1", layer=b"x" * 100_000)
    layer = manifest["layers"][0]["digest"]
    fake.blobs[layer] = b"y" * 100_000
    said = pyimage.fails("pull", "--retries", "0", f"{fake.host}/team/app:1")
    assert layer in said and "does not match its digest" in said, said
    assert pyimage.ok("ls", "-q") == "" and pyimage.blobs() == set()
    said = pyimage.fails("copy", "--retries", "0", f"docker://{fake.host}/team/app:1", f"oci-archive:{pyimage.path}/x")
    assert "does not match its digest" in said and not (pyimage.path / "x").exists()
    said = pyimage.fails("copy", "--retries", "0", f"docker://{fake.host}/team/app:1", f"oci:{pyimage.path}/y")
    assert "does not match its digest" in said and list(pyimage.path.glob("y/blobs/sha256/*.partial")) == []
    fake.blobs[layer] = b"x" * 100_000
    said = pyimage.fails("pull", f"{fake.host}/team/app:1")
    assert layer in said, "no archive at all"
    assert pyimage.blobs() == set()


def test_the_next_command_resumes_a_download(pyimage: Pyimage, fake: FakeRegistry) -> None:
    layer = os.urandom(300_000)
    manifest = fake.add_image("team/app", "1", layer=layer)
    assert manifest["layers"][0]["digest"] == digest_of(layer)
    fake.fault("GET", digest_of(layer), cut(200_000), times=1)
    fake.fault("GET", digest_of(layer), status(503), times=9)
    pyimage.fails("pull", "--no-extract", "--retries", "0", f"{fake.host}/team/app:1")
    fake.faults.clear()
    fake.requests.clear()
    pyimage.ok("pull", "--no-extract", f"{fake.host}/team/app:1")
    assert [headers.get("Range") for headers in fake.asked("GET", digest_of(layer))] == ["bytes=200000-"]


def test_platforms_of_an_index(pyimage: Pyimage, layout: Layout, plain_registry: Registry) -> None:
    path, digests = layout
    reference = f"{plain_registry.host}/platforms/multi:1"
    pyimage.ok("copy", "-aq", f"oci:{path}:multi:1", f"docker://{reference}")
    done = pyimage("pull", "--platform", OTHER, reference)
    assert done.stdout == f"{reference}@{digests['multi:1']}\n" and "warning" not in done.stderr
    assert pyimage.blobs() == blobs_of(path, digests[OTHER]) | {digests["multi:1"]}
    assert pyimage.ok("inspect", "-f", "{{.Manifest}}", reference).strip() == digests[OTHER], "the image in the store"
    again = f"{plain_registry.host}/platforms/one:1"
    assert pyimage.ok("push", "-q", reference, again).strip() == digests[OTHER], "an incomplete index is not pushed"
    pyimage.ok("pull", "-q", reference)
    assert pyimage.ok("inspect", "-f", "{{.Manifest}}", reference).strip() == digests[HOST]
    assert pyimage.ok("inspect", "-f", "{{.Manifest}}", "--platform", OTHER, reference).strip() == digests[OTHER]
    pyimage.ok("pull", "-qa", reference)
    assert pyimage.blobs() == blobs_of(path, digests["multi:1"]), "with the attestation"
    assert pyimage.ok("push", "-q", reference, again).strip() == digests["multi:1"]
    assert pyimage.ok("inspect", "--raw", f"docker://{again}").encode() == (
        path / "blobs/sha256" / digests["multi:1"][7:]).read_bytes()
    assert pyimage.ok("push", "-q", "--platform", OTHER, reference, again).strip() == digests[OTHER]


def test_an_image_for_another_platform(pyimage: Pyimage, layout: Layout, plain_registry: Registry) -> None:
    reference = f"{plain_registry.host}/platforms/other:1"
    pyimage.ok("copy", "-q", "--platform", OTHER, f"oci:{layout[0]}:multi:1", f"docker://{reference}")
    done = pyimage("pull", reference)
    assert done.returncode == 0
    assert f'warning: {reference}: the image is for "linux/{OTHER}", the host is "linux/{HOST}"' in done.stderr
    assert "warning" not in pyimage("pull", "--platform", OTHER, reference).stderr
    assert "no image for" not in pyimage("pull", "--platform", "linux/s390x", reference).stderr
