"""The architectures by name, each a configuration and a model."""

from transformers import PreTrainedConfig, PreTrainedModel

from .configuration_attention_classifier import LstmAttentionConfig, MlpAttentionConfig
from .modeling_attention_classifier import (
    LstmAttentionForSequenceClassification,
    MlpAttentionForSequenceClassification,
)

ARCHITECTURES: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "lstm": (LstmAttentionConfig, LstmAttentionForSequenceClassification),
    "mlp": (MlpAttentionConfig, MlpAttentionForSequenceClassification),
}
