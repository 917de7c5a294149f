"""A judge behind HTTP: a real server that answers from a script and keeps what it was sent."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes]


def completion(content: str | None, *, finish_reason: str = "stop", refusal: str | None = None) -> Reply:
    """A 200 with one choice and its usage."""
    body = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"content": content, "refusal": refusal}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
    }
    return 200, json.dumps(body).encode()


def verdict(a: Any, b: Any, **more: Any) -> Reply:
    """A verdict on the criterion `helpful`. NaN and Infinity are written as Python writes them."""
    return completion(json.dumps({"rationale": "because", "a": {"helpful": a}, "b": {"helpful": b}} | more))


class JudgeServer:
    """Answers with `script(body of the request, number of the call)`."""

    def __init__(self, url: str, script: Callable[[dict[str, Any], int], Reply]) -> None:
        self.url = url
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    def prompts(self) -> list[str]:
        """What each call asked, as the user's message."""
        return [request["messages"][1]["content"] for request in self.requests]


@contextmanager
def judge_server(*replies: Reply) -> Iterator[JudgeServer]:
    """A server that gives these replies in turn, the last one again and again."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            scripted.requests.append(body)
            scripted.keys.append(self.headers["authorization"])
            status, reply = scripted.script(body, len(scripted.requests) - 1)
            self.send_response(status)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        scripted = JudgeServer(url, lambda _, number: replies[min(number, len(replies) - 1)])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield scripted
        finally:
            server.shutdown()
            thread.join()
