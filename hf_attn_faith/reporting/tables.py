"""Tables of a run, rendered from the files of its analyses: .csv in full, .md and .tex rounded."""

import json
import math
from pathlib import Path

import pandas as pd

# In the order of the protocol.
TABLES = (
    "classifiers",
    "uniform_baseline",
    "seed_variance",
    "adversaries",
    "calibration",
    "guided_mlp",
    "guided_mlp_differences",
    "instance_attack",
    "transplant",
    "permutation",
    "importance",
)


def write_summary(directory: Path, table: pd.DataFrame | list[dict], instances: pd.DataFrame | None = None) -> None:
    """Leaves what an analysis found in its directory: its table, and one row an instance as `instances.parquet`."""
    table = pd.DataFrame(table)
    table.to_json(directory / "summary.json", orient="split", index=False, indent=2, double_precision=15)
    if instances is not None:
        instances.to_parquet(directory / "instances.parquet", index=False)


def read_summary(run_dir: Path, name: str) -> pd.DataFrame | None:
    """The table of an analysis; None where the run does not have it (yet)."""
    path = run_dir / "analyses" / name / "summary.json"
    if not path.exists():
        return None
    summary = json.loads(path.read_text())
    # JSON has no NaN.
    rows = [[math.nan if value is None else value for value in row] for row in summary["data"]]
    return pd.DataFrame(rows, columns=summary["columns"])


def render_tables(run_dir: Path) -> list[Path]:
    """Writes `tables/NAME.csv`, `.md` and `.tex` of every analysis the run has and takes away the others; returns the
    `.md` files."""
    directory = run_dir / "tables"
    directory.mkdir(exist_ok=True)
    written = []
    for name in TABLES:
        table = read_summary(run_dir, name)
        if table is None or not len(table):
            for suffix in (".csv", ".tex", ".md"):
                (directory / f"{name}{suffix}").unlink(missing_ok=True)
        else:
            table.to_csv(directory / f"{name}.csv", index=False)
            _rounded(table).to_latex(directory / f"{name}.tex", index=False, escape=True)
            (directory / f"{name}.md").write_text(markdown(table) + "\n", encoding="utf-8")
            written.append(directory / f"{name}.md")
    return written


def markdown(table: pd.DataFrame) -> str:
    """A table as people read it, numbers rounded."""
    cells = _rounded(table).map(lambda text: " ".join(text.split()).replace("|", r"\|"))
    return cells.to_markdown(index=False, disable_numparse=True)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.apply(lambda column: column.map(_text(column.name)))


def _text(column: str):
    def text(value) -> str:
        if pd.isna(value):
            return ""
        if not isinstance(value, float):
            return str(value)
        return f"{value:g}" if "kl_weight" in column or column == "epsilon" else f"{value:z.3f}"

    return text
