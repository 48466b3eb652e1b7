"""The models and splits that commands are given."""

from dataclasses import dataclass
from typing import Literal

from ..arguments import Arguments, option
from ..errors import InputError
from .output import new_directory


@dataclass
class ReadoutArguments(Arguments):
    """What is looked at."""

    readout: Literal["row", "rollout"] = option(
        "row",
        "Transformers: their attention, the row that the last layer is pooled by, or its rollout through all layers "
        "(Abnar & Zuidema 2020).",
    )


def load_own_attention(options):
    """The model of `model`, which must have attention of its own, and its tokenizer."""
    from ..attention.loading import load_classifier
    from ..models.architectures import is_ours

    model, tokenizer = load_classifier(options.model, "model")
    if is_ours(model.config) and model.config.attention_type == "imposed":
        raise InputError(
            f"`model` {options.model} has the attention type `imposed` and needs `imposed_attention`: give a model "
            "with attention of its own, or call hf_attn_faith.prediction.predict on a dataset with that column."
        )
    if options.output_dir is not None:
        new_directory(options.output_dir)
    return model, tokenizer


def observed(model, readout: str):
    """The model as it is read: by `row`, or its `rollout`."""
    from ..attention.readout import Readout

    if readout == "row":
        return model
    if not isinstance(model, Readout):
        raise InputError("`readout` rollout is of transformers, and `model` has one attention alone: leave it out.")
    return Readout(model.model, model.tokenizer, rollout=True)


def load_model_and_split(options):
    """That model, and the split of its dataset, encoded for it."""
    from ..data.labels import with_labels_of
    from ..data.preparation import prepare

    model, tokenizer = load_own_attention(options)
    return model, with_labels_of(model.config, prepare(options, tokenizer)[0], "model")[options.split]
