"""The architectures by name, each a configuration and a model."""

from transformers import PreTrainedConfig

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


def is_ours(config: PreTrainedConfig) -> bool:
    """Whether it configures a classifier of this package, which may have been loaded as remote code; any other has its
    attention read by `attention.readout.Readout`."""
    return config.model_type in [config_class.model_type for config_class, _ in ARCHITECTURES.values()]
