"""The systems under test. To add one: a file beside this one that satisfies `base.System`, and its line in SYSTEMS."""

from collections.abc import Callable, Mapping

from loadtests.bench.systems.base import System
from loadtests.bench.systems.nginx import Nginx
from loadtests.bench.systems.tutelage import Tutelage

SYSTEMS: Mapping[str, Callable[[], System]] = {"nginx": Nginx, "tutelage": Tutelage}
