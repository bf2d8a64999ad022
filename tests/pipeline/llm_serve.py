"""Drives `llmcf llm serve` from outside: curl's view of it, and the program's own clients. A pool that the reasoner
`endpoint` fills over HTTP is the one that `local` fills in process; the encoder `endpoint` gets the model's vectors.

Usage: llm_serve.py LLMCF_PROGRAM
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import llm
import small_run
from small_run import expect

KEY = "LLMCF_TEST_SERVE_KEY"
REASON = ("reason: {{kind: {kind}, share: 0.006, seed: 1, candidates: 2, max_history: 3, max_item_chars: 60, "
          "scoring: {{min_chars: 1, min_score: 0}}, {options}}}")
LOCAL = "local: {model: model, max_tokens: 8, temperature: 0, capacity: 2048}"
ENDPOINT = ("endpoint: {{url: '{url}/v1', model: model, api_key_env: {key}, stream: {stream}, send_n: {send_n}, temperature: 0, "
            "top_p: 1, max_tokens: 8, logprobs: true, top_logprobs: 20}}")
ENCODE = "encode: {{kind: endpoint, base_url: '{url}/v1', model: model, token_env: {key}}}"


class Server:
    def __init__(self, program, root, *options):
        self.process = subprocess.Popen([program, "--threads", "1", "llm", "serve", "--model", "model", "--port", "0",
                                         "--capacity", "2048", *options], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        line = self.process.stdout.readline()
        expect(line.startswith("http") and line.endswith(" serves model\n"), f"it says where it is: {line!r}")
        self.url = line.split()[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:  # a test failed
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        output, errors = self.process.communicate(timeout=60)
        expect(self.process.returncode == 0, f"SIGTERM ends it well: {self.process.returncode} {errors}")


def write_model(directory):
    """llm.write_model's, with tokens Yes and No that are often among the most likely ones."""
    llm.VOCABULARY, merged = 267, ["Y", "e", "s", "N", "o", "Ye", "Yes", "No"]
    write = llm.write_safetensors

    def write_decided(path, tensors):
        values = tensors["lm_head.weight"][1]
        for column in range(llm.WIDTH):
            yes = values[265 * llm.WIDTH + column]
            values[265 * llm.WIDTH + column], values[266 * llm.WIDTH + column] = 5 * yes, -5 * yes
        write(path, tensors)

    llm.write_safetensors = write_decided
    llm.write_model(directory)
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {piece: 259 + number for number, piece in enumerate(merged)}
    tokenizer["model"]["merges"] = ["Y e", "Ye s", "N o"]
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))


def ask(url, path, body=None, key=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url + path, json.dumps(body).encode() if body else None, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def curl(url, path, body, *options):
    done = subprocess.run(["curl", "-sS", "--max-time", "60", "-H", "Content-Type: application/json", *options, url + path,
                           "-d", json.dumps(body)], capture_output=True, text=True)
    expect(done.returncode == 0, f"curl: {done.stderr}")
    return done.stdout


def by_curl(url):
    chat = {"model": "model", "messages": [{"role": "user", "content": "Say ab."}], "max_tokens": 8, "seed": 4}
    whole = json.loads(curl(url, "/v1/chat/completions", chat))
    events = curl(url, "/v1/chat/completions", chat | {"stream": True}, "-N").strip().split("\n\n")
    expect(events[-1] == "data: [DONE]", f"a stream ends: {events}")
    deltas = [json.loads(event.removeprefix("data: "))["choices"][0]["delta"].get("content", "") for event in events[:-1]]
    expect("".join(deltas) == whole["choices"][0]["message"]["content"], f"{events} against {whole}")
    refused = json.loads(curl(url, "/v1/chat/completions", chat | {"top_p": 3}))
    expect(refused["error"]["param"] == "top_p", f"errors name the field: {refused}")


def pool_of(program, root, reason, encode=None):
    """Runs up to stage teach and returns what was said about every job."""
    text = small_run.CONFIG.replace("  - {name: kar, model: {context: kar}}\n", "").replace("reason: {kind: template, share: 0.3, seed: 1}", reason)
    text = text.replace("encode: {kind: lsa, width: 32}", encode or "encode: {kind: lsa, width: 32}")
    (root / "run.yaml").write_text(text)
    shutil.rmtree(root / "workspace", ignore_errors=True)
    for arguments in (["run", "run.yaml", "--until", "teach", "--set", "teach.share=0.005", "--set", "teach.measure_share=0"],
                      ["pool", "export", "run.yaml", "--out", "pool.jsonl"]):
        done = subprocess.run([program, "--threads", "1", *arguments], cwd=root, capture_output=True, text=True, errors="replace")
        expect(done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}")
    rows = [json.loads(line) for line in (root / "pool.jsonl").read_text().splitlines()]
    said = []
    for jobs_name, answers_name in (("jobs", "answers"), ("knowledge_jobs", "knowledge_answers")):
        jobs = {row["id"]: row for row in rows if row.get("table") == jobs_name}
        answers = [row for row in rows if row.get("table") == answers_name]
        expect(answers, f"the pool has {answers_name}")
        for answer in answers:
            job = jobs[answer["job"]]
            odds = [round(answer[name], 3) for name in ("yes", "no") if answer.get(name) is not None]
            said.append(([str(job.get(name)) for name in ("kind", "user", "position", "item")], answer.get("candidate", 0),
                         answer["text"], odds))
    return sorted(said)


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    os.environ[KEY] = "a-secret-of-this-test"
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        write_model(root / "model")
        small_run.make(program, root)

        with Server(program, root) as server:
            expect(ask(server.url, "/health")[1]["status"] == "ok", "health")
            expect(ask(server.url, "/v1/models")[1]["data"][0]["id"] == "model", "models")
            if shutil.which("curl"):
                by_curl(server.url)
            else:
                print("skipped: curl is not there")
            server.stop()

        here = pool_of(program, root, REASON.format(kind="local", options=LOCAL))
        expect(any(odds for *_, odds in here), f"verdicts are there: {here[-3:]}")
        with Server(program, root, "--api-key-env", KEY) as server:
            expect(ask(server.url, "/v1/models")[0] == 401, "no key, no answer")
            expect(ask(server.url, "/v1/models", key=os.environ[KEY])[0] == 200, "the key opens")
            for stream, send_n in (("true", "true"), ("false", "false")):
                endpoint = ENDPOINT.format(url=server.url, key=KEY, stream=stream, send_n=send_n)
                there = pool_of(program, root, REASON.format(kind="endpoint", options=endpoint))
                different = [pair for pair in zip(here, there) if pair[0] != pair[1]]
                expect(len(here) == len(there) and not different,
                       f"stream {stream}: {len(here)} and {len(there)}: {different[:3]}")
            pool_of(program, root, REASON.format(kind="local", options=LOCAL), ENCODE.format(url=server.url, key=KEY))
            server.stop()

        keyless = subprocess.run([program, "llm", "serve", "--model", "model", "--port", "0", "--api-key-env", "NOT_SET_AT_ALL"],
                                 cwd=root, capture_output=True, text=True)
        expect(keyless.returncode == 1 and "NOT_SET_AT_ALL" in keyless.stderr, f"a missing key is said: {keyless}")
        print(f"llm_serve: all as expected, {len(here)} answers compared")


if __name__ == "__main__":
    main()
