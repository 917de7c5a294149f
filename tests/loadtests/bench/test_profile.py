"""py-spy's stacks become µs per request by thread and function."""

from loadtests.bench.profile import parse, text

RAW = [
    "thread (7): MainThread;run (a.py:1);serve (b.py:10) 30",
    "thread (7): MainThread;run (a.py:1);serve (b.py:12);send (c.py:3) 10",
    "thread (9): spool;run (d.py:5) 5",
    "process 7:python 3",
]


def test_samples_are_summed_over_lines_of_a_function():
    threads = parse(RAW)
    assert (threads[7].samples, threads[7].own["serve (b.py)"], threads[7].within["serve (b.py)"]) == (40, 30, 40)


def test_a_share_of_samples_is_that_share_of_the_threads_cost():
    shown = text(parse(RAW), {7: 0.2, 9: 0.05}, requests=1000)
    assert "MainThread: 200 µs of CPU per request" in shown
    assert "150.0  serve (b.py)" in shown
    assert "50.0  run (d.py)" in shown
