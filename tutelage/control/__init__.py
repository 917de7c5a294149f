"""The control role: one active process (by lease), any number standing by.

    app.py         builds the objects, the admin plane, the process's life
    loop.py        one tick: publish, join, cut, fold, decide, apply
    snapshot.py    configuration into rollouts, epochs, sampling and the published snapshot
    declaration.py what the operator declared of a route, beside what stands; remaining.py: what is left until the next rung
    tail.py        the spools, followed; join.py: exchanges and shadow attempts brought together
    conclude.py    one sampled exchange into a pair, or the reason why there is none [pure]
    units.py       judged pairs into units; measures.py: what a unit says beside d; analysis.py: slices found in the text
    decide.py      folds what is ready, looks at the gate, applies what follows; refusals.py: the record of what moves nothing
    replay.py      every decision, decided again from the records
    gates.py       what a gate sees, and what it is shown as; health.py: what may hold a rollout although nothing is known
    succession.py  what the moves of a successor mean for the rollout [pure]
    judging.py adaptive.py   which pairs are judged, which values of a slice are sampled more
    serving.py                          how requests of all traffic were served, drawn for a shadow or not
    labels.py drift.py feedback.py   people's scores, labelled pairs that watch the judge, what users said
    signals.py     what the loop sees of the machinery, published
    chores.py      now and then: rates, budgets, retention
    shown.py       a rollout as the admin plane and the command line show it
    metrics.py     rollouts, evidence and queues for Prometheus
    desk.py        the store as the admin plane asks it, on one thread
    api/           the admin plane, one noun per file

Holds nothing that the store and the spools do not: it may be killed at any moment and started anywhere.
"""
