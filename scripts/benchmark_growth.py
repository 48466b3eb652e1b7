"""How do time and memory of an audit grow with the number of texts and with their length?

    python scripts/benchmark_growth.py --output_dir runs/growth
    python scripts/benchmark_growth.py --output_dir runs/growth --texts 200 400 800 --lengths 20 40 80

The stages of small audits, classifiers and adversaries of one epoch with its evaluation and checkpoint, on synthetic
texts: by their number (`--texts`, of 20 tokens in the mean, as many in train as in test) and by their length
(`--lengths`, 160 texts in train and 32 in test). Each stage is made in a fresh process with one thread, one after the
other; seconds are those of the CPU, and its peak memory is that of the process. An exponent k, of a line through the
logarithms, says that the stage grows as the k-th power; the start-up of a stage keeps it below what it comes to in the
end, which `last` shows: k between the two largest points. Written into `--output_dir`: `growth.md`, `growth.csv` and
the figure `growth.png`.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from tabulate import tabulate

from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.figures.style import COLOURS, MARKERS, STYLE
from hf_attn_faith.process import quiet_libraries, set_up
from hf_attn_faith.run import store, worker
from hf_attn_faith.run.audit import plan
from hf_attn_faith.run.layout import Run
from hf_attn_faith.run.stage import Stage

WORDS = 5_000  # equally frequent, so that the vocabulary is about the same at every size
FEW_MODELS = {"num_seeds": 2, "adversary_seeds": 1, "kl_weights": [0.02], "adversary_start": ["warm"]}
FEW_MODELS |= {"num_train_epochs": 1, "adversary_epochs": 1}
MODELS = ("base", "uniform-0", "adversary-0.02-warm-0", "guided-base-0")
# Growth above this is looked into.
LINEAR = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--texts", type=int, nargs="+", default=[1_000, 2_500, 5_000, 10_000, 25_000])
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 60, 200, 600, 2_000])
    options = parser.parse_args()
    quiet_libraries(40)
    points = [("texts", texts, texts, texts, 20) for texts in options.texts]
    points += [("length", length, 160, 32, length) for length in options.lengths]
    options.output_dir.mkdir(parents=True, exist_ok=True)
    rows = []
    for by, size, train, test, length in points:
        print(f"{by} {size} ...", file=sys.stderr, flush=True)
        rows += [{"by": by, "size": size, **row} for row in measured(synthetic(train, test, length))]
        results = pd.DataFrame(rows)
        results.to_csv(options.output_dir / "growth.csv", index=False)  # what is measured stays
    told = "\n\n".join(tabulate(table(results, by), "keys", "github", showindex=False) for by in ("texts", "length"))
    (options.output_dir / "growth.md").write_text(told + "\n", encoding="utf-8")
    with rc_context(STYLE):
        drawn(results).savefig(options.output_dir / "growth.png", dpi=150)
    print(told)


def synthetic(train: int, test: int, length: int) -> datasets.DatasetDict:
    """Texts of `length` tokens, half as many to half as many again, a fifth of which tell the label."""

    def split(size: int, rng: np.random.Generator) -> datasets.Dataset:
        labels = np.arange(size) % 2
        texts = []
        for label in labels:
            words = rng.integers(WORDS, size=rng.integers(length // 2, length + length // 2 + 1))
            telling = rng.random(len(words)) < 0.2
            texts.append(" ".join(np.where(telling, f"label{label}", np.char.add("w", words.astype(str)))))
        features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])})
        return datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)

    sizes = {"train": train, "validation": max(test // 10, 16), "test": test}
    return datasets.DatasetDict(
        {name: split(size, np.random.default_rng(number)) for number, (name, size) in enumerate(sizes.items())}
    )


def measured(texts: datasets.DatasetDict) -> list[dict]:
    """Seconds and peak memory of each stage of an audit of these texts."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        texts.save_to_disk(f"{folder}/texts")
        config = AuditArguments(
            dataset_name=f"{folder}/texts", output_dir=f"{folder}/run", max_length=10_000, **FEW_MODELS
        )
        run = Run(Path(config.output_dir))
        run.path.mkdir()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([worker.__name__])
        for stage in plan(config):
            with ProcessPoolExecutor(1, context) as fresh:
                seconds, peak = fresh.submit(made, stage, run).result()
            folder_of, _, name = stage.name.partition("/")
            if folder_of in ("data", "analyses") or name in MODELS:
                rows.append({"stage": stage.name, "seconds": seconds, "peak": peak})
    return rows


def made(stage: Stage, run: Run) -> tuple[float, int]:
    """Makes the stage; seconds of the CPU, and the peak memory of this process in bytes."""
    quiet_libraries(40)
    set_up(num_threads=1)
    began = time.process_time()
    store.make(stage, run, lambda share: None)
    seconds = time.process_time() - began
    # Linux counts in KiB, macOS in bytes.
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def exponent(sizes: np.ndarray, values: np.ndarray) -> float:
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def table(results: pd.DataFrame, by: str) -> pd.DataFrame:
    """A row a stage, the slowest first."""
    rows = []
    for stage, points in results[results.by == by].groupby("stage", sort=False):
        sizes, seconds, peaks = (points[name].to_numpy(float) for name in ("size", "seconds", "peak"))
        fitted, last = exponent(sizes, seconds), exponent(sizes[-2:], seconds[-2:])
        rows.append(
            {
                f"by {by}": stage,
                **{f"s at {size:,.0f}": round(value, 2) for size, value in zip(sizes, seconds, strict=True)},
                "exponent": f"**{fitted:.2f}**" if fitted > LINEAR else f"{fitted:.2f}",
                "last": f"**{last:.2f}**" if last > LINEAR else f"{last:.2f}",
                "peak memory, MB": f"{peaks[0] / 1e6:.0f} to {peaks[-1] / 1e6:.0f}",
            }
        )
    return (
        pd.DataFrame(rows).rename(columns={"stage": f"by {by}"}).sort_values(f"s at {sizes[-1]:,.0f}", ascending=False)
    )


def drawn(results: pd.DataFrame) -> Figure:
    """Seconds above and peak memory below; those that take longest in colour, beside a line of exponent 1."""
    figure = Figure(figsize=(13, 7))
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, (by, label) in zip(panels.T, (("texts", "texts"), ("length", "tokens a text")), strict=True):
        of_axis = results[results.by == by]
        largest = of_axis[of_axis["size"] == of_axis["size"].max()].sort_values("seconds", ascending=False)
        shown = list(largest.stage[: len(COLOURS)])
        for axes, name, scale in ((column[0], "seconds", 1), (column[1], "peak", 1e-6)):
            for stage, points in of_axis.groupby("stage", sort=False):
                number = shown.index(stage) if stage in shown else None
                look = (
                    {"color": "#BBBBBB", "linewidth": 0.8, "zorder": 1}
                    if number is None
                    else {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 4, "label": stage}
                )
                axes.plot(points["size"], points[name] * scale, **look)
            axes.set(xscale="log", yscale="log" if name == "seconds" else "linear")
            axes.set_xticks(of_axis["size"].unique())
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter("")
        sizes = np.array([of_axis["size"].min(), of_axis["size"].max()])
        column[0].plot(sizes, largest.seconds.iloc[0] * sizes / sizes[1], "k--", linewidth=0.8, label="exponent 1")
        column[0].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        column[1].set_xlabel(label)
    panels[0, 0].set_ylabel("seconds of the CPU")
    panels[1, 0].set_ylabel("peak memory of the process (MB)")
    figure.suptitle("How the stages of an audit grow (grey: the others)", fontsize=10)
    return figure


if __name__ == "__main__":
    main()
