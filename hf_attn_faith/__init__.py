"""May I read this model's attention as an explanation?

Importing the package registers the attention classifiers with the Auto classes of transformers.
"""

from .errors import InputError
from .models import (
    LstmAttentionConfig,
    LstmAttentionForSequenceClassification,
    MlpAttentionConfig,
    MlpAttentionForSequenceClassification,
)

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "LstmAttentionConfig",
    "LstmAttentionForSequenceClassification",
    "MlpAttentionConfig",
    "MlpAttentionForSequenceClassification",
]
