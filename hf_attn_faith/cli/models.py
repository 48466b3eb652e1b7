"""The models and splits that commands are given."""

from ..errors import InputError
from .output import new_directory


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


def load_model_and_split(options):
    """That model, and the split of its dataset, encoded for it."""
    from ..data.labels import with_labels_of
    from ..data.preparation import prepare

    model, tokenizer = load_own_attention(options)
    return model, with_labels_of(model.config, prepare(options, tokenizer)[0], "model")[options.split]
