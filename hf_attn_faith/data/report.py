"""What became of the rows of a source and what its texts are like: facts that a reader of the results must know."""

import re
import unicodedata
from collections import Counter
from itertools import combinations

import datasets
import pandas as pd
from transformers import PreTrainedTokenizerBase

from .encode import token_report
from .sources import Reading


def data_report(
    texts: datasets.DatasetDict, encoded: datasets.DatasetDict, tokenizer: PreTrainedTokenizerBase, reading: Reading
) -> dict:
    """The facts of a dataset, ready to be written as JSON.

    Args:
        texts: the splits with `text` and `label`.
        encoded: the same after `encode`.
        tokenizer: the one they were encoded by.
        reading: what became of every row of the source.

    Returns:
        `files`, rows of each; `left_out`, rows and the reason; `splits`, for each `texts`, `labels` (the share of
        each), what `token_report` says, and `duplicates`, texts that stand in the split before, in the same words
        (`repeated`) or apart from case, spaces and punctuation only (`alike`, those included); `overlaps`, for each
        two splits, how many texts of the one stand in the other too.
    """
    exact = {split: part["text"][:] for split, part in texts.items()}
    alike = {split: list(map(normalised, values)) for split, values in exact.items()}
    splits = {}
    for split, part in texts.items():
        names = part.features["label"].names
        counts = Counter(part["label"][:])
        splits[split] = {
            "texts": len(part),
            "labels": {name: counts[number] / len(part) for number, name in enumerate(names)},
            **token_report(encoded[split], tokenizer),
            "repeated": len(part) - len(set(exact[split])),
            "alike": len(part) - len(set(alike[split])),
        }
    overlaps = [
        {
            "split": split,
            "also_in": other,
            **{
                name: sum(text in known for text in values[split])
                for name, values in (("repeated", exact), ("alike", alike))
                for known in (set(values[other]),)
            },
        }
        for other, split in combinations(texts, 2)
    ]
    return {
        "files": dict(reading.files),
        "left_out": [{"rows": rows, "reason": reason} for rows, reason in reading.left_out],
        "splits": splits,
        "overlaps": overlaps,
    }


def overlap_warnings(report: dict) -> list[str]:
    """A line for each two splits that share texts."""
    return [
        f"{row['split']}: {row['alike']} of {report['splits'][row['split']]['texts']} texts stand in {row['also_in']} "
        f"too ({row['repeated']} of them word for word)."
        for row in report["overlaps"]
        if row["alike"]
    ]


def sampling_note(report: dict | None) -> str | None:
    """A sentence for whoever reads the results of a sample; None where all texts are there."""
    drawn = [row for row in (report or {"left_out": []})["left_out"] if row["reason"].startswith("not drawn by")]
    if not drawn:
        return None
    told = ", ".join(f"{row['rows']:,} texts were {row['reason']}" for row in drawn)
    return f"A sample of the texts, not all of them: {told}."


def report_table(report: dict) -> pd.DataFrame:
    """A row a split: its texts, labels, lengths in tokens, and the texts of it that stand elsewhere too."""
    rows = []
    for split, facts in report["splits"].items():
        row = {"split": split} | {name: value for name, value in facts.items() if name != "labels"}
        row["labels"] = ", ".join(f"{name} {share:.3f}" for name, share in facts["labels"].items())
        row["in_other_splits"] = sum(o["alike"] for o in report["overlaps"] if o["split"] == split)
        rows.append(row)
    return pd.DataFrame(rows)


def normalised(text: str) -> str:
    """The text without the differences that make no other text of it: case, spaces, punctuation, widths of letters."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())) or text
