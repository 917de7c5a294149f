"""Tutelage: an inference gateway under which a distilled student works until it has earned the traffic.

contracts/  what the parts agree on: settings, records, snapshot, prices, redaction policy, errors
capture/    what gateways keep of requests and answers, and what records say of it
store/      what is true: rollouts, keys, evidence, pairs; a protocol with SQLite behind it
control/    the control plane: admin API, join, fold, decide, publish
cli/        one file per command group
demo/       the recorded demonstration
evaluation/ real inputs through both arms, and what they suggest
serve.py    the supervisor of one machine's processes
lifetime.py a child process ends with its parent
logs.py tasks.py   structured logs; background tasks that are kept and drained
"""

__version__ = "0.1.0"
