"""What the upstream of recordings answers: its recording, to one body."""

from pathlib import Path

import httpx

from tests.conformance.recorded import HEADER, recorded

CASSETTE = """
interactions:
- request: {method: POST, uri: 'https://elsewhere.test/v1/chat/completions'}
  response: {status: {code: 500}, headers: {}, parsed_body: {}}
- request: {method: POST, uri: 'https://api.openai.com/v1/chat/completions'}
  response:
    status: {code: 201}
    headers: {content-type: [application/json], openai-version: [v], content-length: ['7'], transfer-encoding: [chunked]}
    parsed_body: {said: hello}
- request: {method: POST, uri: 'https://api.openai.com/v1/responses'}
  response: {status: {code: 200}, headers: {content-type: [text/event-stream]}, body: {string: "data: 1\\n\\n"}}
"""


async def test_a_recording_is_answered_as_it_came_and_to_its_first_body_only(tmp_path: Path):
    (tmp_path / "test_a").mkdir()
    (tmp_path / "test_a" / "test_b[c].yaml").write_text(CASSETTE)
    async with recorded(tmp_path) as url, httpx.AsyncClient(base_url=url) as http:

        async def ask(path: str, name: str, **body: str) -> httpx.Response:
            return await http.post(path, json=body, headers={HEADER: f"test_a/test_b[c]/{name}"})

        first = await ask("/chat/completions", "0", model="one", asked="x")
        renamed = await ask("/chat/completions", "0", model="two", asked="x")
        changed = await ask("/chat/completions", "0", model="one", asked="y")
        misdirected = await ask("/responses", "0", asked="x")
        stream = await ask("/responses", "1", asked="x")
        unknown = await ask("/responses", "2", asked="x")
    assert (first.status_code, first.json(), first.headers["openai-version"]) == (201, {"said": "hello"}, "v")
    assert renamed.content == first.content
    assert [answer.status_code for answer in (changed, misdirected, unknown)] == [400, 404, 404]
    assert (stream.headers["content-type"], stream.text) == ("text/event-stream", "data: 1\n\n")
