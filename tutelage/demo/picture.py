"""The picture: share and evidence over the time of a run, from the readings that were taken."""

from collections.abc import Sequence
from pathlib import Path

from tutelage.demo.watch import Reading

DPI = 110


def draw(path: Path, readings: Sequence[Reading], title: str) -> None:
    """Write a PNG: above the student's share, below log E of the promotion evidence against the next rung's threshold."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    times = [reading.at_s for reading in readings]
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(9, 6), layout="constrained")
    above.step(times, [reading.share_bp / 100 for reading in readings], where="post", color="tab:blue")
    above.set(ylabel="student's share, %", ylim=(-3, 103), title=title)
    below.plot(times, [reading.log_e for reading in readings], color="tab:green", label="log E (all pairs)")
    below.plot(
        times, [reading.fresh_log_e for reading in readings], color="tab:olive", lw=0.8, label="log E (fresh key)"
    )
    thresholds = [float("nan") if reading.threshold is None else reading.threshold for reading in readings]
    below.step(times, thresholds, where="post", color="tab:red", ls="--", label="threshold of the next rung")
    below.set(xlabel="seconds", ylabel="nats")
    below.legend(loc="upper left", fontsize=8)
    for axes in (above, below):
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)
