"""How long a child process may live: no longer than the process that started it.

For `preexec_fn` of whatever starts children. The kernel (Linux) sends SIGTERM when the thread that started the child ends, in
whatever way; elsewhere nothing happens, and a parent that is killed leaves its children.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent() -> None:
    """Runs in the child, before exec."""
    if _LIBRARY is not None:
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
