"""The attention classifiers; saved checkpoints carry their code. Loaded when they are used: while transformers loads
itself, it can be given configurations, but no models yet."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .configuration_attention_classifier import LstmAttentionConfig, MlpAttentionConfig
    from .modeling_attention_classifier import (
        AttentionClassifierModel,
        AttentionClassifierOutput,
        LstmAttentionForSequenceClassification,
        MlpAttentionForSequenceClassification,
    )

__all__ = [
    "AttentionClassifierModel",
    "AttentionClassifierOutput",
    "LstmAttentionConfig",
    "LstmAttentionForSequenceClassification",
    "MlpAttentionConfig",
    "MlpAttentionForSequenceClassification",
]


def __getattr__(name: str) -> type:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import modeling_attention_classifier

    return getattr(modeling_attention_classifier, name)
