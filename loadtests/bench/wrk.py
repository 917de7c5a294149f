"""The load: wrk with a script of prepared requests, and what it measured.

Closed loop: each connection sends its next request when the answer has ended, so times under c connections are those of a
full gateway, not of an open world. Must not know what it drives.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "measured "
TIMEOUT_S = 60

_SCRIPT = """
local prepared, at = {}, 0
function init()
  for i, each in ipairs(asked) do prepared[i] = wrk.format("POST", each.path, each.headers, each.body) end
end
function request()
  at = at % #prepared + 1
  return prepared[at]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'measured {"requests": %d, "wall_us": %d, "p50_us": %d, "p90_us": %d, "p99_us": %d, "errors": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(90), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class LoadFailed(RuntimeError):
    """wrk could not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One prepared POST request."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What wrk saw: requests that ended, their times in µs, and errors (connections, time-outs, statuses above 399)."""

    requests: int
    wall_us: int
    p50_us: int
    p90_us: int
    p99_us: int
    errors: int


def script(asks: Sequence[Ask]) -> str:
    """The Lua program that sends `asks` in turns."""
    entries = (
        f"  {{path = {_lua(ask.path)}, body = {_lua(ask.body)}, headers = {{"
        + ", ".join(f"[{_lua(name)}] = {_lua(value)}" for name, value in ask.headers)
        + "}},\n"
        for ask in asks
    )
    return "asked = {\n" + "".join(entries) + "}\n" + _SCRIPT


def drive(
    wrk: Sequence[str], asks: Sequence[Ask], *, url: str, connections: int, seconds: int, folder: Path
) -> Measured:
    """Send `asks` in turns over `connections` for `seconds`. Raises LoadFailed where wrk does not run."""
    program = folder / "load.lua"
    program.write_text(script(asks), encoding="utf-8")
    command = [
        *wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_S}s",
        "--script", str(program), url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + TIMEOUT_S)
    return parse(done.stdout, done.stderr)


def parse(output: str, complaints: str = "") -> Measured:
    """The line that the script's `done` wrote."""
    for line in output.splitlines():
        if line.startswith(MARK):
            return Measured(**json.loads(line.removeprefix(MARK)))
    raise LoadFailed(f"wrk measured nothing: {(output + complaints)[-500:]}")


def _lua(text: str) -> str:
    """`text` as a Lua string. JSON's escapes are Lua's but for \\u, which ASCII text does not need."""
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"only printable ASCII can be sent: {text[:40]!r}")
    return json.dumps(text).replace("\\/", "/")
