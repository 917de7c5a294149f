"""Pure decisions: who serves this request, may the share move.

Standard library only: no I/O, no clock, no randomness, no third party. Time (`at`, `now`) and random salts are
arguments. Everything here is synchronous and deterministic, so that a decision can be replayed.

    types.py       the words: arms, plans, capabilities, what a request asks for
    stickiness.py  which value of a request names its user
    split.py       hash a sticky key into 10,000 nested basis points
    policy.py      `plan_route`: one request's RoutePlan
    breaker.py     CLOSED / OPEN / HALF_OPEN arithmetic with permits
    budget.py      how many calls of an upstream may be made a second time
    limits.py      what a key may have open, ask per minute and spend per day
    balance.py     which replica of an upstream takes a call
    stages.py      the ladder's rungs and their shares
    events.py      what can happen to a rollout
    rollout.py     the rollout table: every event in every phase
"""
