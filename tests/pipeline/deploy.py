"""What deploy/ says is true: the installed program runs from a root that holds what the image copies and nothing else, by
the image's ENTRYPOINT and by the unit's ExecStart as they are written; systemd finds nothing wrong with the unit; the
request that quickstart.sh prints works as it is printed. Runs in a network of its own, where only loopback is.

Usage: deploy.py LLMCF_PROGRAM BUILD_DIRECTORY SOURCE_DIRECTORY      exit status 77: cannot be tested here
"""
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import small_run
from served import publish
from small_run import expect

INSIDE = "LLMCF_TEST_INSIDE"
NOBODY = 65534


def isolate():
    """Starts anew in a network of its own, or ends with 77."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        print("SKIPPED: needs root and network namespaces")
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


def raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh", b"lo", 1)  # IFF_UP
        fcntl.ioctl(sock, 0x8914, request)  # SIOCSIFFLAGS


def curl(path, *options, port=8080):
    done = subprocess.run(["curl", "-s", "--max-time", "20", f"http://127.0.0.1:{port}{path}", *options], capture_output=True, text=True)
    return json.loads(done.stdout) if done.stdout.startswith("{") else None


def wait_until_ready(process):
    for _ in range(300):
        if curl("/ready") == {"status": "ready"}:
            return
        expect(process.poll() is None, f"it serves, but it ended with {process.poll()}")
        time.sleep(0.1)
    sys.exit("FAILED: not ready within 30 s")


def ended(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30) == 0


def make_root(installed, root, source, bundle):
    """The image's second stage without Debian below it: the program, the libraries that the first stage collects (by its
    own command), the loader, the configuration."""
    root.mkdir()
    program = installed / "usr/local/bin/llmcf"
    collect = re.search(r"mkdir -p /libraries.*?-t /libraries$", (source / "deploy/Containerfile").read_text(), re.MULTILINE | re.DOTALL)[0]
    subprocess.run(["bash", "-c", collect.replace("/libraries", str(root)).replace("ldd /llmcf", f"ldd {program}")], check=True)
    for directory in ("usr/local/bin", "usr/lib64", "etc/llmcf", "srv", "var/lib/llmcf", "tmp"):
        (root / directory).mkdir(parents=True)
    (root / "lib64").symlink_to("usr/lib64")
    loader = re.search(r"(/\S*ld-linux\S*)", subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout)[1]
    shutil.copy(loader, root / loader.lstrip("/"))
    shutil.copy(program, root / "usr/local/bin/llmcf")
    shutil.copy(source / "deploy/serve.yaml", root / "etc/llmcf/serve.yaml")
    for place in ("srv/current.bundle", "var/lib/llmcf/current.bundle"):
        shutil.copy(bundle, root / place)
    for place in ("var/lib/llmcf", "tmp"):
        os.chown(root / place, NOBODY, NOBODY)


def serve_in(root, command):
    """Runs it as the image and the unit do: not as root, with nothing else in sight, on the port of serve.yaml."""
    program = ["/usr/local/bin/" + command[0] if "/" not in command[0] else command[0], *command[1:]]
    process = subprocess.Popen(["chroot", f"--userspec={NOBODY}:{NOBODY}", root, *program], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, env={"GOMP_SPINCOUNT": "1000", "PATH": os.environ["PATH"]})
    try:
        wait_until_ready(process)
        stored = curl("/v1/events", "--data", '{"events": [{"user": "someone", "item": "I00001"}]}')
        expect(stored == {"stored": 1}, f"{command}: events are stored: {stored}")
        best = curl("/v1/recommend", "--data", '{"user": "U00001", "k": 5}')
        expect(len(best["items"]) == 5 and best["known_user"], f"{command}: answers: {best}")
        new = curl("/v1/items", "--data", '{"items": [{"item": "new", "title": "a new thing"}]}')
        expect(new == {"stored": 1}, f"{command}: the text encoder is there: {new}")
        process.send_signal(signal.SIGHUP)
        expect(ended(process), f"{command}: ends gracefully")
    finally:
        if process.poll() is None:
            process.kill()
            print(process.communicate()[1][-2000:])


def entry_point(source):
    return json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", (source / "deploy/Containerfile").read_text(), re.MULTILINE)[1])


def verify_unit(unit, program, root):
    """Says what systemd says about the unit with the program where it is here."""
    if shutil.which("systemd-analyze") is None:
        print("not verified, without systemd-analyze: the unit")
        return
    for wrong in (False, True):
        text = unit.replace("/usr/local/bin/llmcf", str(program))
        copy = root / f"llmcf-{'wrong' if wrong else 'right'}.service"
        copy.write_text(text.replace("ProtectSystem", "ProtectSistem") if wrong else text)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
        said = [line for line in (done.stdout + done.stderr).splitlines() if copy.name in line]
        expect(bool(said) == wrong, f"systemd-analyze on the unit{' with a mistake' if wrong else ''}: {said}")
        expect(wrong or done.returncode == 0, f"systemd-analyze verify: {done.returncode} {done.stdout}{done.stderr}")


def quickstart(program, root, source):
    """What quickstart.sh prints at its end, pasted into shells."""
    text = re.search(r"^cat <<TEXT\n(.*?)^TEXT$", (source / "scripts/quickstart.sh").read_text(), re.MULTILINE | re.DOTALL)[0]
    printed = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True, env={**os.environ, "llmcf": program}).stdout
    serve, ask = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
    (root / "work/quickstart").mkdir(parents=True)
    shutil.copy(root / "shop.bundle", root / "work/quickstart/shop.bundle")
    process = subprocess.Popen(["bash", "-c", "exec " + serve], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(process)
        done = subprocess.run(["bash", "-c", ask], cwd=root, capture_output=True, text=True)
        expect(done.returncode == 0 and len(json.loads(done.stdout)["items"]) == 5, f"as printed: {ask}: {done}")
        expect(ended(process), "it ends gracefully")
    finally:
        if process.poll() is None:
            process.kill()


def main(program, build, source):
    if INSIDE not in os.environ:
        isolate()
    raise_loopback()
    source = pathlib.Path(source)
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        small_run.make(program, root)
        publish(program, root, "llmcf")
        quickstart(program, root, source)
        installed = root / "installed"
        subprocess.run(["cmake", "--install", build, "--prefix", "/usr/local"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DESTDIR": str(installed)})
        for file in ("deploy/llmcf.service", "deploy/serve.yaml", "deploy/Containerfile", "proto/llmcf/v1/llmcf.proto"):
            expect((installed / "usr/local/share/llmcf" / file).is_file(), f"{file} is installed")
        unit = (installed / "usr/local/share/llmcf/deploy/llmcf.service").read_text()
        verify_unit(unit, installed / "usr/local/bin/llmcf", root)
        image = root / "image"
        make_root(installed, image, source, root / "shop.bundle")
        serve_in(image, entry_point(source))
        serve_in(image, re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1].split())
    print("installed, verified, served as image and unit do, asked as printed")


if __name__ == "__main__":
    main(*sys.argv[1:4])
