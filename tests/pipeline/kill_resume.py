"""Kills `llmcf run` with SIGKILL during each of its stages, starts it again, and checks that the end is the same.

Usage: kill_resume.py LLMCF_PROGRAM. The reference is a run that nobody killed, with the same seed and threads; metrics,
test scores and results must be byte-identical, time fields apart.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import small_run

def command(program, root):
    return [program, "--threads", "1", "run", str(root / "run.yaml")]


def run_to_end(program, root):
    done = subprocess.run(command(program, root), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        sys.exit(f"llmcf run failed:\n{done.stderr}")
    return [line.split()[2] for line in done.stderr.splitlines() if line.endswith(" started")]


def without_time(value):
    if isinstance(value, dict):
        return {key: without_time(child) for key, child in value.items()
                if key not in ("time", "created", "seconds", "stages", "peak_memory_mib")}
    if isinstance(value, list):
        return [without_time(child) for child in value]
    return value


def outcome(root):
    """What must not depend on kills: every metrics line, every score file's bytes, the results."""
    workspace = root / "workspace"
    found = {"results": without_time(json.loads((workspace / "results.json").read_text()))}
    for path in sorted(workspace.glob("runs/**/metrics.jsonl")):
        found[str(path.relative_to(workspace))] = [without_time(json.loads(line))
                                                   for line in path.read_text().splitlines()]
    for pattern in ("data/*.safetensors", "cot/*.safetensors", "retrieval/*.safetensors", "runs/**/test*.safetensors"):
        for path in sorted(workspace.glob(pattern)):
            found[str(path.relative_to(workspace))] = path.read_bytes()
    return found


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        reference = pathlib.Path(temporary) / "reference"
        killed = pathlib.Path(temporary) / "killed"
        for root in (reference, killed):
            root.mkdir()
            small_run.make(program, root)
        stages = run_to_end(program, reference)
        expected = outcome(reference)
        kills = 0
        for stage in stages:
            for delay in (0.0, 0.02, 0.2):
                if (killed / "workspace" / "state" / f"{stage}.json").exists():
                    break
                kills += small_run.kill_in(command(program, killed), stage, delay)
        run_to_end(program, killed)
        found = outcome(killed)
        if found.keys() != expected.keys():
            sys.exit(f"artefacts differ: {sorted(found.keys() ^ expected.keys())}")
        different = [name for name in expected if found[name] != expected[name]]
        if different:
            sys.exit(f"differ after {kills} kills: {different}")
        if kills < len(stages) // 2:
            sys.exit(f"only {kills} kills hit a running stage: the test proves nothing; stages: {stages}")
        print(f"{kills} kills over {len(stages)} stages, {len(expected)} artefacts identical")


main()
