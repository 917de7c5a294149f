"""What wrk is told and what it says."""

import pytest

from loadtests.bench.wrk import Ask, LoadFailed, Measured, parse, script

ASK = Ask(path="/v1/chat/completions", headers=(("authorization", "Bearer k"),), body='{"model":"a \\"b\\""}')


def test_the_script_holds_each_request_as_it_will_be_sent():
    told = script([ASK])
    assert '["authorization"] = "Bearer k"' in told
    assert r'body = "{\"model\":\"a \\\"b\\\"\"}"' in told


def test_text_that_lua_would_read_otherwise_is_refused():
    with pytest.raises(ValueError, match="only printable ASCII"):
        script([Ask(path="/", headers=(), body="é")])


def test_its_own_line_is_found_among_the_others():
    said = (
        'Running 2s test\nmeasured {"requests": 7, "wall_us": 2, "p50_us": 3, "p90_us": 4, "p99_us": 5, "errors": 0}\n'
    )
    assert parse(said) == Measured(requests=7, wall_us=2, p50_us=3, p90_us=4, p99_us=5, errors=0)


def test_without_that_line_nothing_was_measured():
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse("", "unable to connect to 127.0.0.1:1 Connection refused")
