"""Two prediction sets side by side: TVD of the outputs and JSD of the attentions, per instance."""

import datasets
import numpy as np
import pandas as pd

from .. import divergences
from ..errors import InputError
from ..prediction import padded_attention, probabilities


def compare(set_a: datasets.Dataset, set_b: datasets.Dataset) -> pd.DataFrame:
    """TVD and JSD of every instance of two prediction sets over the same texts.

    Returns:
        One row an instance: `row`, `tvd` of the output probabilities, `jsd` (nats) of the token attention. Both are
        symmetric. A text without tokens has the JSD 0.

    Raises:
        InputError: the sets differ in their rows, in the number of labels, or in the number of tokens of a row (named).
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
    return pd.DataFrame(
        {
            "row": set_a["row"][:],
            "tvd": divergences.tvd(output_a, output_b).numpy(),
            "jsd": divergences.jsd(attention_a, attention_b).numpy(),
        }
    )
