"""Judges retrieved examples through the program's standard input, as a person at a terminal would.

Usage: annotate.py LLMCF_PROGRAM
"""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import small_run
from small_run import expect


class Annotate:
    def __init__(self, program, root):
        self.command = [program, "--quiet", "--threads", "1", "annotate", "run.yaml"]
        self.root = root
        self.file = root / "workspace" / "annotations.jsonl"

    def __call__(self, answers, *arguments, status=0):
        done = subprocess.run([*self.command, *map(str, arguments)], input=answers, capture_output=True, text=True,
                              cwd=self.root)
        expect(done.returncode == status, f"{arguments}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def lines(self, annotator=None):
        lines = [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []
        return [line for line in lines if annotator in (None, line["annotator"])]


def pairs(lines):
    return [(tuple(line["query"].values()), tuple(line["example"].values())) for line in lines]


def check_sessions(annotate):
    said = annotate("2\n0\n", "--annotator", "anna", "--sample", 10)
    before = said[:said.index("judged now")]
    expect("Pair 1 of 10" in said and "chain of thought" in said, f"pairs are shown: {said}")
    expect("similarity" not in before.lower(), "similarity is hidden while a person judges")
    expect("2 judged now" in said and "Spearman" in said, f"the input's end is a clean end: {said}")
    expect([line["grade"] for line in annotate.lines()] == [2, 0], "each judgement is kept")
    said = annotate("what\n1\ns\nq\n", "--annotator", "anna", "--sample", 10)
    expect("Pair 3 of 10" in said and "Pair 2 of 10" not in said, f"it goes on where it stopped: {said}")
    expect("Please answer" in said, "an unknown answer is asked again")
    expect([line["grade"] for line in annotate.lines()] == [2, 0, 1, None], "a skip is kept as none")
    said = annotate("2\n" * 50, "--annotator", "anna", "--sample", 10)
    expect("6 judged now" in said, f"a skipped pair is not shown again: {said}")
    expect("0 judged now" in annotate("2\n" * 50, "--annotator", "anna", "--sample", 10), "all are judged")
    anna = pairs(annotate.lines("anna"))
    expect(len(set(anna)) == len(anna) == 10, "no pair twice")
    annotate("1\n0\n" * 9, "--annotator", "bert", "--sample", 12)
    bert = pairs(annotate.lines("bert"))
    expect(bert[:10] == anna and len(bert) == 12, "a larger sample begins with the smaller one, for everybody")
    said = annotate("", "--report")
    expect("anna and bert" in said and "Cohen's kappa" in said and "Pair" not in said, f"two annotators: {said}")


def check_kill(annotate):
    """A process killed while it waits has kept what it was told."""
    command = [*annotate.command, "--annotator", "carl"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=annotate.root)
    process.stdin.write("2\n1\n")
    process.stdin.flush()
    for _ in range(600):
        if len(annotate.lines("carl")) == 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    expect(len(annotate.lines("carl")) == 2, "killed: both judgements are there")
    with annotate.file.open("a") as file:
        file.write('{"annotator": "carl", "torn')
    said = annotate("0\n", "--annotator", "carl")
    expect("Pair 3 of" in said and len(annotate.lines("carl")) == 3, f"a torn line is cut off: {said}")


def check_erase(annotate, program):
    query = annotate.lines()[0]["query"]["user"]
    example = annotate.lines()[1]["example"]["user"]
    for user in (query, example):
        subprocess.run([program, "--quiet", "erase", "run.yaml", "--user", user, "--force"], check=True,
                       cwd=annotate.root, stdout=subprocess.DEVNULL)
        left = [line for line in annotate.lines() if user in (line["query"]["user"], line["example"]["user"])]
        expect(left == [] and f'"{user}"' not in annotate.file.read_text(), f"{user} is erased: {left}")
    expect(annotate.lines(), "the others stay")


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        small_run.make(program, root)
        annotate = Annotate(program, root)
        expect("no workspace" in annotate("", "--annotator", "anna", status=1), "nothing to judge")
        subprocess.run([program, "--quiet", "--threads", "1", "retrieve", "run.yaml"], check=True, cwd=root)
        expect("No judgements" in annotate("", "--report"), "an empty report")
        expect("--annotator" in annotate("", "--annotator", "", status=1), "a judgement has a name")
        check_sessions(annotate)
        check_kill(annotate)
        check_erase(annotate, program)
        print("annotate: all as expected")


main()
