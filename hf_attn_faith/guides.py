"""What may be imposed on the guided MLP as its pooling weights (Wiegreffe & Pinter 2019, section 3.4)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import datasets
import numpy as np

from .data.tokenizer import special_token_ids
from .errors import InputError
from .specs import ModelSpec, Role


@dataclass(frozen=True)
class Guide:
    """Frozen attention for the MLP.

    Args:
        name: as in `ModelSpec.guide`.
        description: for people, after "its pooling weights are".
        of: the role of the model whose prediction sets the weights come from; None where they come from elsewhere.
        weights: from a split, that model's prediction set for it (None without one), the tokenizer and a random
            generator, the weights of every text, a list of floats each. None where nothing is imposed: the MLP has an
            attention of the type `attention_type` then, its own kind where that is `trained`.
        planted: only for data whose rationales are known.
    """

    name: str
    description: str
    of: Role | None = None
    weights: Callable | None = None
    attention_type: Literal["imposed", "uniform", "trained"] = "imposed"
    planted: bool = False

    def impose(self, dataset: datasets.Dataset, split: str, prediction_set, tokenizer, seed: int) -> datasets.Dataset:
        """The split with the guide's attention in the column `imposed_attention`; as it is where nothing is imposed.

        Args:
            prediction_set: over the same texts, of the model named by `of`.
            seed: of what is random in the guide, for this split.
        """
        if self.weights is None:
            return dataset
        rng = np.random.default_rng([seed, *split.encode()])
        attention = self.weights(dataset, prediction_set, tokenizer, rng)
        return dataset.add_column("imposed_attention", attention, feature=datasets.List(datasets.Value("float32")))


def _of_model(dataset, prediction_set, tokenizer, rng):
    return prediction_set["token_attention"][:]


def _permuted(dataset, prediction_set, tokenizer, rng):
    """The null that keeps the shape: the weights shuffled within each text, special tokens left at 0."""
    attention = [np.array(row) for row in prediction_set["token_attention"][:]]
    special = special_token_ids(tokenizer)
    for row, input_ids in zip(attention, dataset["input_ids"][:], strict=True):
        words = np.isin(input_ids, special, invert=True)
        row[words] = rng.permutation(row[words])
    return attention


def _rationale(dataset, prediction_set, tokenizer, rng):
    return dataset["rationale_attention"][:]


def _off_rationale(dataset, prediction_set, tokenizer, rng):
    return dataset["off_rationale_attention"][:]


# In the order of the tables; adversaries' come last.
GUIDES = (
    Guide("uniform", "the same for every token", attention_type="uniform"),
    Guide("trained", "its own", attention_type="trained"),
    Guide("base", "the attention of the base", "base", _of_model),
    Guide("permuted", "the attention of the base, shuffled within each text", "base", _permuted),
    Guide("rationale", "weights on the words that decide, and on those alone", weights=_rationale, planted=True),
    Guide("off_rationale", "weights kept off the words that decide", weights=_off_rationale, planted=True),
    Guide("adversary", "the attention of an adversary", "adversary", _of_model),
)


def guide_of(spec: ModelSpec) -> Guide:
    """The guide of a guided MLP.

    Raises:
        InputError: there is none of that name.
    """
    for guide in GUIDES:
        if guide.name == spec.guide:
            return guide
    raise InputError(f"There is no guide {spec.guide}: take one of {', '.join(guide.name for guide in GUIDES)}.")
