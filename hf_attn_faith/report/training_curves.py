"""The validation objective of every model of a run over its epochs."""

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from ..figures.style import short
from ..run.layout import Run
from ..specs import by_group


def training_curves(run: Run) -> Figure | None:
    """A panel for each group of models that differ in their seed alone; None where none was trained. A base that was
    given as it is has no history."""
    histories = {spec: run.model(spec).history() for spec in run.specs()}
    groups = by_group(spec for spec, history in histories.items() if history["log_history"])
    if not groups:
        return None
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(2.7 * columns, 2.0 * rows + 0.3))
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, (group, specs) in zip(panels.flat, groups.items(), strict=False):
        for spec in specs:
            history = histories[spec]
            logs = [log for log in history["log_history"] if "eval_loss" in log]
            epochs, losses = np.array([(log["epoch"], log["eval_loss"]) for log in logs]).T
            (line,) = axes.plot(epochs, losses, linewidth=1, alpha=0.8)
            kept = [log["step"] == history["kept_step"] for log in logs]
            axes.plot(epochs[kept], losses[kept], "o", markersize=3.5, color=line.get_color())
        axes.set_title(short("base, seeds" if group == "base" else group, 32), fontsize=8)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
        axes.set_ylabel("TVD − λ KL" if specs[0].role == "adversary" else "loss (nats)", fontsize=8)
    for axes in panels.flat[len(groups) :]:
        axes.remove()
    figure.supxlabel("epoch (the dot is the one that was kept)", fontsize=9)
    figure.suptitle("Validation objective", fontsize=10)
    return figure
