"""The models and splits that commands are given."""

from ..errors import InputError


def load_model_and_split(options):
    """The model of `model`, which must have attention of its own, and the split of its dataset, encoded for it."""
    from ..data.labels import with_labels_of
    from ..data.preparation import prepare
    from ..hub.loading import load_classifier
    from .output import new_directory

    model, tokenizer = load_classifier(options.model, "model")
    if model.config.attention_type == "imposed":
        raise InputError(
            f"`model` {options.model} has the attention type `imposed` and needs `imposed_attention`: give a model "
            "with attention of its own, or call hf_attn_faith.prediction.predict on a dataset with that column."
        )
    if options.output_dir is not None:
        new_directory(options.output_dir)
    splits = with_labels_of(model, prepare(options, tokenizer)[0], "model")
    return model, splits[options.split]
