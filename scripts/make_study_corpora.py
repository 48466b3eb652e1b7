"""Corpora with rare labels and with more than two, for `study_defaults.py`; made from well-known ones.

    python scripts/make_study_corpora.py CORPORA --output_dir runs/study_corpora

CORPORA is a folder with one of each: `sst` (Stanford Sentiment Treebank, two labels), `sst_rationales` (the same
sentences as `tokens`, with `span_start`, `span_end` and `span_sentiment` 0-4 of every phrase), `ag_news` (World and
Business) and `20news_sports` (baseball and hockey), as parquet files with the columns `text` and `label`. Written are

    sst_phrases   five labels: the sentiment of phrases of three words and more, two of every sentence; half are neutral
    ag_rare       World, and Business thinned to 2 %; a third of train is validation, else it had eight rare texts
    six_rare      six labels: those of SST, AG News and 20 Newsgroups, hockey thinned to 1.5 %
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

SIX_PER_LABEL = {"train": 800, "validation": 100, "test": 300}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/study_corpora"))
    options = parser.parse_args()
    rng = np.random.default_rng(42)
    sst, phrases, agnews, news = (
        read(options.corpora / name) for name in ("sst", "sst_rationales", "ag_news", "20news_sports")
    )
    news["validation"], news["train"] = part(news["train"], 0.1, rng)
    rare = thinned(pd.concat([agnews["train"], agnews["validation"]]), 1, 0.02, rng)
    validation, train = part(rare, 1 / 3, rng)
    made = {
        "sst_phrases": {split: phrases_of(rows, rng) for split, rows in phrases.items()},
        "ag_rare": {"train": train, "validation": validation, "test": thinned(agnews["test"], 1, 0.02, rng)},
        "six_rare": {split: six([sst[split], agnews[split], news[split]], SIX_PER_LABEL[split], rng) for split in sst},
    }
    for name, splits in made.items():
        (options.output_dir / name).mkdir(parents=True, exist_ok=True)
        for split, rows in splits.items():
            rows.to_parquet(options.output_dir / name / f"{split}.parquet", index=False)
            print(name, split, len(rows), rows.label.value_counts().sort_index().to_dict())


def read(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def part(rows: pd.DataFrame, share: float, rng) -> tuple[pd.DataFrame, pd.DataFrame]:
    """That share of every label's rows, and the others."""
    drawn = rows.groupby("label").sample(frac=share, random_state=rng).index
    return rows.loc[drawn], rows.drop(drawn)


def thinned(rows: pd.DataFrame, label: int, share: float, rng) -> pd.DataFrame:
    """As many rows of the label as make it that share of all; the others as they are."""
    others = rows[rows.label != label]
    rare = rows[rows.label == label].sample(round(len(others) * share / (1 - share)), random_state=rng)
    return pd.concat([others, rare])[["text", "label"]].sample(frac=1, random_state=rng, ignore_index=True)


def phrases_of(rows: pd.DataFrame, rng) -> pd.DataFrame:
    """Two phrases of every sentence, each text once."""
    made = []
    for row in rows.itertuples():
        for span in rng.permutation(np.flatnonzero(row.span_end - row.span_start >= 3))[:2]:
            text = " ".join(row.tokens[row.span_start[span] : row.span_end[span]])
            made.append({"text": text, "label": row.span_sentiment[span]})
    return pd.DataFrame(made).drop_duplicates("text")


def six(sources: list[pd.DataFrame], most: int, rng) -> pd.DataFrame:
    """At most so many rows of each label."""
    drawn = []
    for number, rows in enumerate(sources):
        rows = rows.sample(frac=1, random_state=rng).groupby("label").head(most)
        drawn.append(rows[["text"]].assign(label=2 * number + rows.label))
    return thinned(pd.concat(drawn), 5, 0.015, rng)


if __name__ == "__main__":
    main()
