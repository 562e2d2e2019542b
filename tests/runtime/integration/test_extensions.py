"""crun's annotations that are supported or refused, in containers."""

from __future__ import annotations

from tests.containers import Bundle, Runtime


def test_the_callers_groups_are_kept(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["process"]["user"] = {"uid": 0, "gid": 0, "additionalGids": [7]}
    bundle.shell("grep Groups /proc/self/status")
    assert runtime.ok("run", "c1", bundle, extra_groups=[5, 6]).split() == ["Groups:", "7"]
    bundle.config["annotations"] = {"run.oci.keep_original_groups": "1"}
    bundle.save(process__args=["sh", "-c", "grep Groups /proc/self/status; exec sleep 1000"])
    runtime.ok("create", "c1", bundle, extra_groups=[5, 6])
    runtime.ok("start", "c1")
    assert runtime.ok("exec", "c1", "grep", "Groups", "/proc/self/status", extra_groups=[5, 6]).split() == [
        "Groups:", "5", "6"]
    assert runtime.ok("exec", "c1", "grep", "Groups", "/proc/1/status", extra_groups=[8]).split() == [
        "Groups:", "5", "6"]
    runtime.ok("delete", "--force", "c1")


def test_refused_annotations_and_warnings(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["annotations"] = {"run.oci.handler": "krun"}
    done = runtime("create", "c1", bundle.shell("true"))
    assert done.returncode == 1
    assert 'config.json: annotations["run.oci.handler"]: "krun" is not supported' in done.stderr
    bundle.config["annotations"] = {"run.oci.systemd.subgroup": "x", "run.oci.new": "y"}
    done = runtime("run", "c1", bundle.save())
    assert done.returncode == 0
    assert 'annotations["run.oci.systemd.subgroup"]: is not supported; ignored' in done.stderr
    assert "run.oci.new" not in done.stderr
