"""Capture: what the relay keeps of requests and answers, and what records say of it. Pure.

    raw.py        what the relay keeps of a request, of a call and of a shadow call
    translate.py  from there to records
    spooled.py    a row of a spool: a record in JSON, or what the relay kept as it came
    asked.py      what was asked: hashes, turns, people
    answers.py    what an upstream answered: bodies.py in one body, deltas.py and events.py in a stream
    loose.py      JSON that others wrote

Must not know files, the network, or who keeps and who reads.
"""
