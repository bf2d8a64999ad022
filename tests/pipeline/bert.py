"""Drives the encoder `bert` from outside: a tiny BERT encodes a shop up to retrieval, is encoded again when its weights
change and only then, and mistakes in it are said before anything runs.

Usage: bert.py LLMCF_PROGRAM
"""
import json
import pathlib
import random
import string
import subprocess
import sys
import tempfile

import llm
import small_run
from small_run import expect

WIDTH, INNER, LAYERS, POSITIONS = 16, 32, 1, 64
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + [mark + letter for letter in string.ascii_lowercase + string.digits for mark in ("", "##")]


def write_bert(directory, seed):
    directory.mkdir(exist_ok=True)
    draw = random.Random(seed)
    tensors = {}

    def add(name, *shape):
        count = 1
        for size in shape:
            count *= size
        tensors[name] = (list(shape), [draw.gauss(0, 0.3) for _ in range(count)])

    def linear(name, out, inputs):
        add(name + ".weight", out, inputs)
        add(name + ".bias", out)

    def norm(name):
        add(name + ".weight", WIDTH)
        add(name + ".bias", WIDTH)

    for name, rows in (("word", len(WORDS)), ("position", POSITIONS), ("token_type", 2)):
        add(f"bert.embeddings.{name}_embeddings.weight", rows, WIDTH)
    norm("bert.embeddings.LayerNorm")
    for layer in range(LAYERS):
        prefix = f"bert.encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            linear(prefix + "attention.self." + name, WIDTH, WIDTH)
        linear(prefix + "attention.output.dense", WIDTH, WIDTH)
        norm(prefix + "attention.output.LayerNorm")
        linear(prefix + "intermediate.dense", INNER, WIDTH)
        linear(prefix + "output.dense", WIDTH, INNER)
        norm(prefix + "output.LayerNorm")
    llm.write_safetensors(directory / "model.safetensors", tensors)
    (directory / "config.json").write_text(json.dumps({
        "model_type": "bert", "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "vocab_size": len(WORDS), "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
        "hidden_act": "gelu"}))
    (directory / "tokenizer.json").write_text(json.dumps({
        "normalizer": {"type": "BertNormalizer", "lowercase": True}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "vocab": {word: number for number, word in enumerate(WORDS)}}}))


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        write_bert(root / "tiny", 1)
        small_run.make(program, root)
        text = small_run.CONFIG.replace("encode: {kind: lsa, width: 32}", "encode: {kind: bert, path: tiny, prefix: 'item '}")
        (root / "run.yaml").write_text(text)

        def run(*arguments, status=0):
            done = subprocess.run([program, "--threads", "1", *arguments], cwd=root, capture_output=True, text=True)
            expect(done.returncode == status, f"{arguments}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
            return done.stdout + done.stderr

        def encoded(said):
            return any(line.split()[-2:] == ["encode", "started"] for line in said.splitlines())

        run("run", "run.yaml", "--until", "retrieve")
        record = json.loads((root / "workspace/text/encoder/encoder.json").read_text())
        expect(record["kind"] == "bert" and pathlib.Path(record["options"]["path"]) == root / "tiny", f"{record}")
        header = (root / "workspace/text/items.safetensors").read_bytes()
        expect(b'"encoder":"bert:tiny"' in header.replace(b'": "', b'":"'), "the vectors say who made them")
        expect(not encoded(run("run", "run.yaml", "--until", "retrieve")), "nothing has changed")
        write_bert(root / "tiny", 2)
        expect(encoded(run("run", "run.yaml", "--until", "retrieve")), "other weights, other vectors")
        (root / "run.yaml").write_text(text.replace("path: tiny", "path: tiny, pooling: cls"))
        expect(encoded(run("run", "run.yaml", "--until", "encode")), "other pooling, other vectors")
        for change, said in (("path: nowhere", "nowhere"), ("path: tiny, pooling: max", "pooling"), ("path: tiny, max_tokens: 500", "64"),
                             ("path: tiny, widht: 3", "widht")):
            (root / "run.yaml").write_text(text.replace("path: tiny", change))
            message = run("run", "run.yaml", status=1)
            expect(said in message and not encoded(message), f"{change}: {message}")
        print("bert: all as expected")


if __name__ == "__main__":
    main()
