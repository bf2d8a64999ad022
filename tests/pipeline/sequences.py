"""Drives a sequence backbone from logs to recommendations: run, report, recommend, score, what is refused.

Usage: sequences.py LLMCF_PROGRAM
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import small_run
from small_run import expect

VARIANTS = """variants:
  - {name: none, model: {context: none}}
  - {name: llmcf, model: {context: ict}}
"""


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        small_run.make(program, root)
        text = small_run.CONFIG.split("variants:")[0].replace("backbone: deepfm, embed_dim: 8",
                                                              "backbone: sasrec, embed_dim: 16")
        (root / "run.yaml").write_text(text + VARIANTS)

        def llmcf(*arguments, status=0):
            done = subprocess.run([program, "--threads", "1", *arguments], capture_output=True, text=True, cwd=root)
            expect(done.returncode == status, f"{arguments}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
            return done.stdout + done.stderr

        said = llmcf("run", "run.yaml")
        expect("NDCG@10" in said and "HIT@10 unseen" in said, f"judged among all items: {said}")
        page = (root / "workspace" / "report.html").read_text()
        expect("HIT@10 by history length" in page and "Items before the target" in page, "the report says what it shows")

        llmcf("recommend", "run.yaml", "--out", "best.tsv", "--k", "5")
        rows = [line.split("\t") for line in (root / "best.tsv").read_text().splitlines()]
        expect(rows[0] == ["user", "rank", "item", "score"], f"a header: {rows[0]}")
        seen = {}
        for line in (root / "shop" / "interactions.tsv").read_text().splitlines()[1:]:
            user, item = line.split("\t")[:2]
            seen.setdefault(user, set()).add(item)
        lists = {}
        for user, rank, item, score in rows[1:]:
            lists.setdefault(user, []).append((int(rank), item, float(score)))
        expect(lists.keys() == seen.keys(), "everybody gets a list")
        for user, best in lists.items():
            expect([rank for rank, _, _ in best] == [1, 2, 3, 4, 5], f"five items for {user}: {best}")
            expect(all(a[2] >= b[2] for a, b in zip(best, best[1:])), f"best first: {best}")
            expect(not seen[user] & {item for _, item, _ in best}, f"nothing that {user} has seen: {best}")

        someone = next(iter(lists))
        (root / "users.txt").write_text(someone + "\n")
        llmcf("recommend", "run.yaml", "--out", "one.jsonl", "--users", "users.txt", "--k", "1000", "--keep-seen")
        one = json.loads((root / "one.jsonl").read_text())
        expect(one["user"] == someone and len(one["items"]) == 250, "with everything kept, all items come")

        said = llmcf("recommend", "run.yaml", "--out", "close.tsv", "--k", "5", "--approximate", "--probes", "1")
        close = [line.split("\t") for line in (root / "close.tsv").read_text().splitlines()[1:]]
        exact = {(row[0], row[2]): row[3] for row in rows[1:]}
        shared = [row for row in close if (row[0], row[2]) in exact]
        expect(f"{len(shared) / len(rows[1:]):.4f}" in said, f"recall as printed: {len(shared)} of {len(rows) - 1}, {said}")
        expect(shared and all(exact[row[0], row[2]] == row[3] for row in shared), "scores of the exact lists")
        llmcf("recommend", "run.yaml", "--out", "x.tsv", "--probes", "1", status=2)

        (root / "pairs.tsv").write_text("user\titem\n" + "".join(f"{someone}\t{item}\n" for _, item, _ in lists[someone]))
        llmcf("score", "run.yaml", "--pairs", "pairs.tsv", "--out", "scores.tsv")
        scores = [float(line.split("\t")[2]) for line in (root / "scores.tsv").read_text().splitlines()[1:]]
        expect(all(abs(a - b[2]) < 1e-3 * max(1, abs(a)) for a, b in zip(scores, lists[someone])),
               f"score and recommend agree: {scores}, {lists[someone]}")

        (root / "bad.tsv").write_text(f"user\titem\n{someone}\tnothing\n")
        said = llmcf("score", "run.yaml", "--pairs", "bad.tsv", "--out", "bad.out", status=1)
        expect("bad.tsv:2" in said and "nothing" in said and not (root / "bad.out").exists(), f"names the line: {said}")
        expect("click models" in llmcf("drift", "run.yaml", status=1), "drift refuses")
        expect("click model" in llmcf("analyse", "run.yaml", status=1), "analyse refuses")
        (root / "mixed.yaml").write_text(text + VARIANTS + "  - {name: other, model: {backbone: deepfm}}\n")
        expect("judged differently" in llmcf("run", "mixed.yaml", status=1), "clicks and next items do not mix")
        (root / "clicks.yaml").write_text(small_run.CONFIG.split("  - {name: kar")[0].replace("workspace: workspace",
                                                                                           "workspace: clicks"))
        said = llmcf("recommend", "clicks.yaml", "--out", "x", status=1)
        expect("sequence backbone" in said, f"recommend needs one: {said}")
        llmcf("score", "clicks.yaml", "--pairs", "pairs.tsv", "--out", "clicks.tsv")
        clicks = [float(line.split("\t")[2]) for line in (root / "clicks.tsv").read_text().splitlines()[1:]]
        expect(len(clicks) == 5 and all(0 < value < 1 for value in clicks), f"probabilities of clicks: {clicks}")
        print("sequences: all as expected")


main()
