"""What a user of Docker types, and expects to see."""

from __future__ import annotations

import json
from pathlib import Path

from tests.pocker.integration.command import Pocker
from tests.pocker.integration.lab import Lab

NONE = ("--network", "none")


def test_filters_of_ps(pocker: Pocker) -> None:
    def names(*filters: str) -> str:
        words = [word for text in filters for word in ("--filter", text)]
        return " ".join(sorted(pocker.ok("ps", "-a", *words, "--format", "{{.Names}}").split()))

    pocker.ok("create", "--name", "web-1", *NONE, "-v", "data:/data", "--expose", "99", "--label", "a=b", "busybox")
    pocker.ok("create", "--name", "web-2", *NONE, "-v", "data:/other:ro", "busybox")
    pocker.ok("create", "--name", "db", *NONE, "--expose", "53/udp", "busybox")
    for text, expected in (("name=web", "web-1 web-2"), ("name=^b", ""), ("name=^/?(db|web-2)$", "db web-2"),
                           ("volume=data", "web-1 web-2"), ("volume=/other", "web-2"), ("before=web-2", "web-1"),
                           ("since=web-1", "db web-2"), ("expose=99", "web-1"), ("expose=90-100/tcp", "web-1"),
                           ("expose=53", ""), ("expose=53/udp", "db"), ("label=a=b", "web-1"), ("publish=1", "")):
        assert names(text) == expected, text
    assert names("name=web", "since=web-1") == "web-2"
    assert "regular expression" in pocker.fails("ps", "--filter", "name=(", "-a")
    assert "no such container" in pocker.fails("ps", "--filter", "before=nobody")
    assert "is not a port" in pocker.fails("ps", "-a", "--filter", "expose=http")
    pocker.ok("rm", "web-1", "web-2", "db")
    pocker.ok("volume", "rm", "data")


def test_values_that_follow_their_short_flags_at_once(pocker: Pocker) -> None:
    pocker.ok("run", "-dit", "-eA=b", "-w/tmp", "-lx=y", "--name=box", *NONE, "busybox", "sh", "-c",
              "echo one; echo two; exec sleep 1000")
    assert pocker.ok("exec", "-u1:2", "-eB=c", "-w/", "box", "sh", "-c", "echo $A$B $PWD $(id -u)") == "bc / 1"
    pocker.eventually(lambda: "two" in pocker.ok("logs", "box"), "it has spoken")
    assert pocker.ok("logs", "-n1", "box").split() == ["two"]
    assert pocker.ok("ps", "-aqf", "label=x=y") == pocker.ok("container", "ls", "-fname=box", "-q")
    assert pocker.ok("stop", "-t0", "box") == "box" and pocker.ok("rm", "-fv", "box") == "box"
    assert pocker.ok("images", "-qf", "dangling=true") == ""
    assert "unknown flag: -z0: see `pocker stop --help`" in pocker.fails("stop", "-z0", "box", status=125)


def test_ps_by_template(pocker: Pocker) -> None:
    pocker.ok("create", "--name", "web", *NONE, "-v", "data:/data", "--label", "b=2", "--label", "a=1", "busybox",
              "sleep", "1234567890123456")
    form = "table {{.ID}}\\t{{.Names}}\\t{{.RunningFor}}\\t{{.Command}}"
    table = pocker.ok("ps", "-a", "--format", form).splitlines()
    assert table[0].split() == ["CONTAINER", "ID", "NAMES", "CREATED", "COMMAND"]
    whole = json.loads(pocker.ok("inspect", "web"))[0]["Id"]
    assert table[1].split() == [whole[:12], "web", *table[1].split()[2:-2], '"sleep', '1234567890123…"']
    said = pocker.ok("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Command}}")
    assert said == f'{whole} "sleep 1234567890123456"'
    assert pocker.ok("ps", "-a", "--format", "{{.Labels}} {{.Mounts}} {{.Networks}}") == "a=1,b=2 data none"
    stats = pocker.ok("stats", "--no-stream", "--format", "table {{.Name}}\\t{{.CPUPerc}}", "web").splitlines()
    assert [line.split() for line in stats] == [["NAME", "CPU", "%"], ["web", "0.00%"]]
    networks = pocker.ok("network", "ls", "--format", "table {{.Name}}\\t{{.Driver}}").splitlines()
    assert networks[0].split() == ["NAME", "DRIVER"] and "none      null" in networks
    assert json.loads(pocker.ok("ps", "-a", "--format", "json"))["Labels"] == "a=1,b=2"
    pocker.ok("rm", "web")
    pocker.ok("volume", "rm", "data")


def test_members_of_inspect_that_scripts_use(pocker: Pocker) -> None:
    pocker.ok("create", "--name", "web", "-p", "127.0.0.1:8080:80", "-v", "data:/data:ro", "-m", "64m", "--cpus", "1.5",
              "--restart", "on-failure:3", "--cap-add", "NET_ADMIN", "--tmpfs", "/tmp", "--ulimit", "nofile=10:20",
              "busybox")
    for text, expected in (
            ("{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}", "on-failure:3"),
            ("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", "67108864 1500000000"),
            ("{{.HostConfig.Binds}} {{.HostConfig.NetworkMode}}", "[data:/data:ro] bridge"),
            ('{{(index (index .HostConfig.PortBindings "80/tcp") 0).HostPort}}', "8080"),
            ("{{.Config.Image}} {{.HostConfig.CapAdd}}", "busybox [CAP_NET_ADMIN]"),
            ("{{range .HostConfig.Ulimits}}{{.Name}}={{.Soft}}:{{.Hard}}{{end}}", "nofile=10:20"),
            ("{{range .Mounts}}{{.Type}} {{.Destination}};{{end}}", "volume /data;tmpfs /tmp;"),
            ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", ""),
            ("{{if .State.Health}}{{.State.Health.Status}}{{else}}unknown{{end}}", "unknown")):
        assert pocker.ok("inspect", "-f", text, "web") == expected, text
    pocker.ok("rm", "web")
    pocker.ok("volume", "rm", "data")


def test_unset_members_have_dockers_empty_values(pocker: Pocker) -> None:
    """A template finds every member that Docker has, of images and of containers."""
    pocker.ok("create", "--name", "bare", *NONE, "--entrypoint", "true", "busybox")
    for text, expected in (
            ("{{.Config.Volumes}} {{json .Config.Volumes}}", "map[] null"),
            ("{{.Config.OnBuild}} {{json .Config.OnBuild}}", "[] null"),
            ("{{.Config.ExposedPorts}}{{range $p, $_ := .Config.ExposedPorts}}{{$p}}{{end}}", "map[]"),
            ('[{{index .Config.Labels "x"}}] [{{.Config.User}}] [{{.Config.StopSignal}}]', None),
            ("{{.Config.Healthcheck}}", "<nil>"), ("{{.Config.AttachStdin}} {{.Config.Image}}", None)):
        for kind, name in (("image", "busybox"), ("container", "bare")):
            said = pocker.ok(kind, "inspect", "-f", text, name)
            assert expected is None or said == expected, (kind, text)
    for text, expected in (("{{json .Config.Entrypoint}} [{{.Config.WorkingDir}}]", "null []"),
                           ("{{.Comment}}{{.Parent}}{{.Author}}{{.DockerVersion}}", "")):
        assert pocker.ok("image", "inspect", "-f", text, "busybox") == expected
    for text, expected in (("{{.HostConfig.CapAdd}} {{json .HostConfig.CapAdd}}", "[] null"),
                           ("{{.HostConfig.Links}}{{.HostConfig.VolumesFrom}}{{.HostConfig.Binds}}", "[][][]"),
                           ("{{.Config.Cmd}} {{.Config.Entrypoint}} {{.State.Dead}}", "[] [true] false")):
        assert pocker.ok("inspect", "-f", text, "bare") == expected
    assert 'there is no "Nosuch"' in pocker.fails("inspect", "-f", "{{.Config.Nosuch}}", "bare")
    pocker.ok("rm", "bare")


def test_the_container_that_was_created_last(pocker: Pocker) -> None:
    for name in ("old", "new"):
        pocker.ok("create", "--name", name, *NONE, "busybox", "sleep", "1000")
    assert pocker.ok("start", "-l") == "new" and pocker.statuses() == {"old": "created", "new": "running"}
    assert pocker.ok("exec", "-l", "echo", "hi") == "hi" and pocker.ok("exec", "--latest", "hostname")
    assert pocker.ok("inspect", "-lf", "{{.Name}}") == "/new"
    assert "sleep" in pocker.ok("top", "-l") and pocker.ok("logs", "-l") == "" and pocker.ok("port", "-l") == ""
    assert pocker.ok("pause", "-l") == "new" and pocker.ok("unpause", "-l") == "new"
    assert pocker.ok("stop", "--timeout", "0", "-l") == "new" and pocker.ok("wait", "-l") == "137"
    assert pocker.ok("restart", "--timeout=0", "-l") == "new" and pocker.ok("kill", "-l") == "new"
    assert pocker.ok("rm", "-l") == "new" and pocker.ok("rm", "-l") == "old"
    assert "there is no container" in pocker.fails("rm", "-l")


def test_the_details_of_a_log(pocker: Pocker) -> None:
    pocker.ok("run", "--name", "box", *NONE, "--label", "tier=front", "--label", "x=y", "-e", "A=b", "--log-opt",
              "labels=tier,none", "--log-opt", "env=A", "busybox", "sh", "-c", "echo one; echo two")
    assert pocker.ok("logs", "--details", "box").splitlines() == ["A=b,tier=front one", "A=b,tier=front two"]
    assert pocker.ok("logs", "--details", "-t", "box").split()[1] == "A=b,tier=front"
    assert pocker.ok("logs", "box").splitlines() == ["one", "two"]
    assert pocker.ok("inspect", "-f", "{{.HostConfig.LogConfig.Config}}", "box") == "map[env:A labels:tier,none]"
    pocker.ok("rm", "box")


def test_older_names_of_flags(lab: Lab) -> None:
    lab.ok("network", "create", "back")
    lab.ok("create", "--name", "web", "--net", "back", "--net-alias", "front", "--dns-opt", "ndots:2", "busybox")
    assert lab.ok("inspect", "-f", "{{.HostConfig.NetworkMode}} {{.HostConfig.DnsOptions}}", "web") == "back [ndots:2]"
    lab.ok("rm", "web")
    lab.ok("network", "rm", "back")


def test_flags_with_a_single_value(pocker: Pocker) -> None:
    pocker.ok("run", "--rm", *NONE, "--volume-driver", "local", "--disable-content-trust", "--kernel-memory", "64m",
              "busybox", "true")
    for words in (("--volume-driver", "nfs"), ("--storage-opt", "size=1g"), ("--disable-content-trust=false",)):
        said = pocker.fails("run", "--rm", *NONE, *words, "busybox", "true", status=125)
        assert words[0].partition("=")[0] in said
    for command in ("pull", "push", "build"):
        said = pocker.fails(command, "--disable-content-trust=false", "busybox")
        assert "signatures cannot be verified" in said


def test_an_image_does_not_cover_procfs(pocker: Pocker, tmp_path: Path) -> None:
    pocker.ok("create", "--name", "box", *NONE, "busybox")
    pocker.ok("commit", "-c", "VOLUME /proc/sys", "box", "covering")
    assert 'volume at "/proc/sys"' in pocker.fails("run", "--rm", *NONE, "covering", "true", status=125)
    (tmp_path / "uptime").write_text("long")
    assert pocker.ok("run", "--rm", *NONE, "-v", "/proc:/proc", "-v", f"{tmp_path}/uptime:/proc/uptime:ro", "busybox",
                     "cat", "/proc/uptime") == "long"
    pocker.ok("rm", "box")
    pocker.ok("rmi", "covering")


def test_links(lab: Lab) -> None:
    """--link: a name by which one container finds another in a common network, even if the other is renamed or its
    address changes."""
    lab.serve_names()
    lab.ok("network", "create", "back")
    lab.detached("store", "--network", "back")
    lab.detached("web", "--network", "back", "--link", "store:DB", "--link", "store")
    lab.detached("other", "--network", "back")
    look = ("exec", "web", "nslookup", "-type=a", "db")
    assert lab.address("store", "back") in lab.ok(*look)
    assert lab.address("store", "back") not in lab("exec", "other", "nslookup", "-type=a", "db").stdout
    lab.ok("rename", "store", "moved")
    lab.ok("network", "disconnect", "back", "moved")
    lab.detached("third", "--network", "back")   # takes the old address, so that "moved" gets another one
    lab.ok("network", "connect", "back", "moved")
    assert lab.address("moved", "back") in lab.ok(*look)
    assert 'no such container: "nobody"' in lab.fails("create", "--link", "nobody:x", "busybox", status=1)
    assert "needs a network of pocker" in lab.fails("run", *NONE, "--link", "moved", "busybox", status=125)
    lab.clear()
    lab.ok("network", "rm", "back")


def test_another_runtime_is_refused(pocker: Pocker) -> None:
    for name in ("pyruntime", "io.containerd.runc.v2"):
        pocker.ok("run", "--rm", *NONE, "--runtime", name, "busybox", "true")
    assert "only with pyruntime" in pocker.fails("run", "--rm", "--runtime", "runsc", *NONE, "busybox", status=125)


def test_update_of_the_restart_policy_under_a_foreground_run(pocker: Pocker) -> None:
    with pocker.start("run", "--name", "box", *NONE, "busybox", "sh", "-c", "echo up; sleep 1; exit 3") as running:
        pocker.eventually(lambda: pocker("logs", "box").stdout == "up\n", "it runs")
        pocker.ok("update", "--restart", "always", "box")
        assert running.wait(60) == 3
    pocker.eventually(lambda: pocker.ok("logs", "box").count("up") >= 3, "the container is restarted repeatedly")
    assert int(pocker.ok("inspect", "-f", "{{.RestartCount}}", "box")) >= 2
    pocker.ok("update", "--restart", "no", "box")
    assert pocker.ok("wait", "box") == "3"
    pocker.ok("rm", "-f", "box")
