"""The control role: one active process (by lease), any number standing by.

    app.py        builds the objects, the admin plane, the process's life
    loop.py       one tick: publish, join, cut, fold, decide, apply
    snapshot.py   configuration into rollouts, epochs, sampling and the published snapshot
    join.py       exchanges and shadow attempts into pairs
    units.py      judged pairs into units
    gates.py      what a gate sees, and what it is shown as
    shown.py      a rollout as the admin plane and the command line show it
    metrics.py    rollouts, evidence and queues for Prometheus
    api/          the admin plane, one noun per file

Holds nothing that the store and the spools do not: it may be killed at any moment and started anywhere.
"""
