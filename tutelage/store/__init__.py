"""What is true: rollouts, keys, leases, evidence, pairs. Protocols in base.py; SQLite behind them; `apply` writes rollouts."""
