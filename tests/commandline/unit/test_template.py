"""Go's templates, as far as scripts use them with these tools."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.commandline.template import heading, render
from pyruntime.errors import UsageError

VALUE: dict[str, Any] = {
    "Id": "x", "Name": "web", "State": {"Running": True, "Pid": 5}, "None": None, "Mounts": [],
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/tcp": []},
    "Networks": {"b": {"IPAddress": "3.4"}, "a": {"IPAddress": "1.2"}},
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"k.x": "v"}, "Volumes": None}}


@pytest.mark.parametrize(("text", "result"), [
    ("{{.Config.Labels.no}} {{.Networks.c.IPAddress}} {{.Config.Volumes.v}}", "<no value> <no value> <no value>"),
    ("{{if .Config.Labels.no}}a{{else}}b{{end}}{{json .Config.Labels.no}}", "bnull"),
    ('{{index .Config.Volumes "v"}}!', "!"), ("{{.State.Health}} {{.SizeRw}}", "<nil> <nil>"),
    ("{{.Name}} {{.name}} {{.State.Running}} {{.None}}", "web web true <nil>"),
    ("{{range .Networks}}{{.IPAddress}} {{end}}", "1.2 3.4 "),
    ("{{range $k, $v := .Networks}}{{$k}}={{$v.IPAddress}},{{end}}", "a=1.2,b=3.4,"),
    ("{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}", "A=1, B=2"),
    ("{{range $e := .Config.Env}}{{$e}};{{end}}", "A=1;B=2;"),
    ("{{range .Mounts}}x{{else}}empty{{end}}", "empty"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{if .Mounts}}a{{else if .None}}b{{else if .Id}}c{{else}}d{{end}}!", "c!"),
    ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
    ("{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "5 web"),
    ("{{with .Mounts}}x{{else}}none{{end}}", "none"),
    ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
    ("{{range $p, $c := .Ports}}{{$p}}:{{with $c}}{{(index . 0).HostPort}}{{end}}\\n{{end}}", "80/tcp:8080\n90/tcp:\n"),
    ('{{index .Config.Labels "k.x"}}-{{index .Config.Labels "no"}}', "v-"),
    ('{{join .Config.Env ","}} {{len .Config.Env}} {{json .State}}', 'A=1,B=2 2 {"Running":true,"Pid":5}'),
    ('{{.Name | upper | printf "%-5s|%s" "a"}}', "a    |WEB"),
    ('{{printf "%3d%% %q %v" .State.Pid .Name .Config.Env}}', '  5% "web" [A=1 B=2]'),
    ('{{split "a:b" ":"}} {{title .Name}} {{truncate .Name 2}} {{lower "A"}}', "[a b] Web we a"),
    ('{{if and .Id (eq .Name "db" "web") (gt .State.Pid 3) (not .None)}}all{{end}}{{or .None .Id}}', "allx"),
    ("{{$it := .State}}{{$it.Pid}}", "5"),
    ("a  {{- .Name -}}  b {{/* nothing */}}c", "awebb c"),
    ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
    ('{{"a\\"b"}} {{`raw`}} {{42}} {{true}}', 'a"b raw 42 true'),
])
def test_supported_templates(text: str, result: str) -> None:
    assert render(text, VALUE) == result


@pytest.mark.parametrize(("text", "said"), [
    ("{{if .Id}}", "its {{end}} is missing"), ("{{range .Id}}", "its {{end}} is missing"),
    ("{{end}}", "it ends nothing"),
    ("{{if .Id}}a{{else}}b{{else}}c{{end}}", "its {{end}} is missing"),
    ("{{if .Id}}a{{else foo}}b{{end}}", "is not supported"),
    ("{{range .Id}}a{{end}}", "this is not a list"), ("{{.Nope}}", "there is: Id, Name, State"),
    ("{{.State.Health.Status}}", 'there is no "Status"'), ("{{.Id.More}}", "there is no"),
    ("{{index .Id 3}}", "there is no item 3"),
    ("{{foo .Id}}", "functions are and, eq"), ("{{index .State.Pid 0}}", "there is no item 0"),
    ("{{.Id .Name}}", "is not supported"), ("{{(.Id}}", "is not supported"), ("{{.Id", 'without "}}"'),
    ("{{}}", "is not supported"), ("{{.Id | }}", "is not supported"), ("{{$x}}", "there is no $x"),
    ("{{len .State.Pid}}", "len does not take these values"),
    ('{{printf "%z" .Id}}', "printf does not take these values"),
    ('{{printf "%s"}}', "there is no item"), ("{{gt .Id 3}}", "gt does not take these values"),
])
def test_unsupported_templates_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match="--format") as error:
        render(text, VALUE)
    assert said in str(error.value)


def test_table_headings() -> None:
    assert heading("{{.ID}}\\t{{.CreatedAt}} {{json .Ports}}", {"ID": "CONTAINER ID"}) == (
        "CONTAINER ID\tCREATED AT PORTS")
