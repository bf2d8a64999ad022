"""Publishes a small run and drives the service with curl, through a swap of bundles and a kill -9.

Usage: serve.py LLMCF_PROGRAM
"""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import small_run
from served import Server, publish
from small_run import expect

CONFIG = "listen: {port: 0}\nhistories: {file: histories.sqlite}\n"


def printed_request(server):
    expect(server.example.startswith("curl "), f"a request to try is printed: {server.example}")
    done = subprocess.run(["bash", "-c", server.example], capture_output=True, text=True, env=server.environment)
    expect(done.returncode == 0, f"{server.example}: {done.stderr}")
    return json.loads(done.stdout)


def main(program):
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        small_run.make(program, root)
        publish(program, root, "llmcf")
        server = Server(program, root, CONFIG)
        first = server.curl("/v1/info")["bundle"]
        expect(server.curl("/ready") == {"status": "ready"}, "ready")
        best = server.curl("/v1/recommend", {"user": "U00001", "k": 5})
        printed = printed_request(server)
        expect(len(printed["items"]) == 5 and printed["known_user"], f"what `llmcf serve` prints works as printed: {printed}")
        expect(len(best["items"]) == 5 and best["known_user"], f"five items for a known user: {best}")
        names = [item["item"] for item in best["items"]]
        ranked = server.curl("/v1/rank", {"user": "U00001", "candidates": names})
        expect([item["item"] for item in ranked["items"]] == names, "rank orders as recommend did")
        why = server.curl("/v1/explain", {"user": "U00001", "item": names[0]})
        expect(len(why["examples"]) == 4 and why["examples"][0]["reasoning"], f"four examples: {why}")
        expect("candidates" in server.curl("/v1/rank", {}, status="400")["error"]["message"], "the field is named")
        expect("llmcf_requests_total" in server.curl("/metrics"), "metrics")

        for index, item in enumerate(names):
            server.curl("/v1/events", {"events": [{"user": "someone new", "item": item}]})
            if index == 2:
                server.stop(signal.SIGKILL)
                server = Server(program, root, CONFIG)
        count = server.curl("/v1/rank", {"user": "someone new", "candidates": names})["history"]
        expect(count == 5, f"five acknowledged events, {count} found after kill -9")

        publish(program, root, "none")
        server.hang_up()
        for _ in range(100):
            if server.curl("/v1/info")["bundle"] != first:
                break
            time.sleep(0.05)
        expect(server.curl("/v1/info")["variant"] == "none", "SIGHUP puts the new bundle into service")
        (root / "shop.bundle").write_bytes(b"damaged")
        server.hang_up()
        time.sleep(0.2)
        expect(server.curl("/v1/info")["variant"] == "none", "a damaged bundle does not come into service")
        expect(server.stop() == 0, "SIGTERM ends gracefully")
        done = subprocess.run([program, "serve", "shop.bundle"], capture_output=True, text=True, cwd=root)
        expect(done.returncode == 1 and "shop.bundle" in done.stderr, f"a damaged file is refused by name: {done.stderr}")
    print("published, served, swapped, killed: all as told")


if __name__ == "__main__":
    main(sys.argv[1])
