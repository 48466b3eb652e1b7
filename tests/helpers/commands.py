"""For the tests of the commands: small files of texts, and what lies in a folder."""

import pandas as pd

# A training that takes a moment.
SIZES = ("--embedding_size", "8", "--hidden_size", "4", "--num_train_epochs", "1")


def snapshot(folder):
    """Every file with its time and every directory, but for the lock of a run."""
    paths = [path for path in folder.rglob("*") if path.name != ".lock"]
    return {path: path.is_file() and path.stat().st_mtime_ns for path in paths}


def frame(size=24, labels=("bad", "good"), **columns):
    labels = [labels[i % len(labels)] for i in range(size)]
    return pd.DataFrame(
        {"text": [f"a {label} film {i % 5}" for i, label in enumerate(labels)], "label": labels} | columns
    )


def write(folder, suffix="parquet", **tables):
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        match suffix:
            case "parquet":
                table.to_parquet(folder / f"{name}.parquet", index=False)
            case "csv":
                table.to_csv(folder / f"{name}.csv", index=False)
            case "jsonl":
                table.to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    return folder
