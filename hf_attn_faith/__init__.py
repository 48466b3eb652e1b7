"""May I read this model's attention as an explanation?

Importing the package loads neither torch nor transformers; its models are registered with the Auto classes as soon as
these are there. What is named here is loaded when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from . import registration

if TYPE_CHECKING:
    from . import metrics as metrics
    from .analyses.comparison import compare as compare
    from .analyses.importance import importance as importance
    from .analyses.instance_attack import instance_attack as instance_attack
    from .analyses.permutation import permutation as permutation
    from .analyses.transplant import transplant as transplant
    from .arguments import AdversaryArguments as AdversaryArguments
    from .arguments import ClassifierArguments as ClassifierArguments
    from .arguments import DataArguments as DataArguments
    from .attention.readout import Readout as Readout
    from .data.encode import encode as encode
    from .data.preparation import prepare as prepare
    from .divergences import jsd as jsd
    from .divergences import kl as kl
    from .divergences import tvd as tvd
    from .errors import InputError as InputError
    from .figures.heatmap import heatmap as heatmap
    from .models.configuration_attention_classifier import LstmAttentionConfig as LstmAttentionConfig
    from .models.configuration_attention_classifier import MlpAttentionConfig as MlpAttentionConfig
    from .models.modeling_attention_classifier import (
        LstmAttentionForSequenceClassification as LstmAttentionForSequenceClassification,
    )
    from .models.modeling_attention_classifier import (
        MlpAttentionForSequenceClassification as MlpAttentionForSequenceClassification,
    )
    from .prediction import load_prediction_set as load_prediction_set
    from .prediction import predict as predict
    from .recipes import AdversarialTrainingArguments as AdversarialTrainingArguments
    from .recipes import ClassificationTrainingArguments as ClassificationTrainingArguments
    from .training.adversarial import ModelConsistentAdversarialTrainer as ModelConsistentAdversarialTrainer
    from .training.adversarial import new_adversary as new_adversary
    from .training.classification import ClassificationTrainer as ClassificationTrainer
    from .training.classification import classifier_trainer as classifier_trainer
    from .training.classification import new_classifier as new_classifier

__version__ = "0.2.0"

# The module of each public name. A test holds it to the imports above, which are for type checkers.
_MODULES = {
    "compare": "analyses.comparison",
    "importance": "analyses.importance",
    "instance_attack": "analyses.instance_attack",
    "permutation": "analyses.permutation",
    "transplant": "analyses.transplant",
    "AdversaryArguments": "arguments",
    "ClassifierArguments": "arguments",
    "DataArguments": "arguments",
    "prepare": "data.preparation",
    "encode": "data.encode",
    "jsd": "divergences",
    "kl": "divergences",
    "tvd": "divergences",
    "InputError": "errors",
    "LstmAttentionConfig": "models.configuration_attention_classifier",
    "MlpAttentionConfig": "models.configuration_attention_classifier",
    "LstmAttentionForSequenceClassification": "models.modeling_attention_classifier",
    "MlpAttentionForSequenceClassification": "models.modeling_attention_classifier",
    "Readout": "attention.readout",
    "load_prediction_set": "prediction",
    "predict": "prediction",
    "AdversarialTrainingArguments": "recipes",
    "ClassificationTrainingArguments": "recipes",
    "heatmap": "figures.heatmap",
    "ModelConsistentAdversarialTrainer": "training.adversarial",
    "new_adversary": "training.adversarial",
    "ClassificationTrainer": "training.classification",
    "classifier_trainer": "training.classification",
    "new_classifier": "training.classification",
}

__all__ = ["metrics", *_MODULES]

registration.register_when_imported()


def __getattr__(name: str) -> object:
    if name == "metrics":
        return import_module(".metrics", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
