"""Load on a gateway that really runs: `bench` measures what it costs beside others, `users` lets simulated users at it.

Everything stays on 127.0.0.1 and ends by itself. The program is started as users start it; nothing imports this.
"""
