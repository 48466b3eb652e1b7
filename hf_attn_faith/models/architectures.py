"""The architectures by name, each a configuration and a model."""

from .configuration_attention_classifier import AttentionClassifierConfig, LstmAttentionConfig, MlpAttentionConfig
from .modeling_attention_classifier import (
    AttentionClassifierModel,
    LstmAttentionForSequenceClassification,
    MlpAttentionForSequenceClassification,
)

ARCHITECTURES: dict[str, tuple[type[AttentionClassifierConfig], type[AttentionClassifierModel]]] = {
    "lstm": (LstmAttentionConfig, LstmAttentionForSequenceClassification),
    "mlp": (MlpAttentionConfig, MlpAttentionForSequenceClassification),
}
