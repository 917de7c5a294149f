"""No gateway at all: what added times are counted from."""

from collections.abc import Iterator
from contextlib import contextmanager

from loadtests.bench.systems.base import Place, Target


class Direct:
    """The model server as if it were a gateway."""

    name = "direct"

    def install(self) -> None:
        """Nothing to do."""

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        yield Target(name=self.name, url=place.upstream, pid=None)
