#!/usr/bin/env python3
"""Soaks the service: wrk at half of what saturates it, a stream of events, swaps of the bundle, a kill -9 with a restart.

    scripts/soak_test.py BUNDLE [SECOND] --items FILE --users FILE [--seconds 600] [--events 1000] [--swap 10] ...

ITEMS and USERS hold one name per line. With SECOND the two bundles take turns at every swap, otherwise one is opened anew.
Prints what it measured, then what must hold; exit status 1 where it does not:
  every acknowledged event is in the store; no answer is a 5xx, and no request fails but while the service is down;
  no swap fails; resident memory at the end is at most a tenth above that of the first quarter.
Needs wrk and sqlite3. Everything runs on this machine, so that the load's own work counts too.
"""
import argparse
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

EVENTS_PER_REQUEST = 100
HERE = pathlib.Path(__file__).resolve().parent


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Service:
    """`llmcf serve` on one port, through restarts. What the last life counted is kept when it is killed."""

    def __init__(self, program, directory, workers):
        self.program, self.directory, self.port = program, directory, free_port()
        (directory / "serve.yaml").write_text(f"listen: {{port: {self.port}, workers: {workers}}}\n"
                                              "histories: {file: histories.sqlite}\n")
        self.url = f"http://127.0.0.1:{self.port}"
        self.lives, self.down = [], []
        self.start()

    def start(self):
        self.log = open(self.directory / "serve.log", "a")
        self.process = subprocess.Popen([self.program, "--threads", "1", "serve", "live.bundle", "--config", "serve.yaml"],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=self.directory)
        if "serving" not in self.process.stdout.readline():
            sys.exit("the service did not start: " + (self.directory / "serve.log").read_text()[-1000:])

    def metrics(self):
        """Every sample by its name with labels; {} while it is down."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except OSError:
            return {}
        return {name: float(value) for name, value in re.findall(r"^(\w+(?:{[^}]*})?) (\S+)$", text, re.M)}

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return {key: int(value) / 1024 for key, value in re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", status, re.M)}

    def kill(self):
        self.lives.append(self.metrics())
        gone = time.time()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.start()
        self.down.append((gone, time.time()))

    def stop(self):
        self.lives.append(self.metrics())
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def counted(self, pattern):
        return sum(value for life in self.lives for name, value in life.items() if re.search(pattern, name))


class Events:
    """Appends events at a rate, 100 in a request, and remembers those that were acknowledged. A request that fails is tried
    again, as a client would."""

    def __init__(self, service, items, rate):
        self.service, self.items, self.rate = service, items, rate
        self.acknowledged, self.failures, self.waits = set(), [], []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        number, connection = 0, None
        begin = time.time()
        first = int(begin) + 10**9  # later than any log
        while not self.stopped.is_set():
            batch = [(f"soak-{(number + i) % 997}", self.items[(number + i) % len(self.items)], first + number + i)
                     for i in range(EVENTS_PER_REQUEST)]
            body = json.dumps({"events": [dict(zip(("user", "item", "time"), event)) for event in batch]})
            while not self.stopped.is_set():
                sent = time.time()
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=10)
                    connection.request("POST", "/v1/events", body)
                    answer = connection.getresponse()
                    text = answer.read().decode()
                    if answer.status == 200:
                        self.acknowledged.update((user, when) for user, _, when in batch)
                        self.waits.append(time.time() - sent)
                        break
                    self.failures.append((sent, f"{answer.status} {text[:200]}"))
                except (OSError, http.client.HTTPException) as failure:
                    self.failures.append((sent, repr(failure)))
                    connection = None
                time.sleep(0.05)
            number += EVENTS_PER_REQUEST
            time.sleep(max(0.0, begin + number / self.rate - time.time()))


def wrk(service, arguments, seconds, connections, delay=0.0):
    """The numbers of one run: requests, per_second, p50 and p99 in ms, failed, socket_errors."""
    environment = {**os.environ, "RANK_ITEMS": arguments.items, "RANK_USERS": arguments.users,
                   "RANK_CANDIDATES": str(arguments.candidates), "RANK_DELAY": str(delay)}
    done = subprocess.run(["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
                           "--timeout", "10s", "--script", str(HERE / "rank.lua"), service.url],
                          capture_output=True, text=True, env=environment)
    line = re.search(r"^rank\t(\d+) requests\t(\S+) per second\tp50 (\S+) ms\tp99 (\S+) ms\tnot 2xx: (\d+)\tsocket errors: (\d+)",
                     done.stdout, re.M)
    if line is None:
        sys.exit(f"wrk: {done.stdout}{done.stderr}")
    names = ("requests", "per_second", "p50", "p99", "failed", "socket_errors")
    return dict(zip(names, map(float, line.groups())))


def show(title, run):
    print(f"{title}: {run['requests']:.0f} requests, {run['per_second']:.1f}/s, p50 {run['p50']:.1f} ms, p99 {run['p99']:.1f} ms, "
          f"not 2xx {run['failed']:.0f}, socket errors {run['socket_errors']:.0f}", flush=True)


def soak(service, arguments, bundles, rate):
    """Load, events, swaps, samples of memory, one kill in the middle. Returns what wrk measured, events, swaps, memory."""
    items = pathlib.Path(arguments.items).read_text().split()
    events = Events(service, items, arguments.events)
    result = {}
    delay = max(0.0, 1e3 * arguments.connections / rate)
    load = threading.Thread(
        target=lambda: result.update(wrk(service, arguments, arguments.seconds, arguments.connections, delay)))
    begin = time.time()
    events.thread.start()
    load.start()
    swaps, memory, killed = 0, [], False
    while load.is_alive():
        time.sleep(arguments.swap / 2)
        memory.append((time.time() - begin, service.resident()))
        time.sleep(arguments.swap / 2)
        if not killed and time.time() - begin > arguments.seconds / 2:
            killed = True
            service.kill()
            continue
        swaps += 1
        shutil.copy(bundles[swaps % len(bundles)], service.directory / "next")
        os.replace(service.directory / "next", service.directory / "live.bundle")
        service.process.send_signal(signal.SIGHUP)
    events.stopped.set()
    events.thread.join()
    return result, events, swaps, memory


def lost(service, events):
    with sqlite3.connect(service.directory / "histories.sqlite") as store:
        stored = set(store.execute("SELECT user, time FROM event WHERE user LIKE 'soak-%'"))
    return events.acknowledged - stored


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="+", help="one bundle, or two that take turns")
    parser.add_argument("--items", required=True)
    parser.add_argument("--users", required=True)
    parser.add_argument("--program", default=str(HERE.parent / "build/release/src/apps/llmcf"))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--events", type=int, default=1000, help="per second")
    parser.add_argument("--swap", type=float, default=10, help="seconds between swaps")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="llmcf-soak-"))
    shutil.copy(arguments.bundle[0], directory / "live.bundle")
    service = Service(arguments.program, directory, arguments.workers)
    try:
        probe = min(30, arguments.seconds)
        show("one client", wrk(service, arguments, probe, 1))
        full = wrk(service, arguments, probe, arguments.connections)
        show("saturation", full)
        half = full["per_second"] / 2
        show("half of it", wrk(service, arguments, probe, arguments.connections, 1e3 * arguments.connections / half))
        load, events, swaps, memory = soak(service, arguments, arguments.bundle, half)
        clean = service.stop() == 0
    finally:
        if service.process.poll() is None:
            service.process.kill()
    show(f"half of it, beside {arguments.events} events/s, a swap every {arguments.swap:.0f} s, a kill -9", load)
    missing = lost(service, events)
    waits = sorted(events.waits)
    print(f"events: {len(events.acknowledged)} acknowledged, {len(missing)} of them lost; {EVENTS_PER_REQUEST} in a request: "
          f"p50 {1e3 * statistics.median(waits):.1f} ms, p99 {1e3 * waits[int(0.99 * len(waits))]:.1f} ms")
    outside = [why for when, why in events.failures
               if not any(gone - 1 <= when <= back + 1 for gone, back in service.down)]
    errors = service.counted(r'^llmcf_requests_total{.*status="5')
    reloads = service.counted(r'^llmcf_reloads_total{.*"ok"')
    failed_reloads = service.counted(r'^llmcf_reloads_total{') - reloads
    print(f"down: {', '.join(f'{back - gone:.2f} s' for gone, back in service.down)}; "
          f"swaps: {swaps} asked for, {reloads:.0f} done, {failed_reloads:.0f} failed; answers 5xx: {errors:.0f}; "
          f"requests for events that failed: {len(events.failures)}, {len(outside)} while the service was up {outside[:3]}")
    quarter = [m for at, m in memory if at < arguments.seconds / 4]
    end = memory[-1][1]
    print("memory, MiB: " + "; ".join(f"at {at:.0f} s {m['VmRSS']:.0f} (own {m['RssAnon']:.0f})"
                                      for at, m in memory[::max(1, len(memory) // 8)] + [memory[-1]]))
    flat = end["RssAnon"] <= 1.1 * max(m["RssAnon"] for m in quarter)
    verdicts = {"no acknowledged event lost": not missing, "no 5xx": errors == 0, "no failure while up": not outside,
                "no swap failed": failed_reloads == 0 and reloads > 0, "memory flat": flat, "stopped cleanly": clean}
    for what, holds in verdicts.items():
        print(f"{'ok  ' if holds else 'FAIL'}  {what}")
    shutil.rmtree(directory)
    sys.exit(0 if all(verdicts.values()) else 1)


if __name__ == "__main__":
    main()
