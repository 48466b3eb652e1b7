"""The attention classifiers, registered with the Auto classes; saved checkpoints carry their code."""

from transformers import AutoConfig, AutoModelForSequenceClassification

from .configuration_attention_classifier import LstmAttentionConfig, MlpAttentionConfig
from .modeling_attention_classifier import (
    AttentionClassifierModel,
    AttentionClassifierOutput,
    LstmAttentionForSequenceClassification,
    MlpAttentionForSequenceClassification,
)

for _config, _model in (
    (LstmAttentionConfig, LstmAttentionForSequenceClassification),
    (MlpAttentionConfig, MlpAttentionForSequenceClassification),
):
    AutoConfig.register(_config.model_type, _config)
    AutoModelForSequenceClassification.register(_config, _model)
    _config.register_for_auto_class()
    _model.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = [
    "AttentionClassifierModel",
    "AttentionClassifierOutput",
    "LstmAttentionConfig",
    "LstmAttentionForSequenceClassification",
    "MlpAttentionConfig",
    "MlpAttentionForSequenceClassification",
]
