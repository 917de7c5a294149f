"""The systems under test. To add one: a file beside this one that satisfies `base.System`, and its line in SYSTEMS."""

from loadtests.bench.systems.base import System
from loadtests.bench.systems.litellm import QUIET, LiteLLM
from loadtests.bench.systems.nginx import Nginx
from loadtests.bench.systems.portkey import Portkey
from loadtests.bench.systems.tutelage import CAPTURE_OFF, CAPTURE_ON, Tutelage
from loadtests.bench.systems.vllm_router import LEAN, VllmRouter

QUICK: tuple[System, ...] = (Nginx(), Tutelage())
"""The yardstick and ours."""
SYSTEMS: tuple[System, ...] = (
    *QUICK,
    VllmRouter(),
    VllmRouter(name="vllm-router lean", options=LEAN),
    Portkey(),
    LiteLLM(),
    LiteLLM(name="litellm lean", environment=QUIET),
)
"""In the order in which each round asks them."""
WAYS: tuple[System, ...] = (
    Tutelage(name="capture off", capture=CAPTURE_OFF),
    Tutelage(name="capture on", capture=CAPTURE_ON),
    Tutelage(name="+ redaction"),
    Tutelage(name="+ shadow", shadow="100%"),
    Tutelage(name="usage if asked", usage="if_asked"),
)
"""Ours in its configurations, each adding to the one before; the last is `+ redaction` without injected usage."""
SIZES: tuple[System, ...] = (
    Tutelage(name="1 route, 1 key"),
    Tutelage(name="1,000 routes", routes=1_000),
    Tutelage(name="100,000 keys", keys=100_000),
)
"""Ours as the configuration grows."""
