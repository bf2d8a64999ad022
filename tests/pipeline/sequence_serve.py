"""Publishes a sequence run and a click run over the same shop, serves the one alone and both in two stages, and compares
what the service recommends with `llmcf recommend`.

Usage: sequence_serve.py LLMCF_PROGRAM
"""
import pathlib
import subprocess
import sys
import tempfile
import time

import small_run
from served import Server
from small_run import expect

CONFIG = "listen: {port: 0}\nhistories: {file: histories.sqlite}\n"
VARIANTS = """variants:
  - {name: text, model: {context: text}}
  - {name: llmcf, model: {context: ict, ict: {module: published}}}
"""
CLICKS = """variants:
  - {name: none, model: {context: none}}
"""


def lists_of(path):
    """The offline lists: user -> [(item, score)]."""
    lists = {}
    for line in path.read_text().splitlines()[1:]:
        user, _, item, score = line.split("\t")
        lists.setdefault(user, []).append((item, float(score)))
    return lists


def expect_same(server, offline):
    """Every user's list, in batches; scores as printed, and items whose scores differ in their order."""
    users = sorted(offline)
    for begin in range(0, len(users), 50):
        batch = users[begin:begin + 50]
        answer = server.curl("/v1/recommend", {"requests": [{"user": user, "k": 10} for user in batch]})
        for user, one in zip(batch, answer["responses"]):
            expect(one["first_stage"] == "sequence", f"{user} has a history: {one}")
            for (item, score), served in zip(offline[user], one["items"], strict=True):
                close = abs(score - served["score"]) < 1e-4 * max(1, abs(score))
                expect(close, f"{user}: {served}, offline {item} {score}")
                near = [other for other, value in offline[user] if abs(value - score) < 2e-4 * max(1, abs(score))]
                expect(served["item"] in near, f"{user}: {served['item']} served, {near} offline")


def main(program):
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        small_run.make(program, root)
        start = small_run.CONFIG.split("variants:")[0]
        (root / "sequence.yaml").write_text(
            start.replace("backbone: deepfm, embed_dim: 8", "backbone: sasrec, embed_dim: 16")
            .replace("workspace: workspace", "workspace: sequences") + VARIANTS)
        (root / "clicks.yaml").write_text(start + CLICKS)

        def llmcf(*arguments):
            done = subprocess.run([program, "--quiet", "--threads", "1", *arguments], capture_output=True, text=True, cwd=root)
            expect(done.returncode == 0, f"{arguments}: exit status {done.returncode}\n{done.stdout}{done.stderr}")

        for variant in ("text", "llmcf"):
            llmcf("publish", "sequence.yaml", "--variant", variant, "--out", "shop.bundle")
            llmcf("recommend", "sequence.yaml", "--variant", variant, "--out", f"{variant}.tsv", "--k", "10")
            server = Server(program, root, CONFIG)
            expect_same(server, lists_of(root / f"{variant}.tsv"))
            expect(server.stop() == 0, "SIGTERM ends gracefully")

        # Two stages: the published sequence model lists, the click model ranks.
        (root / "shop.bundle").rename(root / "sequence.bundle")
        llmcf("publish", "clicks.yaml", "--out", "shop.bundle")
        offline = lists_of(root / "llmcf.tsv")
        server = Server(program, root, CONFIG + "candidates: {bundle: sequence.bundle}\n")
        info = server.curl("/v1/info")
        expect(info["candidates"]["backbone"] == "sasrec" and info["backbone"] == "deepfm", f"both are named: {info}")
        for user in sorted(offline)[:20]:
            answer = server.curl("/v1/recommend", {"user": user, "k": 10, "first_stage": 10})
            found = [item["item"] for item in answer["items"]]
            expect(sorted(found) == sorted(item for item, _ in offline[user]), f"{user}: listed by the sequence model")
            ranked = server.curl("/v1/rank", {"user": user, "candidates": [item for item, _ in offline[user]]})
            expect([item["item"] for item in ranked["items"]] == found, f"{user}: ranked by the click model")
        server.curl("/v1/events", {"events": [{"user": "someone new", "item": offline[user][0][0]}]})
        expect(server.curl("/v1/recommend", {"user": "someone new"})["first_stage"] == "sequence", "an event counts at once")
        expect(server.curl("/v1/recommend", {"user": "nobody"})["first_stage"] == "popular", "nothing is known of nobody")

        before = info["candidates"]["bundle"]
        llmcf("publish", "sequence.yaml", "--variant", "text", "--out", "sequence.bundle")
        server.hang_up()
        for _ in range(100):
            if server.curl("/v1/info")["candidates"]["bundle"] != before:
                break
            time.sleep(0.05)
        now = server.curl("/v1/info")
        expect(now["candidates"]["bundle"] != before and now["bundle"] == info["bundle"], "SIGHUP swaps the one that is new")
        expect(server.stop() == 0, "SIGTERM ends gracefully")
    print("sequences: served as offline, listed and ranked, swapped")


if __name__ == "__main__":
    main(sys.argv[1])
