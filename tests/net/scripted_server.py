#!/usr/bin/env python3
"""The server behind tests/scripted_server.h, which documents the script and the log.

Prints its port, serves until its standard input closes. Standard library only.
"""

import argparse
import hashlib
import json
import os
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class State:
    """The script, re-read when its content changes, the rules' counters and the log."""

    def __init__(self, script_path, log_path):
        self.guard = threading.Lock()
        self.script_path = script_path
        self.log_file = open(log_path, "a", encoding="utf-8")
        self.text = None
        self.script = {}
        self.counters = []
        self.prompts = {}
        self.requests = 0

    def log(self, entry):
        with self.guard:
            self.log_file.write(json.dumps(entry) + "\n")
            self.log_file.flush()

    def begin(self, path, raw, decoded, prompt):
        """Returns (request id, how often this prompt arrived, the rule, the script)."""
        with self.guard:
            with open(self.script_path, encoding="utf-8") as file:
                text = file.read()
            if text != self.text:
                self.text = text
                self.script = json.loads(text)
                self.counters = [{"seen": 0, "fired": 0, "bodies": {}} for _ in self.script.get("rules", [])]
            self.requests += 1
            self.prompts[prompt] = self.prompts.get(prompt, 0) + 1
            rule = self.choose(path, raw, decoded)
            return self.requests, self.prompts[prompt], rule, self.script

    def choose(self, path, raw, decoded):
        strings = "\n".join(all_strings(decoded))
        for rule, counter in zip(self.script.get("rules", []), self.counters):
            if not path.startswith(rule.get("path", "")):
                continue
            wanted = rule.get("contains", "")
            if wanted not in raw and wanted not in strings:
                continue
            counter["seen"] += 1
            position = counter["seen"] - rule.get("skip", 0)
            if position <= 0 or (position - 1) % rule.get("every", 1) != 0:
                continue
            if "times" in rule and counter["fired"] >= rule["times"]:
                continue
            if "each" in rule and counter["bodies"].get(raw, 0) >= rule["each"]:
                continue
            counter["fired"] += 1
            counter["bodies"][raw] = counter["bodies"].get(raw, 0) + 1
            return rule
        return {}


def all_strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for child in value.values():
            yield from all_strings(child)
    elif isinstance(value, list):
        for child in value:
            yield from all_strings(child)


def prompt_of(body):
    """(last message or inputs, first message) of a request, as text."""
    if not isinstance(body, dict):
        return "", ""
    if body.get("messages"):
        return str(body["messages"][-1].get("content", "")), str(body["messages"][0].get("content", ""))
    inputs = body.get("input", "")
    return ("\n".join(map(str, inputs)) if isinstance(inputs, list) else str(inputs)), ""


def vector(text, dim):
    """Numbers in [-1, 1) that depend on the text only."""
    numbers = []
    for block in range((dim + 7) // 8):
        digest = hashlib.sha256(f"{block}\n{text}".encode("utf-8", "surrogatepass")).digest()
        numbers += [struct.unpack_from("<i", digest, 4 * i)[0] / 2**31 for i in range(8)]
    return numbers[:dim]


def embeddings(body, options, action):
    inputs = body.get("input", [])
    inputs = [inputs] if isinstance(inputs, str) else inputs
    dim = options.get("dim", 16) - (1 if action == "wrong_width" else 0)
    data = [{"object": "embedding", "index": i, "embedding": vector(t, dim)} for i, t in enumerate(inputs)]
    if action == "reorder":
        data.reverse()
    if action == "missing":
        data.pop()
    if action == "duplicate":
        for entry in data:
            entry["index"] = 0
    if action == "null":
        data[0]["embedding"][0] = None
    words = sum(len(text.split()) for text in inputs)
    return {"object": "list", "data": data, "model": body.get("model", ""),
            "usage": {"prompt_tokens": words, "total_tokens": words}}


def chat_text(body, options, prompt, system, count, n):
    text = options.get("text", "Answer {count} to: {prompt}")
    for reply in options.get("replies", []):
        if reply.get("contains", "") in prompt:
            text = reply["text"]
            break
    for name, value in (("{count}", str(count)), ("{n}", str(n)), ("{system}", system), ("{prompt}", prompt)):
        text = text.replace(name, value)
    return text


def chat_usage(body, options, texts):
    prompt = options.get("prompt_tokens", sum(len(str(m.get("content", "")).split()) for m in body.get("messages", [])))
    completion = options.get("completion_tokens", sum(len(text.split()) for text in texts))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def chat(body, options, texts, action):
    finish = options.get("finish_reason", "stop")
    answer = {"id": "chatcmpl-test", "object": "chat.completion", "created": 0, "model": body.get("model", ""),
              "choices": [{"index": i, "finish_reason": finish,
                           "message": {"role": "assistant", "content": None if action == "null" else text}}
                          for i, text in enumerate(texts)]}
    if body.get("logprobs") and "top_logprobs" in options and action != "no_logprobs":
        top = [{"token": token, "logprob": value} for token, value in options["top_logprobs"]]
        for choice in answer["choices"]:
            choice["logprobs"] = {"content": [{"token": top[0]["token"], "logprob": top[0]["logprob"],
                                               "top_logprobs": top}]}
    if options.get("usage", True):
        answer["usage"] = chat_usage(body, options, texts)
    return answer


def chat_stream(body, options, texts, action):
    """The stream as one text of server-sent events."""
    def event(choices, **more):
        return "data: " + json.dumps({"id": "chatcmpl-test", "object": "chat.completion.chunk",
                                      "model": body.get("model", ""), "choices": choices, **more}) + "\n\n"

    lines = [": a comment\n\n"]
    for i, text in enumerate(texts):
        lines.append(event([{"index": i, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]))
        for start in range(0, len(text), 5):
            lines.append(event([{"index": i, "delta": {"content": text[start:start + 5]}, "finish_reason": None}]))
        lines.append(event([{"index": i, "delta": {}, "finish_reason": options.get("finish_reason", "stop")}]))
    if options.get("usage", True) and body.get("stream_options", {}).get("include_usage"):
        lines.append(event([], usage=chat_usage(body, options, texts)))
    if action != "no_done":
        lines.append("data: [DONE]\n\n")
    return "".join(lines)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0
    answered = None

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self):
        self.handle_request()

    def do_POST(self):
        self.handle_request()

    def handle_request(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
        try:
            body = json.loads(raw)
        except ValueError:
            body = raw
        prompt, system = prompt_of(body)
        state = self.server.state
        number, count, rule, script = state.begin(self.path, raw, body, prompt)
        action = rule.get("action", "ok")
        is_object = isinstance(body, dict)
        state.log({"event": "request", "id": number, "time": time.time(), "path": self.path, "method": self.command,
                   "prompt": prompt, "system": system, "model": body.get("model", "") if is_object else "",
                   "stream": bool(is_object and body.get("stream")),
                   "authorization": self.headers.get("Authorization"), "connection": self.client_address[1],
                   "body": body, "action": action})
        if "delay_ms" in rule:
            time.sleep(rule["delay_ms"] / 1000)
        if action == "hang":
            time.sleep(rule.get("hang_ms", 60000) / 1000)
            self.reset()
        elif action == "drop":
            self.reset()
        elif action == "status":
            self.answered = None
            text = rule.get("body", json.dumps({"error": {"message": "as the script says", "code": rule["status"]}}))
            self.reply(rule["status"], text.encode(), rule.get("headers", {}))
        else:
            self.answered = {"event": "answered", "id": number, "action": action} if action == "ok" else None
            self.usual(body, script, action, prompt, system, count)

    def usual(self, body, script, action, prompt, system, count):
        if self.path.split("?")[0].endswith("/embeddings") and isinstance(body, dict):
            text = json.dumps(embeddings(body, script.get("embeddings", {}), action))
        elif self.path.split("?")[0].endswith("/chat/completions") and isinstance(body, dict):
            options = script.get("chat", {})
            texts = [chat_text(body, options, prompt, system, count, n) for n in range(body.get("n") or 1)]
            if body.get("stream"):
                self.reply_stream(chat_stream(body, options, texts, action), options, action)
                return
            text = json.dumps(chat(body, options, texts, action))
        else:
            text = json.dumps({"path": self.path, "method": self.command, "body": body})
        data = text.encode()
        if action == "broken_json":
            data = data[:len(data) * 2 // 3]
        self.reply(200, data, {"Content-Type": "application/json"}, cut=action == "truncate")

    def reply(self, status, data, headers, cut=False):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.log_answered()
        self.wfile.write(data[:len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def reply_stream(self, text, options, action):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = text.encode()
        if action == "broken_json":
            data = data[:len(data) // 2] + b"\n\ndata: [DONE]\n\n"
        if action == "truncate":
            data = data[:len(data) // 2]
        step = options.get("piece_bytes") or len(data)
        for start in range(0, len(data), step):
            piece = data[start:start + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(options.get("piece_delay_ms", 0) / 1000)
        if action == "truncate":
            self.close_connection = True
        else:
            self.log_answered()
            self.wfile.write(b"0\r\n\r\n")

    def log_answered(self):
        """A client that has the whole answer finds it in the log."""
        if self.answered:
            self.server.state.log(self.answered)

    def reset(self):
        """Ends the connection with RST instead of an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # clients of these tests hang up on purpose


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", required=True)
    parser.add_argument("--log", required=True)
    arguments = parser.parse_args()
    server = Server(("127.0.0.1", 0), Handler)
    server.state = State(arguments.script, arguments.log)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
