"""Starts a real vLLM server on the CPU and is sure to end it again.

Owns the server's process group: started on a port of its own, waited for until `/health` answers, killed whole on exit
(vLLM does not obey SIGTERM while it starts, and leaves its workers behind if only the parent dies). Standard library
only, so that tests import it; it must not know what the server is asked. From the shell:

    python -m examples.vllm_cpu.serve MODEL_DIR --port 8102 --name student
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

READY_S = 300.0
GRACE_S = 10.0
POLL_S = 0.25
LOG_TAIL_CHARS = 4_000
INSTALL = Path(__file__).resolve().with_name("install.sh")
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
DEFAULT_OPTIONS: tuple[str, ...] = (
    *("--dtype", "float32"),
    *("--max-model-len", "256"),
    "--enforce-eager",
    *("--max-num-seqs", "32"),
    *("--kv-cache-memory-bytes", "64M"),
)


class ServerFailed(RuntimeError):
    """The server ended, or was not ready in time; the message ends with the tail of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. `pid` leads its process group; its workers are in the same group."""

    base_url: str
    pid: int
    name: str
    log: Path


def environment_python() -> Path:
    """Return the Python of the vLLM environment, installing it first if it is not there (minutes).

    Raises subprocess.CalledProcessError if the installation fails; its output is on standard error.
    """
    shown = subprocess.run(["bash", str(INSTALL)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return Path(shown.strip().splitlines()[-1]) / "bin" / "python"


def free_port() -> int:
    """Return a port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def vllm_server(
    model: Path,
    *,
    name: str,
    port: int | None = None,
    python: Path | None = None,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    ready_s: float = READY_S,
) -> Iterator[Server]:
    """Serve the model directory under `name` until the block ends.

    `options` are appended to `DEFAULT_OPTIONS` (the last one given wins). `base_url` of what is yielded ends in `/v1`.
    Raises ServerFailed if the server dies or is not ready within `ready_s`.
    """
    python = python or environment_python()
    port = port or free_port()
    log = log or Path(tempfile.mkdtemp(prefix="vllm-")) / "vllm.log"
    command = [
        *(str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)),
        *("--served-model-name", name, "--host", "127.0.0.1", "--port", str(port)),
        *DEFAULT_OPTIONS,
        *options,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT, **(environment or {})},
            start_new_session=True,
        )
    try:
        _wait_ready(process, f"http://127.0.0.1:{port}/health", log, ready_s)
        _warm_up(f"http://127.0.0.1:{port}/v1/completions", name, ready_s)
        yield Server(base_url=f"http://127.0.0.1:{port}/v1", pid=process.pid, name=name, log=log)
    finally:
        _end_group(process)


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path, ready_s: float) -> None:
    deadline = time.monotonic() + ready_s
    while time.monotonic() < deadline:
        status = process.poll()
        if status is not None:
            raise ServerFailed(f"vLLM ended with status {status} before it was ready\n{_tail(log)}")
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(url, timeout=2.0) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(POLL_S)
    raise ServerFailed(f"vLLM was not ready after {ready_s:.0f} s\n{_tail(log)}")


def _warm_up(url: str, name: str, within_s: float) -> None:
    """Ask once: the first answer compiles kernels for some twenty seconds, which no later one should wait for."""
    body = json.dumps({"model": name, "prompt": "a", "max_tokens": 2, "temperature": 0, "logprobs": 1}).encode()
    asked = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=within_s) as answer:
        answer.read()


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARS:]


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, then make it: workers that outlive their parent are killed too."""
    _signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE_S)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, default=None, help="default: one that is free")
    parser.add_argument("--name", default="student")
    parser.add_argument("--python", type=Path, default=None, help="default: the environment of install.sh")
    parser.add_argument("--log", type=Path, default=None)
    parser.add_argument("options", nargs="*", help="further options of vLLM, after --")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with vllm_server(
            arguments.model,
            name=arguments.name,
            port=arguments.port,
            python=arguments.python,
            log=arguments.log,
            options=arguments.options,
        ) as server:
            print(f"{server.name} at {server.base_url}, log {server.log}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except ServerFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
