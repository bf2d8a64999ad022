"""Drives `llmcf llm` and the reasoner `local` from outside: a tiny model is tuned, continued after a kill, merged,
asked, and fills a pool.

Usage: llm.py LLMCF_PROGRAM
"""
import json
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile

import small_run
from small_run import expect

WIDTH, INNER, LAYERS, VOCABULARY = 32, 64, 2, 259


def write_safetensors(path, tensors):
    """tensors: name -> (shape, floats)"""
    header, blob = {}, b""
    for name, (shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def write_model(directory):
    """A LLaMA with random weights whose tokens are bytes, as another program would write it."""
    directory.mkdir()
    draw = random.Random(1)
    tensors = {}

    def add(name, *shape):
        count = 1
        for size in shape:
            count *= size
        norm = name.endswith("norm.weight")
        tensors[name] = (list(shape), [1.0 if norm else draw.gauss(0, 0.1) for _ in range(count)])

    add("model.embed_tokens.weight", VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            add(f"{prefix}self_attn.{name}.weight", WIDTH, WIDTH)
        add(prefix + "mlp.gate_proj.weight", INNER, WIDTH)
        add(prefix + "mlp.up_proj.weight", INNER, WIDTH)
        add(prefix + "mlp.down_proj.weight", WIDTH, INNER)
        add(prefix + "input_layernorm.weight", WIDTH)
        add(prefix + "post_attention_layernorm.weight", WIDTH)
    add("model.norm.weight", WIDTH)
    add("lm_head.weight", VOCABULARY, WIDTH)
    write_safetensors(directory / "model.safetensors", tensors)
    (directory / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "hidden_size": WIDTH, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": 4, "vocab_size": VOCABULARY, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 4096, "bos_token_id": 1, "eos_token_id": 2}))
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    (directory / "tokenizer.json").write_text(json.dumps({
        "added_tokens": [{"id": 1, "content": "<s>"}, {"id": 2, "content": "</s>"}], "normalizer": None,
        "pre_tokenizer": None, "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True,
                                         "vocab": vocabulary, "merges": []}}))


TUNE = """
model: model
out: tuned
length: 96
valid_share: 0
data: [{path: talk.json}]
tune: {epochs: 40, rows_per_step: 4, learning_rate: 0.01, save_every: 5}
"""


STUDY = """name: small-study
workspace: study
results: study.jsonl
base: model
run:
RUN  teach: {prompt: teach_short}
  variants: [{name: none, model: {context: none}}]
recommend: 24
judge: {split: test, rows: 20}
general: [talk.json]
held_out: 0.2
tune: {length: 512, tune: {epochs: 4, rows_per_step: 2, learning_rate: 0.01}}
arms:
  - {name: untuned}
  - {name: recommend_only, learns: [recommend]}
  - {name: wise, from: recommend_only, alpha: 0.5}
  - {name: recgen, learns: [recommend, general], weights: [1, 1]}
"""


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        write_model(root / "model")
        talk = [{"instruction": f"Say {word}.", "input": "", "output": word * 3} for word in ("ab", "cd", "ef", "gh")]
        (root / "talk.json").write_text(json.dumps(talk))
        (root / "tune.yaml").write_text(TUNE)

        def llmcf(*arguments, status=0):
            done = subprocess.run([program, "--threads", "1", *arguments], capture_output=True, text=True, errors="replace", cwd=root)
            expect(done.returncode == status, f"{arguments}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
            return done.stdout + done.stderr

        def answer(model, prompt, *more):
            return llmcf("--quiet", "llm", "generate", "--model", model, "--prompt", prompt, "--temperature", "0", *more)

        expect("abababab"[:6] != answer("model", "Say ab.", "--max-tokens", "6").strip(), "an untuned model babbles")
        whole = llmcf("llm", "tune", "tune.yaml")
        expect("40 steps" in whole, f"four conversations are one row: {whole}")
        for word in ("ab", "gh"):
            expect(answer("tuned", f"Say {word}.").strip() == word * 3, f"learned: {answer('tuned', f'Say {word}.')}")
        expect("there already" in llmcf("llm", "tune", "tune.yaml", status=1), "nothing is overwritten")

        # Killed on the way, it goes on to the same bytes.
        command = [program, "--threads", "1", "llm", "tune", "tune.yaml", "--set", "out=again"]
        for wanted in ("step 20 of 40", "step 40 of 40"):
            process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=root)
            for line in process.stderr:
                if wanted in line and wanted.startswith("step 20"):
                    process.send_signal(signal.SIGKILL)
                    break
            process.stderr.read()
            process.wait()
        same = [(root / place / "model.safetensors").read_bytes() for place in ("tuned", "again")]
        expect(same[0] == same[1], "a killed run ends with the bytes of an undisturbed one")
        expect(not (root / "again.state").exists(), "its state is gone")

        llmcf("llm", "tune", "tune.yaml", "--set", "out=adapter", "--set",
              "tune.lora={rank: 8, alpha: 32, targets: [q_proj, v_proj, up_proj, down_proj]}")
        llmcf("llm", "merge", "--model", "model", "--adapter", "adapter", "--out", "merged")
        asked = ("--max-tokens", "8")
        beside = llmcf("--quiet", "llm", "generate", "--model", "model", "--adapter", "adapter", "--prompt", "Say cd.",
                       "--temperature", "0", *asked)
        expect(beside == answer("merged", "Say cd.", *asked), "an adapter beside a model and merged into it say the same")
        llmcf("llm", "interpolate", "--from", "model", "--to", "tuned", "--alpha", "1", "--out", "end")
        expect(answer("end", "Say ef.").strip() == "ef" * 3, "alpha 1 is the tuned model")

        (root / "prompts.txt").write_text("Say ab.\nSay ef.\n")
        rows = llmcf("--quiet", "llm", "generate", "--model", "tuned", "--prompts", "prompts.txt", "--samples", "2",
                     "--temperature", "0", "--stop", "ef")
        rows = [json.loads(row) for row in rows.splitlines()]
        expect([row["answer"] for row in rows] == ["ababab", "ababab", "", ""], f"a stop string: {rows}")

        # Beam search: the best first, reproducible, as many as were asked for.
        beams = ("--quiet", "llm", "generate", "--model", "tuned", "--prompts", "prompts.txt", "--beams", "3", "--max-tokens", "9")
        rows = [json.loads(row) for row in llmcf(*beams, "--samples", "3", "--seed", "5").splitlines()]
        again = [json.loads(row) for row in llmcf(*beams, "--samples", "2", "--seed", "5").splitlines()]
        expect([row["prompt"] for row in rows] == ["Say ab."] * 3 + ["Say ef."] * 3, f"three each: {rows}")
        expect([rows[i] for i in (0, 1, 3, 4)] == again, f"the best two of the same search: {rows} and {again}")
        expect(rows[0]["answer"] == "ababab" and rows[3]["answer"] == "efefef", f"what was learned is most likely: {rows}")
        text = llmcf(*beams, "--samples", "4", status=1)
        expect("4 results of 3 beams" in text, f"no more results than beams: {text}")

        for key, value, said in (("model", "nowhere", "config.json"), ("data", "[{path: none.json}]", "none.json"),
                                 ("tune.lora", "{targets: [q]}", "q_proj"), ("length", "5000", "4096"),
                                 ("lenght", "3", "lenght")):
            text = llmcf("llm", "tune", "tune.yaml", "--set", "out=x", "--set", f"{key}={value}", status=1)
            expect(said in text, f"{key}: {text}")
        text = llmcf("llm", "tune", "tune.yaml", "--set", "out=x", "--set", "memory_gib=0.0001", status=1)
        expect("GiB" in text and "lora" in text, f"what cannot fit is said at once: {text}")

        # The pool, from the tiny model: whatever it says, every job has its answers once.
        small_run.make(program, root)
        local = ("reason: {kind: local, share: 0.02, seed: 1, candidates: 2, max_history: 3, max_item_chars: 60, scoring: {min_chars: 1, min_score: 0}, "
                 "local: {model: model, max_tokens: 12, temperature: 1.0, capacity: 4096}}")
        text = small_run.CONFIG.replace("reason: {kind: template, share: 0.3, seed: 1}", local)
        (root / "run.yaml").write_text(text.split("  - {name: kar")[0])
        said = llmcf("run", "run.yaml")
        expect("chains of thought (local)" in said and " 0 failed" in said, f"every job is answered: {said}")
        again = llmcf("run", "run.yaml")
        expect("is loaded" not in again, f"nothing is asked twice, nothing is loaded: {again}")

        (root / "beams.yaml").write_text((root / "run.yaml").read_text().replace("max_tokens: 12,", "max_tokens: 12, beams: 2,")
                                         .replace("workspace: workspace", "workspace: beams"))
        said = llmcf("run", "beams.yaml", "--until", "reason")
        expect("chains of thought (local)" in said and " 0 failed" in said, f"beam search fills a pool: {said}")
        (root / "beams.yaml").write_text((root / "beams.yaml").read_text().replace("beams: 2,", "beams: 20,"))
        expect("'slots'" in llmcf("run", "beams.yaml", status=1), "beams need slots")

        # The model as the recommender: instructions from the data set, tuned on them, judged by its Yes and No.
        llmcf("llm", "data", "run.yaml", "--rows", "60", "--out", "rec.json")
        entries = json.loads((root / "rec.json").read_text())
        expect(len(entries) == 60 and {entry["output"] for entry in entries} == {"Yes", "No"}, f"labels: {entries[:2]}")
        expect(all("<item>" in entry["instruction"] for entry in entries), "questions show items")

        def judged(model):
            llmcf("llm", "eval", "run.yaml", "--model", model, "--rows", "40", "--out", "eval.json")
            return json.loads((root / "eval.json").read_text())

        before = judged("model")
        (root / "rec.yaml").write_text(TUNE.replace("out: tuned", "out: rec").replace("length: 96", "length: 2048")
                                       .replace("talk.json", "rec.json").replace("epochs: 40", "epochs: 2"))
        llmcf("llm", "tune", "rec.yaml")
        after = judged("rec")
        expect(before["rows"] == after["rows"] == 40 and after["identity"] != before["identity"], f"{before}, {after}")
        expect(before["yes_and_no"] < 0.01 and after["yes_and_no"] > 0.05, f"it learned to answer: {before}, {after}")
        expect(0 <= after["auc"] <= 1 and after["log_loss"] < before["log_loss"], f"{before}, {after}")

        # The RecGen experiment: a killed one goes on, a finished arm is not made again.
        run = small_run.CONFIG.split("variants:")[0].replace("workspace: workspace\n", "").replace("name: small\n", "")
        run = run.replace("share: 0.3, seed: 1}", "share: 0.3, seed: 1, max_history: 2, max_item_chars: 40}")
        run = "".join(f"  {line}\n" for line in run.splitlines() if line.strip())
        (root / "study.yaml").write_text(STUDY.replace("RUN", run))
        said = llmcf("llm", "study", "study.yaml", "--arm", "untuned", "--arm", "recommend_only")
        expect("wise" in said and "not run" in said, f"the table shows what is missing: {said}")
        said = llmcf("llm", "study", "study.yaml", "--markdown", "study.md")
        expect("not run" not in said and "arm untuned" not in said and "arm wise" in said, f"the rest is made: {said}")
        lines = [json.loads(line) for line in (root / "study.jsonl").read_text().splitlines()]
        arms = {line["arm"]: line for line in lines}
        expect(len(lines) == 4 and set(arms) == {"untuned", "recommend_only", "wise", "recgen"}, f"one line per arm: {lines}")
        expect(arms["recgen"]["perplexity"] < arms["untuned"]["perplexity"], f"it learned the general answers: {arms}")
        expect(arms["recommend_only"]["yes_and_no"] > arms["untuned"]["yes_and_no"], f"it learned to answer: {arms}")
        expect("| recgen |" in (root / "study.md").read_text(), "the table is written")
        expect("Perplexity" in (root / "study" / "study.html").read_text(), "the page is written")
        expect("small-study: arm" not in llmcf("llm", "study", "study.yaml"), "nothing is made twice")
        broken = (root / "study.yaml").read_text().replace("from: recommend_only", "from: nobody")
        (root / "broken.yaml").write_text(broken)
        expect("].from: names no arm" in llmcf("llm", "study", "broken.yaml", status=1), "an arm that is not there is named")

        (root / "run.yaml").write_text(text.split("  - {name: kar")[0].replace("{model: model,", "{model: nowhere,"))
        expect("nowhere" in llmcf("run", "run.yaml", status=1), "a missing model is named")
        print("llm: all as expected")


if __name__ == "__main__":
    main()
