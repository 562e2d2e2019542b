"""The bench: statistics, tables, plots, goals; and that the documents show the recorded figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import bars, figures, interpreter, plots, scale, worker
from bench.__main__ import main, parse
from bench.cases import CASES, smallest
from bench.configurations import containerd_style, id_mapped, minimal
from bench.peers import Failed, installed
from bench.results import RECORD, Results, Samples
from tests.conftest import TOP


def results(values: dict[str, list[float]], section: str = "minimal", case: str = "state",
            quantity: str = "wall") -> Results:
    """Results with these values by runtime."""
    samples = Samples()
    for runtime, numbers in values.items():
        for number in numbers:
            samples.add(section, case, quantity, runtime, number)
    return Results(samples, versions={name: f"{name} 1.0" for name in values}, tools={}, rounds={"warm": 3},
                   machine="a host", left_out={})


def test_the_search_finds_the_smallest_number() -> None:
    assert [smallest(least.__le__, 100) for least in (1, 37, 100)] == [1, 37, 100]
    with pytest.raises(Failed):
        smallest(lambda pages: False, 100)


def test_samples_have_medians() -> None:
    samples = results({"pyruntime": [1.0, 9.0, 2.0], "crun": [4.0, 5.0]}).samples
    assert samples.median("minimal", "state", "wall", "pyruntime") == 2.0
    assert samples.median("minimal", "state", "wall", "crun") == 4.5
    assert samples.median("minimal", "state", "cpu", "crun") is None
    assert samples.cases("minimal", "wall") == ["state"] and samples.cases("minimal", "cpu") == []


def test_results_survive_the_record() -> None:
    first = results({"pyruntime": [1.23456, 2.0], "crun": [4.0]})
    text = first.dump()
    assert '"pyruntime": [1.235, 2.0]' in text and len(text.splitlines()) < 30
    assert json.loads(text)["samples"] == first.samples.tree
    assert Results.load(text).dump() == text


def test_cells_have_ratios_to_the_first_runtime() -> None:
    made = results({"pyruntime": [2.0], "crun": [4.0]})
    assert figures.cells(made, "minimal", "state", "wall", ["pyruntime", "crun", "runc"]) == ["2.0", "4.0 (2.00)", ""]
    memory = results({"pyruntime": [100.0], "crun": [250.0]}, case="created", quantity="pss")
    assert figures.cells(memory, "minimal", "created", "pss", ["pyruntime", "crun"]) == ["100", "250 (2.50)"]


@pytest.mark.parametrize(("ours", "verdict"), [(2.0, "0.50 | yes"), (2.01, "0.50 | no")])
def test_a_goal_is_judged_without_rounding(ours: float, verdict: str) -> None:
    text = bars.table(results({"pyruntime": [ours], "crun": [4.0]}))
    assert f"| {CASES['state']}: minimal | crun | 0.5 | {verdict} |" in text
    assert f"| {CASES['state']}: minimal | runc | 0.3 |  | not measured |" in text
    judged = [bar for bar in bars.bars() if bar.most is not None]
    assert text.endswith(f"\n{int(verdict.endswith('yes'))} of {len(judged)} are met.\n")


def test_a_goal_without_a_limit_is_reported() -> None:
    text = bars.table(results({"pyruntime": [9.0], "crun": [3.0]}, case="run", quantity="cpu"))
    assert f"| {CASES['run']}, CPU time: minimal | crun |  | 3.00 | reported only |" in text


def test_a_goal_compares_1000_containers_with_10() -> None:
    made = results({"pyruntime": [3.0]}, section=scale.section(1000))
    made.samples.add(scale.section(10), "state", "wall", "pyruntime", 2.0)
    assert f"| {CASES['state']}: 1000 containers alive | itself at 10 | 1.2 | 1.50 | no |" in bars.table(made)


def test_every_goal_names_a_case() -> None:
    for bar in bars.bars():
        for one in (bar.ours, bar.theirs):
            assert one.case in CASES or one.section == "pocker", bar
    assert set(figures.PLOTTED.values()) <= set(CASES) and {case for _, case, _ in figures.FRONT} <= set(CASES)


def _elements(svg: str, name: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f".//{{http://www.w3.org/2000/svg}}{name}")


def test_bars_are_as_long_as_their_values() -> None:
    svg = plots.bars("a <title>", "ms", {"one & two": {"pyruntime": 10.0, "crun": 40.0}}, ["pyruntime", "crun"])
    lengths = {rect.get("fill"): float(rect.get("width", "")) for rect in _elements(svg, "rect")
               if float(rect.get("x", "")) > 200}
    assert lengths[plots.COLOURS[1]] == pytest.approx(4 * lengths[plots.COLOURS[0]], rel=0.01)
    texts = [element.text for element in _elements(svg, "text")]
    assert {"a <title>", "one & two", "10", "40", "pyruntime", "crun", "ms"} <= set(texts)
    assert "prefers-color-scheme: dark" in svg


def test_lines_rise_with_their_values_and_panels_start_at_zero() -> None:
    svg = plots.lines("title", "ms", {"state": {"pyruntime": {1: 2.0, 10: 4.0, 1000: 8.0}}}, ["pyruntime"])
    points = [tuple(map(float, point.split(","))) for point in _elements(svg, "polyline")[0].get("points", "").split()]
    (x1, y1), (x10, y10), (x1000, y1000) = points
    assert x1000 - x1 == pytest.approx(3 * (x10 - x1), abs=0.3)
    base = y1 + (y1 - y10)   # 0 is as far below 2 as 2 is below 4
    assert base - y1000 == pytest.approx(4 * (base - y1), abs=0.3)


def test_plots_stay_on_the_page() -> None:
    rows = {f"case {number}": {"pyruntime": 0.004, "crun": 123456.0} for number in range(30)}
    for svg in (plots.bars("title", "ms", rows, ["pyruntime", "crun"]),
                plots.lines("title", "ms", {"a": {"crun": {1: 0.001, 1000: 99999.0}}}, ["pyruntime", "crun"])):
        page = ElementTree.fromstring(svg)
        wide, high = float(page.get("width", "")), float(page.get("height", ""))
        for element in _elements(svg, "rect") + _elements(svg, "text"):
            x, y = float(element.get("x", "")), float(element.get("y", ""))
            assert x >= 0 and x + float(element.get("width") or 0) <= wide and 0 <= y <= high


@pytest.mark.parametrize(("most", "ticks"), [
    (3.1, [1, 2, 3]), (40, [10, 20, 30, 40]), (0.09, [0.02, 0.04, 0.06, 0.08])])
def test_ticks_are_round(most: float, ticks: list[float]) -> None:
    assert plots._ticks(most) == pytest.approx(ticks)


def test_the_configurations_have_what_their_names_promise(tmp_path: Path) -> None:
    pod, mapped = containerd_style(tmp_path), id_mapped(tmp_path)
    assert "seccomp" not in minimal()["linux"] and len(pod["mounts"]) == 12
    assert len(pod["linux"]["seccomp"]["syscalls"]) > 3
    assert pod["linux"]["maskedPaths"] and pod["linux"]["readonlyPaths"]
    assert {"memory", "cpu", "pids", "devices"} <= set(pod["linux"]["resources"])
    assert {"type": "user"} in mapped["linux"]["namespaces"] and mapped["linux"]["uidMappings"]


def test_the_worker_measures_until_the_exit() -> None:
    answer = worker.run(["/bin/sh", "-c", "echo wrong >&2; sleep 0.05; exit 3"], dict(os.environ))
    assert answer["status"] == 3 and answer["error"] == "wrong"
    assert isinstance(answer["seconds"], float) and 0.05 <= answer["seconds"] < 5


def test_the_worker_stops_a_command_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PATIENCE", 0.1)
    answer = worker.run(["/bin/sleep", "1000"], dict(os.environ))
    assert answer["status"] is None and isinstance(answer["seconds"], float) and answer["seconds"] < 5


def test_measured_commands_do_not_get_the_variables_of_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"PATH": "/bin", "PYTHONHOME": "/copy", "PYRUNTIME_FAULT": "fail:0"}
    assert interpreter.clean_environment(environment) == {"PATH": "/bin", "PYTHONHOME": "/copy"}
    monkeypatch.setenv("BENCH_INTERPRETER", "/copy")
    assert interpreter.clean_environment(environment) == {"PATH": "/bin"}


def test_a_runtime_can_be_named_with_its_program() -> None:
    assert installed(["pyruntime", "old=/opt/old/bin/pyruntime"]) == {
        "pyruntime": str(TOP / ".venv/bin/pyruntime"), "old": "/opt/old/bin/pyruntime"}


def test_the_record_is_of_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--record", "--part", "warm"])
    assert "--record measures everything" in capsys.readouterr().err


def test_help() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "--help"], cwd=TOP, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0 and "--rounds N" in done.stdout


def test_root_is_needed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main([]) == 2
    assert "must run as root" in capsys.readouterr().err


def test_the_goals_are_printed_without_measuring(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bars"]) == 0
    assert capsys.readouterr().out == bars.table(Results.load(RECORD.read_text()))


@pytest.mark.parametrize("path", figures.written(Results.load(RECORD.read_text())), ids=lambda path: path.name)
def test_figures_are_the_recorded_figures(path: Path) -> None:
    """`make bench ARGS=--record` writes the figures; figures maintained by hand in two places soon differ."""
    assert path.read_text() == figures.written(Results.load(RECORD.read_text()))[path]


def test_the_readme_shows_figures_and_plots() -> None:
    text = (TOP / "README.md").read_text()
    assert "<!-- figures: front -->" in text
    for name in ("verbs", "scale"):
        assert f"bench/results/{name}.svg" in text
