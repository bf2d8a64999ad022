"""Asks a running service over gRPC, with code generated from proto/llmcf/v1/llmcf.proto, and over HTTP: answers, errors,
limits, keys and metrics are the same. Needs a Python with grpcio, protoc and grpc_python_plugin.

Usage: serve_grpc.py LLMCF_PROGRAM PROTO_DIRECTORY
"""
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import grpc

import small_run
from served import Server, publish
from small_run import expect

NOW = 1_700_000_000
SERVICE = "/llmcf.v1.Recommender/"
CONFIG = """
listen: {port: 0, grpc_port: 0, max_body_bytes: 40000}
limits: {candidates: 300, history: 40, batch: 4}
histories: {file: histories.sqlite}
"""
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # grpc.health.v1.HealthCheckResponse
Code = grpc.StatusCode


def generate(proto, out):
    """llmcf_pb2, llmcf_pb2_grpc."""
    subprocess.run(["protoc", "-I", proto, f"--python_out={out}", f"--grpc_out={out}",
                    f"--plugin=protoc-gen-grpc={shutil.which('grpc_python_plugin')}", "llmcf/v1/llmcf.proto"], check=True)
    sys.path.insert(0, str(out))
    from llmcf.v1 import llmcf_pb2, llmcf_pb2_grpc
    return llmcf_pb2, llmcf_pb2_grpc


class Client:
    """A channel's calls, by the names of HTTP's paths."""

    def __init__(self, messages, stubs, channel):
        self.messages, self.channel = messages, channel
        stub = stubs.RecommenderStub(channel)
        self.calls = {"/v1/rank": (stub.Rank, "RankRequest"), "/v1/recommend": (stub.Recommend, "RecommendRequest"),
                      "/v1/explain": (stub.Explain, "ExplainRequest"), "/v1/events": (stub.AppendEvents, "AppendEventsRequest"),
                      "/v1/items": (stub.UpsertItems, "UpsertItemsRequest"), "/v1/info": (stub.Info, "InfoRequest"),
                      "/v1/users": (stub.DeleteUser, "DeleteUserRequest")}

    def message(self, path, body):
        return self.fill(getattr(self.messages, self.calls[path][1])(), body)

    def fill(self, message, body):
        """The message that says what the JSON says."""
        for key, value in body.items():
            if key in ("history", "allow"):
                getattr(message, key).SetInParent()
                getattr(message, key).names.extend(value)
            elif key in ("filters", "fields"):
                for name, values in value.items():
                    getattr(message, key)[name].names.extend(values)
            elif key == "context":
                for name, entry in value.items():
                    setattr(message.context[name], "text" if isinstance(entry, str) else "number", entry)
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                for entry in value:
                    self.fill(getattr(message, key).add(), entry)
            elif isinstance(value, list):
                getattr(message, key).extend(value)
            else:
                setattr(message, key, value)
        return message

    def ask(self, path, body, timeout=20, **options):
        return self.calls[path][0](self.message(path, body), timeout=timeout, **options)

    def refused(self, path, message, timeout=20, **options):
        """The error of a call that must fail."""
        try:
            self.calls[path][0](message, timeout=timeout, **options)
        except grpc.RpcError as error:
            return error
        sys.exit(f"FAILED: {path} takes {str(message)[:200]}")

    def health(self, service=b""):
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        return check(b"\x0a" + bytes([len(service)]) + service if service else b"", timeout=20)


def differences(message, answer, path=""):
    """Where a message and a JSON answer differ."""
    fields = message.DESCRIPTOR.fields_by_name
    for field, _ in message.ListFields():
        if field.name not in answer and field.name != "details":
            yield f"{path}.{field.name} is not in HTTP's answer"
    for key, value in answer.items():
        if key not in fields:
            if "details" not in fields or key not in message.details:
                yield f"{path}.{key} is not in the message"
        elif value is None:
            if message.HasField(key):
                yield f"{path}.{key} is there, but null over HTTP"
        elif isinstance(value, dict):
            for name, number in value.items():
                if abs(getattr(message, key)[name] - number) > 1e-9:
                    yield f"{path}.{key}.{name}"
        elif isinstance(value, list):
            entries = getattr(message, key)
            if len(entries) != len(value):
                yield f"{path}.{key} has {len(entries)} entries, {len(value)} over HTTP"
            for index, (entry, expected) in enumerate(zip(entries, value)):
                if isinstance(expected, dict):
                    yield from differences(entry, expected, f"{path}.{key}[{index}]")
                elif entry != expected:
                    yield f"{path}.{key}[{index}]: {entry}, {expected}"
        elif isinstance(getattr(message, key), float):
            if abs(getattr(message, key) - value) > 1e-6:
                yield f"{path}.{key}: {getattr(message, key)}, {value}"
        elif getattr(message, key) != value:
            yield f"{path}.{key}: {getattr(message, key)}, {value}"


def check_same(server, client, path, body):
    answer = server.curl(path, body or None)
    wrong = list(differences(client.ask(path, body), answer))
    expect(not wrong, f"{path} {json.dumps(body)[:200]}: {wrong[:5]}")
    return answer


def check_answers(server, client):
    best = check_same(server, client, "/v1/recommend", {"user": "U00001", "k": 20, "time": NOW})
    names = [item["item"] for item in best["items"]]
    rank = {"user": "U00001", "candidates": names, "time": NOW}
    check_same(server, client, "/v1/rank", rank)
    check_same(server, client, "/v1/rank", {**rank, "k": 0})
    check_same(server, client, "/v1/rank", {**rank, "history": []})
    check_same(server, client, "/v1/rank", {**rank, "history": [names[0], "gone"]})
    stranger = check_same(server, client, "/v1/rank", {"user": "stranger é", "candidates": [names[0], "no such"], "time": NOW})
    expect(stranger["unknown_candidates"] == ["no such"] and not stranger["known_user"], f"a stranger is served: {stranger}")
    check_same(server, client, "/v1/rank", {"requests": [rank, {**rank, "user": "U00002", "k": 3}]})
    check_same(server, client, "/v1/recommend", {"time": NOW})
    check_same(server, client, "/v1/recommend", {"requests": [{"user": "U00001", "time": NOW}, {"time": NOW, "k": 2}]})
    check_same(server, client, "/v1/recommend", {"user": "U00001", "allow": names[:7], "deny": names[:2], "exclude_seen": False,
                                                 "first_stage": 100, "diversity": 0.5, "time": NOW})
    expect(check_same(server, client, "/v1/recommend", {"allow": [], "time": NOW})["items"] == [], "an empty list allows none")
    why = check_same(server, client, "/v1/explain", {"user": "U00001", "item": names[0], "time": NOW})
    expect(len(why["examples"]) == 4, f"examples are compared: {why}")
    check_same(server, client, "/v1/info", {})
    return names, [field["name"] for field in server.curl("/v1/info")["fields"] if field["role"] == "item" and field["kind"] == "column"]


def check_writes(server, client, names, fields):
    """What is written over gRPC is read over HTTP."""
    events = [{"user": "someone new", "item": name, "time": NOW + index} for index, name in enumerate(names[:3])]
    expect(client.ask("/v1/events", {"events": events}).stored == 3, "three events are stored")
    rank = {"user": "someone new", "candidates": names, "time": NOW + 9}
    expect(check_same(server, client, "/v1/rank", rank)["history"] == 3, "events are visible to the next request")
    expect(client.ask("/v1/users", {"user": "someone new"}).removed_events == 3, "the user's events are removed")
    expect(server.curl("/v1/rank", rank)["history"] == 0, "and gone over HTTP")
    stored = client.ask("/v1/items", {"items": [{"item": "new", "title": "a new thing", "fields": {fields[0]: ["no such value"]}}]})
    expect(stored.stored == 1 and list(stored.ignored_values) == [f"new: {fields[0]}: no such value"], f"an item is added: {stored}")
    check_same(server, client, "/v1/rank", {"user": "U00001", "candidates": ["new"], "time": NOW})
    check_same(server, client, "/v1/recommend", {"filters": {fields[0]: ["no such value"]}, "time": NOW})


def check_errors(server, client):
    """The same text and the same field as over HTTP."""
    one = {"candidates": ["a"]}
    for path, body in [("/v1/rank", {}), ("/v1/rank", {**one, "user": ""}), ("/v1/rank", {**one, "k": -1}),
                       ("/v1/rank", {**one, "context": {"wéhn": "morning"}}), ("/v1/rank", {"candidates": ["a"] * 301}),
                       ("/v1/rank", {**one, "history": ["a"] * 41}), ("/v1/rank", {"requests": [one, {"k": 3}]}),
                       ("/v1/rank", {"requests": [one] * 5}), ("/v1/rank", {"user": "u", "requests": [one]}),
                       ("/v1/rank", {"requests": [{"requests": [one]}]}), ("/v1/recommend", {"diversity": 1.5}),
                       ("/v1/recommend", {"k": 0}), ("/v1/recommend", {"filters": {"barnd": ["x"]}}),
                       ("/v1/explain", {"user": "U00001"}), ("/v1/events", {}), ("/v1/events", {"events": [{"user": "u"}]}),
                       ("/v1/items", {"items": [{"item": "n", "fields": {"barnd": ["x"]}}]})]:
        told = server.curl(path, body, status="400")["error"]
        error = client.refused(path, client.message(path, body))
        expect(error.code() == Code.INVALID_ARGUMENT and error.details() == told["message"],
               f"{path} {str(body)[:100]}: {error.code()} {error.details()}, over HTTP {told}")
        param = dict(error.trailing_metadata()).get("x-error-param")
        expect(param == (told["param"] if told["param"].isascii() else None), f"{path} {body}: {param}, over HTTP {told}")
    newer = client.messages.RankRequest.FromString(client.message("/v1/rank", one).SerializeToString() + b"\xf8\x3f\x01")
    error = client.refused("/v1/rank", newer)
    expect(error.code() == Code.INVALID_ARGUMENT and "1023" in error.details(), f"an unknown field is refused: {error.details()}")
    error = client.refused("/v1/users", client.messages.DeleteUserRequest())
    expect(error.code() == Code.INVALID_ARGUMENT and "'user' is missing" in error.details(), f"whom to delete: {error.details()}")
    error = client.refused("/v1/rank", client.message("/v1/rank", {"candidates": ["x" * 50_000]}))
    expect(error.code() == Code.RESOURCE_EXHAUSTED, f"a message over the limit: {error.code()} {error.details()}")


def check_names(server, messages):
    """The messages have the fields that the OpenAPI document has."""
    schemas = server.curl("/v1/openapi.json")["components"]["schemas"]
    item = schemas["Ranked"]["properties"]["items"]["items"]
    example = schemas["Explanation"]["properties"]["examples"]["items"]
    event = schemas["EventsBody"]["properties"]["events"]["items"]
    added = schemas["ItemsBody"]["properties"]["items"]["items"]
    for message, schema, more in [(messages.RankRequest, schemas["RankRequest"], {"requests"}), (messages.Ranked, schemas["Ranked"], {"responses"}),
                                  (messages.RecommendRequest, schemas["RecommendRequest"], {"requests"}), (messages.RankedItem, item, set()),
                                  (messages.ExplainRequest, schemas["ExplainBody"], set()), (messages.Explanation, schemas["Explanation"], set()),
                                  (messages.Explanation.Example, example, set()), (messages.Event, event, set()), (messages.Item, added, set()),
                                  (messages.Stored, schemas["Stored"], set())]:
        fields = set(message.DESCRIPTOR.fields_by_name)
        expect(fields == set(schema["properties"]) | more, f"{message.DESCRIPTOR.name}: {fields ^ (set(schema['properties']) | more)}")


def check_records(server, client):
    """Request ids, metrics and the log."""
    answer, call = client.calls["/v1/info"][0].with_call(client.messages.InfoRequest(), metadata=[("x-request-id", "named-1")])
    expect(dict(call.initial_metadata())["x-request-id"] == "named-1" and answer.bundle, "a request keeps the client's name")
    _, call = client.calls["/v1/info"][0].with_call(client.messages.InfoRequest())
    expect(len(dict(call.initial_metadata())["x-request-id"]) == 16, "or gets one")
    metrics = server.curl("/metrics")
    for status in ("200", "400"):
        expect(f'llmcf_requests_total{{endpoint="{SERVICE}Rank",status="{status}"}}' in metrics, f"requests are counted: {status}")
    expect(f'llmcf_request_seconds_bucket{{endpoint="{SERVICE}Recommend"' in metrics, "requests are timed")
    lines = [json.loads(line[line.index("{"):]) for line in (pathlib.Path(server.log.name)).read_text().splitlines()
             if '"id":"named-1"' in line]
    expect(len(lines) == 1 and lines[0]["path"] == SERVICE + "Info" and lines[0]["status"] == 200 and lines[0]["remote"] == "127.0.0.1",
           f"a line of the log: {lines}")


def check_swap(server, client, program, root, names):
    """A new bundle comes into service without a failed or mixed request."""
    rank = {"user": "U00001", "candidates": names, "time": NOW}
    body = {"requests": [rank, rank]}
    seen, ends = set(), time.time() + 60
    publish(program, root, "none")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for turn in range(10_000):
            future = pool.submit(client.ask, "/v1/rank", body)
            if turn == 20:
                server.hang_up()
            answers = future.result().responses
            expect(answers[0] == answers[1], "a batch is answered by one bundle")
            seen.add(answers[0].bundle)
            if len(seen) == 2 or time.time() > ends:
                break
    expect(len(seen) == 2, f"SIGHUP puts the new bundle into service: {seen}")
    check_same(server, client, "/v1/rank", rank)
    expect("examples" not in check_same(server, client, "/v1/explain", {"item": names[0], "time": NOW}), "the new one has no examples")


def check_end(server, client):
    """Health follows /ready; whoever watches it does not hold up the end."""
    watched = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    expect(next(watched) == SERVING and client.health() == SERVING and client.health(SERVICE[1:-1].encode()) == SERVING, "serving")
    start = time.time()
    expect(server.stop() == 0, "SIGTERM ends gracefully")
    expect(time.time() - start < 8, f"at once: {time.time() - start:.1f} s")
    try:
        said = [answer for answer in watched]
    except grpc.RpcError as error:
        said = [NOT_SERVING] if error.code() in (Code.CANCELLED, Code.UNAVAILABLE) else [error.code()]
    expect(said == [NOT_SERVING], f"not serving any more: {said}")


def check_queue(program, root, messages, stubs):
    """One worker for both ways of asking: more requests are told so, and a long one is ended."""
    config = "listen: {port: 0, grpc_port: 0, workers: 1, queue: 0, request_timeout_ms: 1000}\nhistories: {file: queue.sqlite}\n"
    with Server(program, root, config) as server, grpc.insecure_channel(server.grpc) as channel:
        client = Client(messages, stubs, channel)
        small = {"user": "U00001", "candidates": ["a"], "time": NOW}
        long = client.message("/v1/rank", {"requests": [{"user": "U00001", "candidates": ["a"] * 10_000}] * 60})
        future = client.calls["/v1/rank"][0].future(long, timeout=60)
        refused = set()
        while not future.done() and len(refused) < 2:
            try:
                client.ask("/v1/rank", small)
            except grpc.RpcError as busy:
                expect(busy.code() == Code.UNAVAILABLE, f"the queue is full: {busy.code()} {busy.details()}")
                refused.add("gRPC")
            if server.ask("/v1/rank", small)[0] == "503":
                refused.add("HTTP")
        expect(refused == {"gRPC", "HTTP"}, f"who comes while the worker is busy is told so: {refused}")
        error = future.exception()
        expect(error is not None and error.code() == Code.DEADLINE_EXCEEDED and "1000 ms" in error.details(),
               f"the service's deadline: {error and error.code()}")
        for _ in range(600):
            try:
                client.ask("/v1/rank", small)
                break
            except grpc.RpcError as busy:
                expect(busy.code() == Code.UNAVAILABLE, f"busy until the worker is done: {busy.code()}")
                time.sleep(0.1)
        metrics = server.curl("/metrics")
        expect(f'{SERVICE}Rank",status="504"}} 1' in metrics and f'{SERVICE}Rank",status="503"}}' in metrics, "both are counted")


def check_keys(program, root, messages, stubs):
    """The same keys and the same certificate for both."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "chain.pem"],
                   cwd=root, check=True, capture_output=True)
    config = ("listen: {port: 0, grpc_port: 0, certificate: chain.pem, key: key.pem}\n"
              "keys: {env: LLMCF_TEST_KEYS, admin_env: LLMCF_TEST_ADMIN}\nhistories: {file: keys.sqlite}\n")
    keys = {"LLMCF_TEST_KEYS": "first,second", "LLMCF_TEST_ADMIN": "root"}
    with Server(program, root, config, keys) as server:
        printed = subprocess.run(["bash", "-c", server.example], capture_output=True, text=True, env=server.environment)
        expect(printed.returncode == 0 and len(json.loads(printed.stdout)["items"]) == 5, f"as printed: {server.example}: {printed}")
        secure = grpc.ssl_channel_credentials((root / "chain.pem").read_bytes())
        with grpc.secure_channel(server.grpc, secure) as channel:
            client = Client(messages, stubs, channel)
            request = messages.InfoRequest()
            for metadata in [[], [("x-api-key", "third")], [("authorization", "first")], [("authorization", "Bearer ")]]:
                error = client.refused("/v1/info", request, metadata=metadata)
                expect(error.code() == Code.UNAUTHENTICATED and "needs a key" in error.details(), f"{metadata}: {error.code()}")
            for metadata in [[("x-api-key", "second")], [("authorization", "Bearer first")], [("x-api-key", "root")]]:
                expect(client.ask("/v1/info", {}, metadata=metadata).variant == "none", f"{metadata} is a key")
            expect(client.health() == SERVING, "health needs no key")
        with grpc.insecure_channel(server.grpc) as channel:
            error = Client(messages, stubs, channel).refused("/v1/info", request, timeout=5)
            expect(error.code() == Code.UNAVAILABLE, f"nothing without TLS: {error.code()}")


def check_port(program, root):
    """A port that is taken is an error."""
    with Server(program, root, "listen: {port: 0, grpc_port: 0}\n") as server:
        port = server.grpc.rsplit(":", 1)[1]
        done = subprocess.run([program, "serve", "shop.bundle", "--port", "0", "--grpc-port", port], cwd=root, capture_output=True,
                              text=True, timeout=60)
        expect(done.returncode == 1 and f"127.0.0.1:{port}" in done.stderr, f"a port that is taken: {done.returncode} {done.stderr[-500:]}")


def main(program, proto):
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        (root / "generated").mkdir()
        messages, stubs = generate(proto, root / "generated")
        small_run.make(program, root)
        publish(program, root, "llmcf")
        check_queue(program, root, messages, stubs)
        with Server(program, root, CONFIG) as server, grpc.insecure_channel(server.grpc) as channel:
            client = Client(messages, stubs, channel)
            names, fields = check_answers(server, client)
            check_names(server, messages)
            check_errors(server, client)
            check_writes(server, client, names, fields)
            check_records(server, client)
            check_swap(server, client, program, root, names)
            check_end(server, client)
        check_keys(program, root, messages, stubs)
        check_port(program, root)
    print("gRPC and HTTP: the same answers, errors, limits, keys and metrics")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
