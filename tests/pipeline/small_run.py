"""A small shop and a configuration for tests that drive the program from outside."""
import signal
import subprocess
import sys
import time

CONFIG = """
name: small
workspace: workspace
seeds: [1]
data: {format: table, path: shop, schema: shop/schema.yaml}
split: {seed: 1}
encode: {kind: lsa, width: 32}
reason: {kind: template, share: 0.3, seed: 1}
retrieve: {k: 4}
model: {backbone: deepfm, embed_dim: 8}
train: {epochs: 3, patience: 3, batch_size: 64, learning_rate: 0.01, weight_decay: 1.0e-4}
variants:
  - {name: none, model: {context: none}}
  - {name: llmcf, model: {context: ict}}
  - {name: kar, model: {context: kar}}
  - {name: kd, model: {distillation: {weight: 0.1}}}
"""


def expect(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}")


def make(program, root):
    """Writes root/shop and root/run.yaml."""
    subprocess.run([program, "--quiet", "--threads", "1", "sample", "--out", str(root / "shop"), "--users", "400",
                    "--items", "250", "--seed", "3"], check=True, stdout=subprocess.DEVNULL)
    (root / "run.yaml").write_text(CONFIG)


def kill_in(command, stage, delay, **options):
    """Starts a command and kills it `delay` seconds after `stage` began. True if it was killed before it ended."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options)
    for line in process.stderr:
        if line.split()[2:] == [stage, "started"]:
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.read()
    return process.wait() == -signal.SIGKILL
