"""Loads classifiers that somebody else may have made."""

from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedConfig
from transformers.utils import SAFE_WEIGHTS_NAME, has_file

from ..errors import InputError
from ..models import AttentionClassifierModel  # noqa: F401


def load_classifier(name: str | None, option_name: str):
    """A saved attention classifier and its tokenizer. Whoever made them: nothing of theirs is executed, and weights
    are read from the file `model.safetensors` alone."""
    if not name:
        raise InputError(f"`{option_name}` is missing: give a directory or a repo on the Hub.")
    make = "give an attention classifier (lstm_attention or mlp_attention), as `hf-attn-faith train` makes them"
    try:
        config, _ = PreTrainedConfig.get_config_dict(name)
        if config.get("model_type") not in ("lstm_attention", "mlp_attention"):
            raise InputError(f"`{option_name}` {name} has the architecture `{config.get('model_type')}`: {make}.")
        if "transformers_weights" in config:
            raise InputError(
                f"`{option_name}` {name} has a config.json that leads to other weights, "
                f"`{config['transformers_weights']}`: take `transformers_weights` out of it, if you trust the rest."
            )
        if not has_file(name, SAFE_WEIGHTS_NAME):
            raise InputError(
                f"`{option_name}` {name} has no {SAFE_WEIGHTS_NAME}, and nothing else is read, since pickled weights "
                f"can execute code: {make}."
            )
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except InputError:
        raise
    except Exception as error:  # whatever it may be: a folder or repo holds what somebody else put there
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise InputError(f"`{option_name}` {name} cannot be loaded ({reason}): {make}.") from error
    for weights, shape, expected in sorted(info["mismatched_keys"]):
        raise InputError(
            f"`{option_name}` {name} has weights {weights} of shape {tuple(shape)}, its config.json asks for "
            f"{tuple(expected)}: {make}."
        )
    if info["missing_keys"]:
        raise InputError(f"`{option_name}` {name} lacks the weights {', '.join(sorted(info['missing_keys']))}: {make}.")
    if len(tokenizer) > model.config.vocab_size:
        raise InputError(
            f"`{option_name}` {name} has a tokenizer of {len(tokenizer)} words and a model of "
            f"{model.config.vocab_size}: put the tokenizer it was trained with beside it."
        )
    return model, tokenizer
