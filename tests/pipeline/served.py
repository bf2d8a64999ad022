"""A published bundle of the small shop and the service over it, for tests that ask the service from outside."""
import json
import os
import signal
import subprocess

from small_run import expect


def publish(program, root, variant):
    """Writes root/shop.bundle from a variant of root/run.yaml."""
    done = subprocess.run([program, "--quiet", "--threads", "1", "publish", "run.yaml", "--variant", variant, "--out",
                           "shop.bundle"], capture_output=True, text=True, cwd=root)
    expect(done.returncode == 0 and "published" in done.stdout, f"publish {variant}: {done.stdout}{done.stderr}")


class Server:
    """`llmcf serve shop.bundle` in `root` with the configuration's text. `url` is where HTTP answers, `grpc` where gRPC
    does (None without), `example` the request that it prints. Ends with the block that it is opened by."""

    def __init__(self, program, root, config, environment=None):
        (root / "serve.yaml").write_text(config)
        self.environment = {**os.environ, **(environment or {})}
        self.log = open(root / "serve.log", "a")
        self.process = subprocess.Popen([program, "--threads", "1", "serve", "shop.bundle", "--config", "serve.yaml"],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=root, env=self.environment)
        line = self.process.stdout.readline()
        expect("serving" in line, f"the service says where it is: {line} {(root / 'serve.log').read_text()[-1000:]}")
        self.url = line.split()[-1]
        line = self.process.stdout.readline()
        self.grpc = line.split()[-1] if line.startswith("gRPC at ") else None
        self.example = (self.process.stdout.readline() if self.grpc else line).rstrip("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)

    def ask(self, path, body=None):
        """What curl gets: the status and the text."""
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}", self.url + path]
        if body is not None:
            command += ["--data", json.dumps(body)]
        done = subprocess.run(command, capture_output=True, text=True)
        expect(done.returncode == 0, f"curl {path}: {done.stderr}")
        answer, _, code = done.stdout.rpartition("\n")
        return code, answer

    def curl(self, path, body=None, status="200"):
        """The answer, which must have this status; an object where it is one."""
        code, answer = self.ask(path, body)
        expect(code == status, f"{path}: status {code}, expected {status}: {answer}")
        return json.loads(answer) if answer.startswith("{") else answer

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(timeout=30)
