"""Drives the commands around a run as a person would: doctor, pool, dry run, erase, errors.

Usage: commands.py LLMCF_PROGRAM
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import small_run
from small_run import expect


class Program:
    def __init__(self, path, root):
        self.path, self.root = path, root

    def __call__(self, *arguments, status=0):
        done = subprocess.run([self.path, "--threads", "1", *map(str, arguments)], capture_output=True, text=True,
                              cwd=self.root)
        expect(done.returncode == status,
               f"{arguments}: exit status {done.returncode}, expected {status}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr


def files_with(root, text):
    return [str(path.relative_to(root)) for path in root.rglob("*")
            if path.is_file() and text.encode() in path.read_bytes()]


def artefacts(root):
    """Every file but the database's own side files, with its content."""
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*"))
            if path.is_file() and "sqlite-" not in path.name}


def check_errors(llmcf, root):
    text = (root / "run.yaml").read_text()
    (root / "typo.yaml").write_text(text.replace("retrieve:", "retreive:"))
    said = llmcf("run", "typo.yaml", status=1)
    expect("typo.yaml:" in said and "did you mean 'retrieve'" in said, f"a typo names line and nearest key: {said}")
    (root / "context.yaml").write_text(text.replace("context: ict", "context: itc"))
    said = llmcf("run", "context.yaml", status=1)
    expect("ict" in said and "context.yaml" in said, f"an unknown context names the known ones: {said}")
    (root / "encode.yaml").write_text(text.replace("width: 32", "widht: 32"))
    said = llmcf("run", "encode.yaml", status=1)
    expect("width" in said and "started" not in said, f"a mistake in a late section shows before any stage: {said}")
    (root / "twice.yaml").write_text(text.replace("seeds: [1]", "seeds: [1, 1]"))
    expect("stands twice" in llmcf("run", "twice.yaml", status=1), "one seed twice would look like certainty")
    expect("did you mean 'train'" in llmcf("run", "run.yaml", "--force", "trian", status=1), "--force knows its stages")
    expect("internal" not in llmcf("run", "absent.yaml", status=2), "a missing file is a usage error")
    llmcf("run", status=2)
    llmcf("retreive", "run.yaml", status=2)


def check_contexts(llmcf, root):
    for context in ("text", "concat", "ict_wocot", "mean"):
        said = llmcf("run", "run.yaml", "--set", f"variants=[{{name: {context}, model: {{context: {context}}}}}]",
                     "--set", "train.epochs=1")
        expect(f"{context} " in said and "report.html" in said, f"context {context} trains: {said}")


def check_paper(llmcf, root):
    said = llmcf("run", "run.yaml", "--workspace", "paper", "--set", "protocol=paper", "--set", "train.epochs=1",
                 "--set", "teach={share: 0.5, double_softmax: true}", "--set",
                 "variants=[{name: both, model: {context: kar, distillation: {weight: 0.1}}}]")
    expect("report.html" in said, f"KAR and distillation together: {said}")
    users = [line for line in said.splitlines() if "texts about users: 400 jobs" in line]
    expect(users, f"protocol paper writes one text per user: {said}")


def check_teacher(llmcf, root):
    """A language model teaches: its answers are paid for once, and a run that is stale asks nothing again."""
    (root / "script.json").write_text(json.dumps(
        {"chat": {"text": "Yes", "top_logprobs": [["Yes", -0.2], ["No", -1.8]]}}))
    server = subprocess.Popen([sys.executable, str(pathlib.Path(__file__).parent.parent / "net" / "scripted_server.py"),
                               "--script", str(root / "script.json"), "--log", str(root / "server.jsonl")],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = server.stdout.readline().strip()
        reason = f"{{kind: endpoint, endpoint: {{url: 'http://127.0.0.1:{port}/v1', model: tiny, logprobs: true}}}}"
        arguments = ["run.yaml", "--workspace", "taught", "--set", f"reason={reason}", "--set", "teach={share: 0.02}",
                     "--set", "train.epochs=1", "--set",
                     "variants=[{name: kd, model: {distillation: {weight: 0.1}}}]"]
        said = llmcf("run", *arguments, "--dry-run")
        expect("verdicts of the teacher" in said and "(this machine)" in said, f"verdicts are estimated: {said}")
        expect(not (root / "server.jsonl").read_text(), "a dry run asks nothing")
        small = [argument.replace("kind: endpoint", "kind: endpoint, budget: {tokens: 1}") for argument in arguments]
        small[small.index("taught")] = "poor"
        said = llmcf("run", *small, "--set", "variants=[{name: none, model: {context: none}}, "
                     "{name: kd, model: {distillation: {weight: 0.1}}}]", status=1)
        expect("teach is not complete" in said and "none seed 1: best epoch" in said, f"what needs no teacher: {said}")
        expect("no training row has a teacher's score" in said and "reason.budget" in said, f"what needs one: {said}")
        expect(not (root / "server.jsonl").read_text(), "nothing is spent")
        said = llmcf("run", *arguments)
        expect("teacher (endpoint:tiny): train rows" in said, f"the teacher is named: {said}")
        asked = len((root / "server.jsonl").read_text().splitlines())
        expect(asked > 20, f"the share is asked about: {asked} lines")
        llmcf("run", *arguments, "--force", "teach")
        expect(len((root / "server.jsonl").read_text().splitlines()) == asked, "nothing is asked twice")
    finally:
        server.stdin.close()
        server.wait()


def check_pool(llmcf, root):
    said = llmcf("pool", "stats", "run.yaml")
    expect("template" in said, "stats name the reasoner")
    expect(all(any(line.split()[:2] == [kind, "done"] for line in said.splitlines()) for kind in ("user", "item")),
           f"stats count texts about users and items: {said}")
    expect("answer" in llmcf("pool", "show", "run.yaml", "--limit", "2"), "show prints answers")
    llmcf("pool", "export", "run.yaml", "--out", "pool.jsonl")
    lines = (root / "pool.jsonl").read_text().splitlines()
    expect(len(lines) > 100 and all(json.loads(line) for line in lines), "the export is JSON lines")
    llmcf("pool", "import", "run.yaml", "--workspace", "other", "--from", "pool.jsonl")
    llmcf("pool", "export", "run.yaml", "--workspace", "other", "--out", "again.jsonl")
    expect((root / "again.jsonl").read_bytes() == (root / "pool.jsonl").read_bytes(), "export, import, export")


def check_pool_section(llmcf, root):
    said = " ".join(llmcf("run", "run.yaml", "--until", "retrieve", "--set", "pool.share=0.5").split())
    expect("reason unchanged" in said and "pool started" in said and "retrieve started" in said,
           f"another share of the pool asks nobody again: {said}")
    said = llmcf("run", "run.yaml", "--until", "pool", "--set", "pool.min_score=1", status=1)
    expect("lower pool.min_score" in said, f"an empty pool names the key: {said}")
    llmcf("retrieve", "run.yaml")
    said = llmcf("run", "run.yaml", "--until", "import", "--set", "pool.shares=1", status=1)
    expect("did you mean 'share'" in said, f"the section is read before any stage: {said}")


def check_analyse(llmcf, root):
    said = llmcf("analyse", "run.yaml")
    expect("shuffled" in said and "brand" in said and "analysis.html" in said, f"tables and the page's path: {said}")
    found = json.loads((root / "workspace" / "analysis" / "test" / "analysis.json").read_text())
    expect(found["all"]["rows"] == 800 and abs(found["all"]["shuffled_auc"] - .5) < .02, f"chance: {found['all']}")
    for bucket in found["cuts"]:
        expect(sum(entry["rows"] for entry in bucket["buckets"]) == 800, "every row is in one bucket of a cut")
    llmcf("analyse", "run.yaml", "--split", "valid", "--out", root / "elsewhere")
    expect("<canvas" in (root / "elsewhere" / "analysis.html").read_text(), "a page with charts")
    expect("did you mean 'test'" in llmcf("analyse", "run.yaml", "--split", "tset", status=1), "splits are known")
    said = llmcf("analyse", "run.yaml", "--workspace", "ghost", status=1)
    expect("no workspace" in said and not (root / "ghost").exists(), f"nothing is made: {said}")
    (root / "workspace" / "state" / "retrieve.json").rename(root / "record")
    expect("llmcf retrieve" in llmcf("analyse", "run.yaml", status=1), "an unfinished stage is named with its command")
    (root / "record").rename(root / "workspace" / "state" / "retrieve.json")


def check_doctor(llmcf, root):
    expect("BAD" not in llmcf("doctor", "run.yaml"), "a fresh workspace is sound")
    rows = root / "workspace" / "data" / "rows.safetensors"
    good = rows.read_bytes()
    rows.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    expect("checksum" in llmcf("doctor", "run.yaml", status=1), "a flipped bit is found")
    rows.write_bytes(good)


def check_erase(llmcf, root):
    workspace = root / "workspace"
    users = (root / "shop" / "interactions.tsv").read_text().splitlines()[1:]
    user = users[0].split("\t")[0]
    expect(files_with(workspace, user), "the user is there before")
    before = artefacts(workspace)
    expect("nothing was erased" in llmcf("erase", "run.yaml", "--user", "nobody", status=1), "an unknown user is refused")
    expect(artefacts(workspace) == before, "and nothing is touched")
    expect("no workspace" in llmcf("erase", "run.yaml", "--workspace", "ghost", "--user", user, status=1), "no workspace")
    llmcf("pool", "export", "run.yaml", "--out", "before.jsonl")
    (workspace / "cot" / "left.safetensors.tmp.1").write_text(f"{user} in the debris of a killed process")
    llmcf("erase", "run.yaml", "--user", user)
    expect(not list((workspace / "cot").glob("*.safetensors")), "derived files are gone")
    expect(files_with(workspace, user) == [], f"traces after erase: {files_with(workspace, user)}")
    llmcf("run", "run.yaml")
    expect(files_with(workspace, user) == [], f"traces after the next run: {files_with(workspace, user)}")
    (workspace / "cot" / "pool.sqlite").unlink()
    llmcf("pool", "import", "run.yaml", "--from", "before.jsonl")
    expect(files_with(workspace, user) == [], f"an older export brought back: {files_with(workspace, user)}")


def main():
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        llmcf = Program(str(pathlib.Path(sys.argv[1]).resolve()), root)
        small_run.make(llmcf.path, root)
        check_errors(llmcf, root)
        said = llmcf("run", "run.yaml", "--dry-run")
        expect("texts about users" in said and "template alignment score" in said, f"every kind is estimated: {said}")
        expect("without answers" in said and not (root / "workspace" / "cot").exists(), f"a dry run asks nothing: {said}")
        said = llmcf("run", "run.yaml")
        expect("llmcf" in said and "report.html" in said, f"the table and the report's path: {said}")
        expect("teacher (template alignment score): train rows" in said, f"the teacher is named and measured: {said}")
        expect("distillation (template alignment score)" in (root / "workspace" / "results.json").read_text(),
               "the result names the teacher")
        said = llmcf("run", "run.yaml")
        expect(said.count("unchanged, skipped") == 13 and "started" not in said, f"nothing is stale: {said}")
        check_pool(llmcf, root)
        check_pool_section(llmcf, root)
        check_analyse(llmcf, root)
        check_contexts(llmcf, root)
        check_paper(llmcf, root)
        check_teacher(llmcf, root)
        llmcf("run", "run.yaml")
        check_doctor(llmcf, root)
        check_erase(llmcf, root)
        print("commands: all as expected")


main()
