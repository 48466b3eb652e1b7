"""Loads classifiers that somebody else may have made."""

from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
)
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, has_file

from ..errors import InputError
from ..models import AttentionClassifierModel  # noqa: F401
from ..models.architectures import is_ours
from .readout import Readout

MAKE = "give a classifier of texts that transformers can load without code of its own, with its tokenizer"


def load_config(name: str, option_name: str) -> PreTrainedConfig:
    """The configuration of a saved classifier; nothing of its maker's is executed."""
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # whatever it may be: a folder or repo holds what somebody else put there
        raise _cannot_load(name, option_name, error) from error


def load_classifier(name: str | None, option_name: str):
    """A saved classifier and its tokenizer: one of ours, or of any other that transformers knows the `Readout`.
    Whoever made them: nothing of theirs is executed, and weights are read from safetensors alone."""
    if not name:
        raise InputError(f"`{option_name}` is missing: give a directory or a repo on the Hub.")
    try:
        config, _ = PreTrainedConfig.get_config_dict(name)
        if "transformers_weights" in config:
            raise InputError(
                f"`{option_name}` {name} has a config.json that leads to other weights, "
                f"`{config['transformers_weights']}`: take `transformers_weights` out of it, if you trust the rest."
            )
        if config.get("model_type") not in CONFIG_MAPPING:
            raise InputError(f"`{option_name}` {name} has the architecture `{config.get('model_type')}`: {MAKE}.")
        ours = config.get("model_type") in ("lstm_attention", "mlp_attention")
        if not has_file(name, SAFE_WEIGHTS_NAME) and (ours or not has_file(name, SAFE_WEIGHTS_INDEX_NAME)):
            raise InputError(
                f"`{option_name}` {name} has no {SAFE_WEIGHTS_NAME}, and nothing else is read, since pickled weights "
                f"can execute code: {MAKE}."
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
        raise _cannot_load(name, option_name, error) from error
    for weights, shape, expected in sorted(info["mismatched_keys"]):
        raise InputError(
            f"`{option_name}` {name} has weights {weights} of shape {tuple(shape)}, its config.json asks for "
            f"{tuple(expected)}: {MAKE}."
        )
    if info["missing_keys"]:
        lacks = ", ".join(sorted(info["missing_keys"]))
        way = MAKE if is_ours(model.config) else "a pretrained model is fine-tuned first, as `base_model` of an audit"
        raise InputError(f"`{option_name}` {name} lacks the weights {lacks}: {way}.")
    if not is_ours(model.config):
        return Readout(model, tokenizer), tokenizer
    if len(tokenizer) > model.config.vocab_size:
        raise InputError(
            f"`{option_name}` {name} has a tokenizer of {len(tokenizer)} words and a model of "
            f"{model.config.vocab_size}: put the tokenizer it was trained with beside it."
        )
    return model, tokenizer


def _cannot_load(name: str, option_name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return InputError(f"`{option_name}` {name} cannot be loaded ({reason}): {MAKE}.")
