"""What the commands find in the store: where a route stands, and evidence in its gate."""

from router.rollout import Rollout
from router.types import Direction
from scoring.gates import controller
from tests.tutelage.cli.conftest import Site
from tests.tutelage.store.made import epoch
from tutelage.contracts.decisions import Unit
from tutelage.store.base import Fold


def standing(site: Site, route: str = "triage") -> Rollout:
    rollout = site.store.rollout(route)
    assert rollout is not None
    return rollout


def folded(begun: Site, count: int, d: float, every_s: float = 0.0) -> None:
    """`count` forward units of different users in the route's gate."""
    rollout, declared = standing(begun), epoch()
    units = [
        Unit(
            id=f"u{number}",
            route="triage",
            epoch=declared.id,
            direction=Direction.FORWARD,
            revision=rollout.revision,
            key=f"k{number}",
            d=d,
            first_at=3.0 + number * every_s,
            last_at=3.0 + number * every_s,
        )
        for number in range(count)
    ]
    state = controller.fold_all(controller.initial(rollout, declared), units, rollout, declared)
    lease = begun.store.acquire("control", "test", 10.0, 0.0)
    assert lease is not None
    assert begun.store.fold(
        Fold(route="triage", revision=1, folded=(), gate_state=controller.encode(state), lease=lease)
    )
