"""Drives `llmcf experiment` and `llmcf tune` on a small shop: kills, resumes, filters, failures, tables.

Usage: experiment.py LLMCF_PROGRAM.
"""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import small_run

EXPERIMENT = """
name: small-study
workspace: study
results: results/study.jsonl
presets: presets.yaml
seeds: [1, 2]
jobs: {processes: 2, threads: 1, memory_mib: 2000}
run:
  data: {format: table, path: shop, schema: shop/schema.yaml}
  split: {seed: 1}
  encode: {kind: lsa, width: 32}
  reason: {kind: template, share: 0.3, seed: 1}
  retrieve: {k: 4}
  model: {embed_dim: 8}
  train: {epochs: 2, batch_size: 64, learning_rate: 0.01}
backbones: [deepfm]
variants:
  - {name: none, model: {context: none}}
  - {name: llmcf, model: {context: ict}}
sweeps:
  - {name: k, title: Examples, key: retrieve.k, values: [2, 4], variants: [llmcf], seeds: [1]}
tune:
  trials: 2
  user_share: 0.5
  train: {epochs: 1}
  results: results/tuning.jsonl
  space: [{key: train.learning_rate, log: [0.001, 0.02]}]
"""


class Study:
    def __init__(self, program, root):
        self.program, self.root = program, root
        root.mkdir()
        small_run.make(program, root)
        (root / "study.yaml").write_text(EXPERIMENT)

    def command(self, name, *more):
        return [self.program, "--threads", "1", name, str(self.root / "study.yaml"), *more]

    def run(self, name, *more):
        return subprocess.run(self.command(name, *more), capture_output=True, text=True)

    def results(self, name="study"):
        path = self.root / "results" / f"{name}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        found = {}
        for line in lines:
            result = json.loads(line)
            key = result.pop("key")
            small_run.expect(key not in found, f"the key {key} stands twice")
            found[key] = {name: value for name, value in result.items()
                          if name not in ("seconds", "peak_mib", "train_rows_per_second", "finished")}
        return found


def check_whole(study):
    done = study.run("experiment")
    small_run.expect(done.returncode == 0, f"experiment failed:\n{done.stderr}")
    # Four runs of the matrix, one more of the sweep: K = 4 is the matrix's own run.
    small_run.expect(len(study.results()) == 5, f"{len(study.results())} results, expected 5")
    small_run.expect("6 of 6 runs have finished" in done.stdout, done.stdout)
    for suffix in ("html", "md", "csv", "tex"):
        small_run.expect((study.root / "study" / f"experiment.{suffix}").stat().st_size > 100, suffix)
    csv = (study.root / "study" / "experiment.csv").read_text().splitlines()
    small_run.expect(len(csv) == 7, f"{len(csv)} lines of CSV")
    left = list((study.root / "study").glob("*/runs/*/*/last.safetensors"))
    small_run.expect(not left, f"checkpoints of finished runs are left: {left}")
    again = study.run("experiment")
    small_run.expect("5 runs have results, 0 are to be trained" in again.stderr, again.stderr)


def check_kills(study, expected):
    """Kills the parent at several moments; its children must end with it, and the end must be the same."""
    kills = 0
    for delay in (0.4, 0.8, 1.2, 1.6, 2.4):
        process = subprocess.Popen(study.command("experiment"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        deadline = time.time() + 5
        while subprocess.run(["pgrep", "-f", str(study.root)], capture_output=True).returncode == 0:
            small_run.expect(time.time() < deadline, "children outlive their killed parent")
            time.sleep(0.02)
    small_run.expect(kills > 0, "every attempt ended before it could be killed")
    done = study.run("experiment")
    small_run.expect(done.returncode == 0, f"experiment failed after kills:\n{done.stderr}")
    small_run.expect(study.results() == expected, "results differ from those of an experiment nobody killed")
    print(f"killed {kills} times")


def check_tune(study):
    done = study.run("tune")
    small_run.expect(done.returncode == 0, f"tune failed:\n{done.stderr}")
    trials = study.results("tuning")
    small_run.expect(len(trials) == 4, f"{len(trials)} trials, expected 2 for each of 2 variants")
    small_run.expect(all(trial["auc"] is None for trial in trials.values()), "a trial shows a test figure")
    presets = (study.root / "presets.yaml").read_text()
    small_run.expect("deepfm:" in presets and "  llmcf:" in presets, presets)
    missing = study.run("experiment", "--dry-run", "--variant", "llmcf").stdout
    small_run.expect("of 4 runs are missing" in missing, missing)


def check_failures(study):
    wrong = study.run("experiment", "--backbone", "deepfn")
    small_run.expect(wrong.returncode == 1 and "did you mean 'deepfm'" in wrong.stderr, wrong.stderr)
    # A run that cannot write fails; the message names it and its log, and the others' tables are still written.
    for group in (study.root / "study").glob("*/runs"):
        group.rename(group.with_name("runs.away"))
        group.write_text("in the way of a directory")
    failed = study.run("experiment", "--variant", "none", "--set", "run.train.epochs=1")
    small_run.expect(failed.returncode == 1 and "2 runs failed" in failed.stderr, failed.stderr)
    small_run.expect("deepfm none, seed 1" in failed.stderr and ".log)" in failed.stderr, failed.stderr)
    small_run.expect("report:" in failed.stdout, failed.stdout)


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        study = Study(program, pathlib.Path(temporary) / "whole")
        check_whole(study)
        check_kills(Study(program, pathlib.Path(temporary) / "killed"), study.results())
        check_tune(study)
        check_failures(study)


main()
