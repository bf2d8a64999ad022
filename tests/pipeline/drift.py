"""Drives `llmcf drift` on a small shop: windows, arms, thresholds and their exit status, kills, errors.

Usage: drift.py LLMCF_PROGRAM
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import small_run
from small_run import expect

SECTION = """
drift: {windows: 3, start_share: 0.6}
"""


def drift(program, root, *arguments, status=0):
    done = subprocess.run([program, "--threads", "1", "drift", "run.yaml", *arguments], capture_output=True, text=True,
                          cwd=root)
    expect(done.returncode == status,
           f"{arguments}: exit status {done.returncode}, expected {status}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def results(root):
    data = json.loads((root / "workspace" / "drift.json").read_text())
    del data["created"]
    return data


def outcome(root):
    """What must not depend on kills."""
    workspace = root / "workspace"
    found = {"results": results(root), "csv": (workspace / "drift.csv").read_text()}
    for pattern in ("data/*.safetensors", "cot/*.safetensors", "retrieval/*.safetensors", "runs/**/*scores.safetensors"):
        for path in sorted(workspace.glob(pattern)):
            found[str(path.relative_to(workspace))] = path.read_bytes()
    return found


def check_results(root):
    data = results(root)
    expect(len(data["windows"]) == 3, "three windows")
    expect([(one["variant"], one["arm"]) for one in data["series"]] ==
           [("none", ""), ("llmcf", "frozen"), ("llmcf", "refreshed"), ("kar", ""), ("kd", "")],
           "variants without examples have no arms")
    frozen, refreshed = (arm["windows"] for arm in data["arms"])
    expect(frozen[0] == refreshed[0], "before the first window the pools are the same")
    expect(len({pool["examples"] for pool in frozen}) == 1, "a frozen pool does not grow")
    sizes = [pool["examples"] for pool in refreshed]
    expect(sizes == sorted(sizes) and sizes[0] < sizes[-1], f"a refreshed pool grows: {sizes}")
    expect(refreshed[-1]["age_days"] < frozen[-1]["age_days"], "fresh examples are younger")
    by_arm = [one["auc"] for one in data["series"]]
    expect(abs(by_arm[1][0]["mean"] - by_arm[2][0]["mean"]) < 1e-6, "and so are the scores")
    expect(sum(window["rows"] for window in data["windows"]) == data_rows(root), "every row is in one window")
    expect("<canvas" in (root / "workspace" / "drift.html").read_text(), "the page has charts")


def data_rows(root):
    """Rows of the test split, from the header of the file."""
    content = (root / "workspace" / "data" / "rows.safetensors").read_bytes()
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    return header["test.user"]["shape"][0]


def check_errors(program, root):
    said = drift(program, root, "--set", "split.method=ratio", status=1)
    expect("method: time" in said and "started" not in said, f"rows are cut by time: {said}")
    expect("time_safe" in drift(program, root, "--set", "retrieve.time_safe=false", status=1), "leaks are refused")
    expect("did you mean 'windows'" in drift(program, root, "--set", "drift.windoes=3", status=1), "unknown keys")
    expect("min_score" in drift(program, root, "--set", "pool.top_share=0.5", status=1), "a pool's past is fixed")
    expect("did you mean 'drift'" in drift(program, root, "--force", "drfit", status=1), "--force knows its stages")
    expect("holds no row" in drift(program, root, "--set", "drift.window_days=9999", status=1), "windows need rows")


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        whole, killed = pathlib.Path(temporary) / "whole", pathlib.Path(temporary) / "killed"
        for root in (whole, killed):
            root.mkdir()
            small_run.make(program, root)
            text = (root / "run.yaml").read_text().replace("split: {seed: 1}", "split: {method: time, seed: 1}")
            (root / "run.yaml").write_text(text + SECTION)
        check_errors(program, whole)
        expect("without answers" in drift(program, whole, "--dry-run"), "a dry run asks nothing")
        drift(program, whole)
        check_results(whole)
        said = drift(program, whole, "--set", "drift.min_item_coverage=1", status=3)
        expect("violated" in said and "min_item_coverage" in said, f"a violation is named: {said}")
        expect(" started" not in said, "thresholds alone make no stage stale")
        drift(program, whole, "--set", "drift.min_item_coverage=0", "--set", "drift.min_coverage=0.5")
        drift(program, whole)
        kills = sum(small_run.kill_in([program, "--threads", "1", "drift", "run.yaml"], stage, 0.02, cwd=killed)
                    for stage in ("split.examples", "retrieve", "train.llmcf.1", "drift.llmcf.1"))
        expect(kills >= 2, f"only {kills} kills hit a running stage: the test proves nothing")
        drift(program, killed)
        expected, found = outcome(whole), outcome(killed)
        expect(found.keys() == expected.keys(), f"artefacts differ: {sorted(found.keys() ^ expected.keys())}")
        different = [name for name in expected if found[name] != expected[name]]
        expect(not different, f"differ after {kills} kills: {different}")
        print(f"drift: all as expected after {kills} kills")


main()
