"""The goals: what each asks for and how it comes out of the tables. Pure.

`must` is what a release needs, `stretch` where this is going. To add a goal: its line in GOALS.
"""

from collections.abc import Callable
from dataclasses import dataclass

from loadtests.bench.figures import Spread, Tables, Unmeasured, added, ratios, series, shown, spread

OURS, NGINX, DIRECT = "tutelage", "nginx", "direct"
NOT_MEASURED = "not measured"
PLAIN, STREAM = "cpu_us plain", "cpu_us stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One figure and its two limits. `at_least`: larger is better."""

    figure: str
    must: float
    stretch: float
    unit: str
    value: Callable[[Tables], Spread]
    at_least: bool = False

    def limit(self, value: float) -> str:
        return f"{'≥' if self.at_least else '≤'} {value:,g}{self.unit}"

    def reached(self, value: float) -> str:
        """`stretch`, `must` or `no`."""
        sign = -1 if self.at_least else 1
        if value * sign <= self.stretch * sign:
            return "stretch"
        return "must" if value * sign <= self.must * sign else "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A goal and what came of it; without `measured`, why there is nothing."""

    figure: str
    must: str
    stretch: str
    measured: str
    reached: str


def row(goal: Goal, tables: Tables) -> Row:
    """One row of the table of goals."""
    try:
        value = goal.value(tables)
    except Unmeasured as fault:
        measured, reached = str(fault), NOT_MEASURED
    else:
        measured, reached = f"{value}{goal.unit}", goal.reached(value.median)
    return Row(
        figure=goal.figure,
        must=goal.limit(goal.must),
        stretch=goal.limit(goal.stretch),
        measured=measured,
        reached=reached,
    )


def _ratio(table: str, above: str, below: str) -> Callable[[Tables], Spread]:
    return lambda tables: ratios(series(tables, table, above), series(tables, table, below))


def _plain(table: str, system: str) -> Callable[[Tables], Spread]:
    return lambda tables: spread(series(tables, table, system))


def _growth(table: str, larger: str, smaller: str) -> Callable[[Tables], Spread]:
    """By how many percent the figure grows."""

    def percent(tables: Tables) -> Spread:
        found = ratios(series(tables, table, larger), series(tables, table, smaller))
        return Spread(
            median=(found.median - 1) * 100,
            low=(found.low - 1) * 100,
            high=(found.high - 1) * 100,
        )

    return percent


def _added_ratio(table: str, above: str, below: str) -> Callable[[Tables], Spread]:
    """Of the medians: a single round's added time can be anything, even negative."""

    def ratio(tables: Tables) -> Spread:
        direct = series(tables, table, DIRECT)
        ours = spread(added(series(tables, table, above), direct)).median
        theirs = spread(added(series(tables, table, below), direct)).median
        if theirs <= 0:
            raise Unmeasured(f"{below} added {shown(theirs)} µs: the machine was too busy to tell")
        return spread([ours / theirs])

    return ratio


GOALS: tuple[Goal, ...] = (
    Goal(figure="CPU per request, ours to nginx's", must=10, stretch=5, unit=" ×", value=_ratio(PLAIN, OURS, NGINX)),
    Goal(
        figure="CPU per request, ours to vllm-router's",
        must=1.4,
        stretch=0.7,
        unit=" ×",
        value=_ratio(PLAIN, OURS, "vllm-router"),
    ),
    Goal(
        figure="CPU per request, LiteLLM's to ours",
        must=85,
        stretch=150,
        unit=" ×",
        value=_ratio(PLAIN, "litellm", OURS),
        at_least=True,
    ),
    Goal(
        figure="CPU per request, Portkey's to ours",
        must=14,
        stretch=25,
        unit=" ×",
        value=_ratio(PLAIN, "portkey", OURS),
        at_least=True,
    ),
    Goal(
        figure="CPU per stream of 50, ours to nginx's",
        must=3,
        stretch=1.8,
        unit=" ×",
        value=_ratio(STREAM, OURS, NGINX),
    ),
    Goal(
        figure="added p50 at c = 1, ours to nginx's",
        must=8,
        stretch=4,
        unit=" ×",
        value=_added_ratio("p50_us c=1", OURS, NGINX),
    ),
    Goal(
        figure="memory of a gateway process, idle",
        must=120,
        stretch=80,
        unit=" MB",
        value=_plain("memory_mb idle", OURS),
    ),
    Goal(
        figure="memory per open stream", must=150, stretch=60, unit=" KiB", value=_plain("memory_kib per stream", OURS)
    ),
    Goal(
        figure="CPU per request, 1 to 1,000 routes",
        must=10,
        stretch=3,
        unit=" %",
        value=_growth("cpu_us by size", "1,000 routes", "1 route, 1 key"),
    ),
    Goal(
        figure="CPU per request, 1 to 100,000 keys",
        must=10,
        stretch=3,
        unit=" %",
        value=_growth("cpu_us by size", "100,000 keys", "1 route, 1 key"),
    ),
    Goal(
        figure="CPU per event, streams of 50 to 5,000",
        must=10,
        stretch=3,
        unit=" %",
        value=_growth("cpu_us per event", "5,000 events", "50 events"),
    ),
)
"""Ours with capture durable, secrets and contacts redacted, usage injected into streams. Growth of
3 % is flat: less cannot be told apart in one run."""
