"""Tables of a run, rendered from the files of its analyses: as .csv in full, as .md and .tex rounded."""

import json
from pathlib import Path

import pandas as pd


def render_tables(run_dir: Path, names: list[str]) -> list[Path]:
    """Writes `tables/NAME.csv`, `.md` and `.tex` of the analyses with these names; returns the `.md` files."""
    directory = run_dir / "tables"
    directory.mkdir(exist_ok=True)
    written = []
    for analysis in names:
        summary = json.loads((run_dir / "analyses" / analysis / "summary.json").read_text())
        table = pd.DataFrame(summary["data"], columns=summary["columns"])
        name = directory / analysis
        table.to_csv(name.with_suffix(".csv"), index=False)
        rounded = table.apply(lambda column: column.map(_rounded(column.name)))
        rounded.to_markdown(written_path := name.with_suffix(".md"), index=False, disable_numparse=True)
        rounded.to_latex(name.with_suffix(".tex"), index=False, escape=True)
        written.append(written_path)
    return written


def _rounded(column: str):
    def text(value) -> str:
        if pd.isna(value):
            return ""
        if not isinstance(value, float):
            return str(value)
        return f"{value:g}" if "kl_weight" in column else f"{value:.3f}"

    return text
