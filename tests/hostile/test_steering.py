"""What a body, a header or a file says about addresses, keys, code and templates is data: it steers nothing."""

import asyncio
import time
from pathlib import Path

import pytest

from scoring.checks.regex import compile_pattern
from scoring.rubrics.load import load_rubric
from tests.hostile.target import CANARY, Target
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import load

pytestmark = pytest.mark.anyio

STEERING: dict[str, str] = {
    "api_base": '"{url}"',
    "base_url": '"{url}"',
    "api_key": f'"{CANARY}"',
    "api_version": '"x"',
    "custom_llm_provider": '"bedrock"',
    "fallbacks": '["kept"]',
    "context_window_fallbacks": '[{{"chat":["kept"]}}]',
    "mock_response": '"mocked"',
    "mock_timeout": "true",
    "extra_headers": f'{{{{"authorization":"Bearer {CANARY}","x-evil":"1"}}}}',
    "extra_body": '{{"model":"evil"}}',
    "headers": '{{"x-evil":"1"}}',
    "aws_access_key_id": '"x"',
    "aws_bedrock_runtime_endpoint": '"{url}"',
    "vertex_credentials": '"/etc/passwd"',
    "callbacks": '["{url}"]',
    "success_callback": '["langfuse"]',
    "timeout": "0.000001",
    "num_retries": "1000",
    "model_list": '[{{"model_name":"chat","litellm_params":{{"api_base":"{url}"}}}}]',
    "metadata": '{{"model":"evil","api_base":"{url}"}}',
    "litellm_params": '{{"api_base":"{url}"}}',
    "proxy": '"{url}"',
}


@pytest.fixture(scope="module")
async def trap():
    """An address to which nothing may go: (its URL, the connections that came)."""
    came: list[object] = []
    server = await asyncio.start_server(lambda reader, writer: came.append(writer), "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", came
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("nested", [False, True], ids=["top level", "nested"])
@pytest.mark.parametrize("name", STEERING)
async def test_a_body_steers_nothing(target: Target, trap: tuple[str, list[object]], name: str, nested: bool):
    url, came = trap
    value = STEERING[name].format(url=url)
    field = f'"{name}":{value}'
    asked = len(target.upstream.asked)
    if nested:
        field = '"extra":{' + field + "}"
    answer = await target.post(('{"model":"chat","messages":[],' + field + "}").encode())
    assert answer.status == 200
    assert b"I am teacher" in answer.body
    assert came == []
    assert len(target.upstream.asked) == asked + 1
    arrived = target.upstream.asked[-1]
    assert arrived.json["model"] == "big-1"
    assert "x-evil" not in arrived.headers
    assert f"tut-{CANARY}" in arrived.headers["authorization"], "the gateway's own key, from its environment"


@pytest.mark.parametrize(
    "line",
    [b"x-tutelage-arm: student", b"x-tutelage-log: everything", b"x-tutelage-train: allow", b"x-tutelage-arm: \xff"],
)
async def test_a_header_that_asks_for_what_is_not_given_is_refused(target: Target, line: bytes):
    answer = await target.post(b'{"model":"chat","messages":[]}', line)
    assert answer.status in (400, 403)
    assert answer.error["message"]


TAGGED = (
    "!!python/object/apply:os.system ['touch owned']",
    "!!python/name:os.system",
    "!!python/object/new:tuple [[1]]",
    "!evil x",
    "&a [*a]",
)


@pytest.mark.parametrize("value", TAGGED)
def test_yaml_is_plain(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tutelage.yaml").write_text(f"upstreams: {value}\nroutes: {{}}\n")
    (tmp_path / "r@1.yaml").write_text(f"name: {value}\n")
    with pytest.raises(ConfigurationError):
        load(tmp_path / "tutelage.yaml")
    with pytest.raises(ConfigurationError):
        load_rubric(tmp_path, "r@1")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["../../etc/passwd@1", "r@../1", "/etc/passwd@1", "r", ""])
def test_a_rubrics_name_is_no_path(tmp_path: Path, name: str):
    with pytest.raises(ConfigurationError):
        load_rubric(tmp_path, name)


def test_a_regular_expression_cannot_hang():
    """Linear time: a hundred times the text takes nothing like a thousand times as long."""
    bomb = compile_pattern("(a+)+$")

    def took_s(length: int) -> float:
        began = time.process_time()
        assert not bomb.fullmatch("a" * length + "b")
        return time.process_time() - began

    short_s, long_s = (min(took_s(length) for _ in range(10)) for length in (10_000, 1_000_000))
    assert long_s < 1_000 * max(short_s, 1e-5)


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", r"(?=a)", r"(?<!a)b", "(" + "a" * 3_000 + "){1000}", "(" * 2_000, "[", "\ud800"]
)
def test_a_pattern_that_could_is_refused(pattern: str):
    with pytest.raises(ValueError, match="pattern"):
        compile_pattern(pattern)
