"""Two prediction sets side by side: TVD of the outputs and JSD of the attentions, per instance."""

import datasets
import numpy as np
import pandas as pd

from .. import divergences
from ..errors import InputError
from ..prediction import padded_attention, probabilities

ATTENTION_BINS = {"0-0.25": 0.25, "0.25-0.5": 0.5, "0.5-0.75": 0.75, "0.75-1": 1.0}


def compare(set_a: datasets.Dataset, set_b: datasets.Dataset) -> pd.DataFrame:
    """TVD and JSD of every instance of two prediction sets over the same texts.

    Returns:
        One row an instance: `row`, `tvd` of the output probabilities, `jsd` (nats) of the token attention. Both are
        symmetric. A text without tokens has the JSD 0. And what instances of A are binned by, see `binning`.

    Raises:
        InputError: the sets differ in their rows, in their labels, or in the number of tokens of a row (named).
    """
    if len(set_a) != len(set_b) or set_a["row"][:] != set_b["row"][:]:
        raise InputError(
            f"The prediction sets have {len(set_a)} and {len(set_b)} rows and not the same ones in the same order: "
            "compare sets of the same split."
        )
    attention_a, lengths_a = padded_attention(set_a)
    attention_b, lengths_b = padded_attention(set_b)
    if (lengths_a != lengths_b).any():
        row = int(np.flatnonzero(lengths_a != lengths_b)[0])
        raise InputError(
            f"Row {row} has {lengths_a[row]} tokens in one prediction set and {lengths_b[row]} in the other: "
            "compare models with the same tokenizer."
        )
    output_a, output_b = probabilities(set_a), probabilities(set_b)
    if output_a.shape != output_b.shape:
        raise InputError(
            f"The prediction sets have {output_a.shape[-1]} and {output_b.shape[-1]} labels: "
            "compare models with the same labels."
        )
    names_a, names_b = _label_names(set_a), _label_names(set_b)
    if names_a and names_b and names_a != names_b:
        raise InputError(
            f"The prediction sets have the labels {', '.join(names_a)} and {', '.join(names_b)}: compare models with "
            "the same labels in the same order."
        )
    distances = pd.DataFrame(
        {
            "row": set_a["row"][:],
            "tvd": divergences.tvd(output_a, output_b).numpy(),
            "jsd": divergences.jsd(attention_a, attention_b).numpy(),
        }
    )
    return distances.join(binning(set_a).drop(columns="row"))


def distances(pair: pd.DataFrame) -> dict[str, float]:
    """`jsd_mean`, `jsd_median` and `tvd_mean` over the instances that `compare` gives."""
    return {"jsd_mean": pair.jsd.mean(), "jsd_median": pair.jsd.median(), "tvd_mean": pair.tvd.mean()}


def binning(prediction_set: datasets.Dataset) -> pd.DataFrame:
    """What the instances of a prediction set are binned by, as in Figure 3 of Wiegreffe & Pinter (2019).

    Returns:
        One row an instance: `row`, `max_attention` (NaN for a text without tokens), `max_attention_bin` (categories
        `ATTENTION_BINS`), and `predicted_label`, its name (its number where the set has no names).
    """
    attention, lengths = padded_attention(prediction_set)
    highest = attention.amax(1).numpy() if attention.shape[1] else np.zeros(len(lengths))
    highest = np.where(highest > 0, highest, np.nan)  # a text may have special tokens, and no other
    predicted = probabilities(prediction_set).argmax(1).numpy()
    names = np.array(_label_names(prediction_set) or range(predicted.max(initial=0) + 1))
    return pd.DataFrame(
        {
            "row": prediction_set["row"][:],
            "max_attention": highest,
            "max_attention_bin": pd.cut(
                highest, [0, *ATTENTION_BINS.values()], labels=list(ATTENTION_BINS), include_lowest=True
            ),
            "predicted_label": names[predicted].astype(str),
        }
    )


def _label_names(prediction_set: datasets.Dataset) -> list[str] | None:
    label = prediction_set.features.get("label")
    return label.names if isinstance(label, datasets.ClassLabel) else None


def by_bin(instances: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Medians of per-instance values by bin of maximum attention and predicted label, `all` labels and `all` bins too:
    `max_attention_bin`, `label`, a column `NAME_median` for each of `columns`, and `n`. Empty bins are left out."""
    of_labels = instances.dropna(subset="max_attention_bin").astype({"max_attention_bin": str})
    of_bins = of_labels.assign(predicted_label="all")
    groups = pd.concat([of_labels, of_bins, of_bins.assign(max_attention_bin="all")]).groupby(
        ["max_attention_bin", "predicted_label"], sort=False
    )
    table = groups[list(columns)].median().add_suffix("_median").assign(n=groups.size())
    return table.reset_index(names=["max_attention_bin", "label"]).sort_values(
        ["max_attention_bin", "label"],
        key=lambda column: column.map(lambda name: (name == "all", name)),
        ignore_index=True,
    )
