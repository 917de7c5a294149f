"""How long a child process may live: no longer than the process that started it.

The kernel (Linux) sends SIGTERM when the thread that started the child ends, in whatever way; elsewhere nothing happens, and a
parent that is killed leaves its children.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None


def ends_with_this_process() -> Callable[[], None]:
    """For `preexec_fn` of whatever starts a child: what runs in the child before exec."""
    parent = os.getpid()

    def begin() -> None:
        if _LIBRARY is not None:
            _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it has ended in between: nobody would send the signal
                os._exit(1)

    return begin
