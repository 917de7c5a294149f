"""`make bench`: what the gateway costs beside nginx and its peers, in one run. Method and results: docs/BENCHMARKS.md.

    __main__.py   the command: what is run in which order
    upstream.py   the mock model behind everything: a process of its own
    systems/      one file per system under test, registered in SYSTEMS
    install.py    wrk, nginx and the peers, cached by what they are
    processes.py  starting, waiting for and ending processes; their CPU time and memory from /proc
    wrk.py        the load: requests written to a Lua script, wrk's own latencies read back
    rounds.py     A B C … A B C …: interleaved measurements
    figures.py    medians, ratios, ranges [pure]
    goals.py      the goals, each with how it is computed from the figures [pure]
    report.py     the tables on the terminal [pure]

To add a system: a file in systems/ and its line in SYSTEMS. To add a goal: its line in GOALS.
"""
