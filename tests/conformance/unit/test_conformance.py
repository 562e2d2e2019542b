"""The conformance harness itself: TAP in, verdicts, reports out. No runtime is run and no root is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from conformance import cli, official
from conformance.lib import mountinfo
from conformance.lib.bundle import add_namespace, base_config, remove_namespace, use_user_namespace
from conformance.lib.container import Runtime
from conformance.lib.requirement import Case, all_cases
from conformance.outcome import Program, Run, Subtest, Verdict
from conformance.report import compare, junit, store, taps, text
from conformance.sandbox import Ended, RuntimeCommand, Workplace
from conformance.tap import parse

OK, BAD, SKIP, TODO = Verdict.OK, Verdict.NOT_OK, Verdict.SKIP, Verdict.TODO


def verdicts(output: str) -> list[Verdict]:
    return [subtest.verdict for subtest in parse(output).subtests]


class TestTap:
    def test_results_and_plan(self) -> None:
        stream = parse("TAP version 13\nok 1 - first\nnot ok 2 - second\n1..2\n")
        assert [(s.verdict, s.text) for s in stream.subtests] == [(OK, "first"), (BAD, "second")]
        assert stream.fault == ""

    def test_plan_may_come_first(self) -> None:
        assert parse("1..1\nok 1\n").fault == ""

    def test_numbers_and_dashes_are_optional(self) -> None:
        assert [s.text for s in parse("ok\nok 2\nok 3 words\nok - dash\n").subtests] == ["", "", "words", "dash"]

    def test_directives(self) -> None:
        stream = parse("ok 1 # SKIP not here\nnot ok 2 - later # TODO some day\nok 3 - a # skip b\n")
        assert [s.verdict for s in stream.subtests] == [SKIP, TODO, SKIP]
        assert stream.subtests[0].text == "not here"

    def test_a_word_that_starts_with_ok_is_not_a_result(self) -> None:
        assert verdicts("okay\nok 1\n") == [OK]

    def test_details_belong_to_the_preceding_result(self) -> None:
        stream = parse('not ok 1 - x\n  ---\n  "error": "e"\n  ...\n# expect: 1, actual: 2\nok 2\n')
        assert "error" in stream.subtests[0].detail
        assert "expect: 1, actual: 2" in stream.subtests[0].detail
        assert stream.subtests[1].detail == ""

    def test_indented_results_are_not_counted(self) -> None:
        assert verdicts("ok 1 - outer\n    not ok 1 - inner\n") == [OK]

    def test_an_incomplete_plan_is_a_fault(self) -> None:
        assert parse("1..3\nok 1\n").fault == "planned 3 tests, saw 1"

    def test_every_document_has_its_own_plan(self) -> None:
        document = "TAP version 13\nok 1\n1..1\n"
        assert parse(document * 3).fault == ""
        assert len(parse(document * 3).subtests) == 3
        assert parse("TAP version 13\nok 1\n1..2\n" + document).fault == "planned 2 tests, saw 1"

    def test_bail_out_is_a_fault(self) -> None:
        assert parse("ok 1\nBail out! no kernel\n").fault == "Bail out! no kernel"

    def test_skipped_plan(self) -> None:
        assert verdicts("1..0 # SKIP wrong platform\n") == [SKIP]

    def test_nothing(self) -> None:
        assert parse("").subtests == ()

    @pytest.mark.parametrize("words", ["plain", "a # skip b", "two\nlines"])
    def test_written_output_can_be_parsed(self, words: str) -> None:
        run = Run("x", programs=[Program("p", (Subtest(OK, words), Subtest(BAD, words, "why\nindeed")))])
        indented = [line[4:] for line in taps.render(run).splitlines() if line.startswith("    ")]
        read = parse("\n".join(indented)).subtests
        assert [(s.verdict, s.text) for s in read] == [(OK, words.replace("\n", " ")), (BAD, words.replace("\n", " "))]


def judged(status: int | None, stdout: str = "", stderr: str = "") -> Program:
    place = Workplace(Path("/nowhere"), RuntimeCommand(("true",)))
    return official.judge("p", Ended(status, 1.0), stdout, stderr, place=place, timeout=9)


class TestJudge:
    def test_good(self) -> None:
        assert judged(0, "ok 1\n1..1\n").verdict is OK

    def test_exit_status_stops(self) -> None:
        program = judged(1, "ok 1\n", "failed to create the container\nno such thing\nexit status 1\n")
        assert program.stopped == "exit status 1: no such thing"
        assert program.verdict is BAD
        assert program.count(OK) == 1

    def test_timeout_stops(self) -> None:
        assert judged(None, "ok 1\n").stopped == "timeout after 9 s"

    def test_signal_stops(self) -> None:
        assert judged(-11).stopped == "killed by signal 11"

    def test_no_output_is_neither_ok_nor_not_ok(self) -> None:
        program = judged(0, "TAP version 13\n1..0\n")
        assert program.verdict is SKIP
        assert program.subtests == ()

    def test_an_error_without_a_result(self) -> None:
        program = judged(0, 'TAP version 13\n  ---\n  {\n    "error": "hooks MUST\\nRefer"\n  }\n  ...\n1..0\n')
        assert program.subtests == ()
        assert program.note == "prints no result, but an error: hooks MUST"


def a_run(*programs: Program) -> Run:
    return Run("runc", "runc version 9", "Linux", list(programs))


GOOD = Program("good", (Subtest(OK, "a"), Subtest(SKIP, "b")), seconds=1.5)
FAILED = Program("failed", (Subtest(OK, "a"), Subtest(BAD, "b <&> \x01", "because\x00")))
SILENT = Program("silent", note="prints no result and no error")
STOPPED = Program("stopped", (Subtest(OK, "a"),), "exit status 1: x", stderr="x")


class TestReports:
    def test_totals(self) -> None:
        run = a_run(GOOD, FAILED, STOPPED)
        assert run.totals() == {OK: 3, BAD: 1, SKIP: 1}
        assert run.stopped() == [STOPPED]
        assert not run.passed
        assert a_run(GOOD).passed

    def test_text(self) -> None:
        shown = text.render(a_run(GOOD, FAILED, STOPPED))
        assert "not ok 2 - b" in shown
        assert "because" in shown
        assert "stopped: exit status 1: x" in shown
        assert "subtests: 3 ok, 1 not ok, 1 skipped (TAP counts a skip as ok: 4 ok in all)" in shown

    def test_tap(self) -> None:
        shown = taps.render(a_run(GOOD, FAILED))
        assert verdicts(shown) == [OK, BAD]
        assert parse(shown).fault == ""

    def test_junit_is_xml_with_failures_and_errors(self) -> None:
        root = xml.fromstring(junit.render(a_run(GOOD, FAILED, STOPPED, SILENT)))
        suites = {suite.get("name"): suite for suite in root}
        assert suites["good"].get("skipped") == "1"
        assert len(suites["failed"].findall(".//failure")) == 1
        assert len(suites["stopped"].findall(".//error")) == 1
        for suite in root:
            assert suite.get("tests") == str(len(suite.findall("testcase")))

    def test_json_round_trip(self) -> None:
        run = a_run(GOOD, FAILED, STOPPED, SILENT)
        assert store.load(store.render(run)) == run

    def test_side_by_side(self) -> None:
        better = a_run(GOOD, Program("failed", (Subtest(OK, "a"), Subtest(OK, "b"))))
        shown = compare.render(a_run(GOOD, FAILED), better)
        assert re.search(r"failed +not ok 1/1/0 +ok 2/0/0 +B better", shown)
        assert compare.worse(a_run(GOOD, FAILED), better) == ["failed"]
        assert compare.worse(better, a_run(GOOD, FAILED)) == []

    def test_stopping_is_worse_than_failing(self) -> None:
        stopped = a_run(Program("p", (Subtest(OK, "a"),) * 9, "exit status 1"))
        assert compare.worse(stopped, a_run(Program("p", (Subtest(BAD, "a"),)))) == ["p"]


class TestWrapper:
    def make(self, folder: Path, version: str = "") -> Workplace:
        place = Workplace(folder, RuntimeCommand(("/bin/echo", "--root", "a b"), version))
        place.prepare()
        return place

    def test_passes_arguments_and_records_ids(self, tmp_path: Path) -> None:
        place = self.make(tmp_path)
        for words in (["create", "--bundle", "/b", "one"], ["state", "one"], ["run", "-d", "two"], ["create", "../x"]):
            said = subprocess.run([place.wrapper, *words], capture_output=True, text=True, check=True).stdout
            assert said == f"--root a b {' '.join(words)}\n"
        assert place.created_ids() == ["one", "two"]

    def test_an_option_is_not_an_id(self, tmp_path: Path) -> None:
        place = self.make(tmp_path)
        subprocess.run([place.wrapper, "create", "--help"], capture_output=True, check=True)
        assert place.created_ids() == []

    def test_rewrites_the_version_once(self, tmp_path: Path) -> None:
        place = self.make(tmp_path, "1.0.2")
        config = {"ociVersion": "1.3.0", "annotations": {"ociVersion": "1.3.0"}}
        (tmp_path / "config.json").write_text(json.dumps(config, indent=1))
        subprocess.run([place.wrapper, "create", "--bundle", tmp_path, "x"], capture_output=True, check=True)
        seen = json.loads((tmp_path / "config.json").read_text())
        assert seen == {"ociVersion": "1.0.2", "annotations": {"ociVersion": "1.3.0"}}

    def test_unknown_runtime(self) -> None:
        with pytest.raises(FileNotFoundError):
            RuntimeCommand.parse("no-such-runtime --flag")


class TestCases:
    def test_names_are_unique_and_sections_well_formed(self) -> None:
        cases = all_cases()
        assert len(cases) == len({case.name for case in cases}) > 600
        for case in cases:
            assert re.fullmatch(r"(runtime|runtime-linux|config|config-linux|bundle)\.md#[a-z-]+", case.section), case
            assert case.level in ("MUST", "MUST NOT", "SHALL", "SHOULD", "SHOULD NOT"), case
            assert not case.rule.endswith("."), case

    def test_every_module_is_named_in_the_readme(self) -> None:
        folder = Path(official.__file__).parent
        readme = (folder / "README.md").read_text()
        for module in (folder / "cases").glob("[a-z]*.py"):
            assert f"`{module.stem}`" in readme, module.name

    def test_namespaces_can_be_replaced(self) -> None:
        config = base_config("true")
        add_namespace(config, "network", "/x")
        add_namespace(config, "network", "/y")
        entries = [entry for entry in config["linux"]["namespaces"] if entry["type"] == "network"]
        assert entries == [{"type": "network", "path": "/y"}]
        remove_namespace(config, "network")
        assert all(entry["type"] != "network" for entry in config["linux"]["namespaces"])
        use_user_namespace(config)
        assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 100000, "size": 65536}]


class TestMountinfo:
    TEXT = (
        "36 35 98:0 / / rw,noatime shared:1 - ext4 /dev/root rw,errors=continue\n"
        "37 36 0:5 /sub /mnt ro master:1 propagate_from:2 - tmpfs first rw\n"
        "38 37 0:6 / /mnt rw,nosuid unbindable - tmpfs second rw,size=1k\n"
    )

    def test_the_topmost_mount_is_used(self) -> None:
        found = mountinfo.at(self.TEXT, "/mnt")
        assert found is not None
        assert (found.source, found.tags) == ("second", ("unbindable",))
        assert found.options == {"rw", "nosuid"}
        assert found.super_options == {"rw", "size=1k"}
        assert found.tagged("unbindable")

    def test_tags_are_distinguished(self) -> None:
        first = mountinfo.parse(self.TEXT)[1]
        assert first.tagged("master")
        assert not first.tagged("shared")

    def test_nothing_mounted(self) -> None:
        assert mountinfo.at(self.TEXT, "/proc") is None


class TestCommandLine:
    def test_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--own", "--list", "--only", "runtime_state.*"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) > 10
        assert all(line.startswith("runtime_state.") for line in lines)

    def test_selection(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--own", "--list", "--only", "runtime_*", "--skip", "*_create.*"]) == 0
        out = capsys.readouterr().out
        assert "runtime_operations." in out
        assert "runtime_create." not in out

    def test_an_unknown_runtime_is_an_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        if os.geteuid():
            pytest.skip("testing runtimes needs root")
        assert cli.main(["--own", "--runtime", "no-such-runtime"]) == 2
        assert "no-such-runtime" in capsys.readouterr().err

    def test_a_directory_without_the_suite(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--official", "--list", "--suite-dir", str(tmp_path)]) == 2
        assert "does not contain the official suite" in capsys.readouterr().err

    def test_saved_runs_are_compared(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name, program in (("a", FAILED), ("b", Program("failed", (Subtest(OK, "a"),)))):
            (tmp_path / name).write_text(store.render(a_run(program)))
        assert cli.main(["--read", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
        assert "B better" in capsys.readouterr().out

    def test_reports_are_written(self, tmp_path: Path) -> None:
        kept = tmp_path / "kept.json"
        kept.write_text(store.render(a_run(GOOD)))
        assert (
            cli.main(["--read", str(kept), "--junit", str(tmp_path / "new/x.xml"), "--tap", str(tmp_path / "x.tap")])
            == 0
        )
        assert (tmp_path / "new/x.xml").read_text().startswith("<?xml")
        assert (tmp_path / "x.tap").read_text().startswith("TAP version 13")


def test_program_list_of_the_official_suite(tmp_path: Path) -> None:
    for name in ("runtimetest", "create", "kill"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "rootfs-amd64.tar.gz").touch(0o755)
    assert official.programs(tmp_path) == ["create", "kill"]


def test_case_is_a_value() -> None:
    case = all_cases()[0]
    assert case == Case(case.name, case.section, case.rule, case.level, case.body)


def test_no_runtime_gets_the_hosts_null() -> None:
    # crun would change its owner to the container's user, for the whole host.
    done = Runtime(("sh", "-c", "stat -L -c %F /dev/stdin; cat; echo end"), 60).call()
    assert (done.status, done.stdout) == (0, "fifo\nend\n")
