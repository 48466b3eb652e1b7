"""Tables as files: .csv in full, .md and .tex rounded."""

from pathlib import Path

import pandas as pd


def write_table(table: pd.DataFrame, directory: Path, name: str, note: str | None = None) -> None:
    """Writes `NAME.csv`, `.md` and `.tex`; a note stands below that which people read, `.md`."""
    table.to_csv(directory / f"{name}.csv", index=False)
    rounded(table).to_latex(directory / f"{name}.tex", index=False, escape=True)
    below = f"\n{note}\n" if note else ""
    (directory / f"{name}.md").write_text(markdown(table) + "\n" + below, encoding="utf-8")


def markdown(table: pd.DataFrame) -> str:
    """A table as people read it, numbers rounded."""
    cells = rounded(table).map(lambda text: " ".join(text.split()).replace("|", r"\|"))
    return cells.to_markdown(index=False, disable_numparse=True)


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Its cells as text."""
    return table.apply(lambda column: column.map(_text(column.name)))


def _text(column: str):
    def text(value) -> str:
        if pd.isna(value):
            return ""
        if not isinstance(value, float):
            return str(value)
        return f"{value:g}" if "kl_weight" in column or column == "epsilon" else f"{value:z.3f}"

    return text
