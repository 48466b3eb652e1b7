"""Configurations of the attention classifiers. This file travels to the Hub: torch and transformers only."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class AttentionClassifierConfig(PreTrainedConfig):
    """What the LSTM and the MLP classifier have in common. Use one of the two subclasses.

    Args:
        vocab_size: number of rows of the embedding.
        embedding_size: width of a token's embedding.
        hidden_size: units of the encoder; the LSTM has as many in each direction.
        attention_type: `additive` (w₂·tanh(W₁h + b₁), Bahdanau), `dot` (a learned query, h·q / √H), `uniform`
            (every token the same), or `imposed` (no attention of its own: `forward` must be given one).
        dropout: on the embeddings and on the pooled vector, in training only.
        embedding_std: standard deviation of the embedding's normal initialisation. The papers' code takes 1, which
            overfits sooner: on SST without word vectors the lowest validation loss is higher.
        excluded_token_ids: tokens that the encoder reads but that never get attention: special tokens a tokenizer
            adds, such as `[CLS]` and `[SEP]`.
        init_seed: the seed the weights were drawn under, where known. An adversary with the start `same-seed`
            begins from it.
        adversarial_attention: trained as an adversary, to attend elsewhere than its base does: its attention is
            misleading on purpose, and its model card says so.

    Raises:
        StrictDataclassError: for a field of the wrong type, an unknown attention type, fewer than two labels.
    """

    vocab_size: int = 30000
    embedding_size: int = 300
    hidden_size: int = 128
    attention_type: Literal["additive", "dot", "uniform", "imposed"] = "additive"
    dropout: float | int = 0.0
    embedding_std: float | int = 0.1
    pad_token_id: int = 0
    excluded_token_ids: list[int] | tuple[int, ...] = ()
    init_seed: int | None = None
    adversarial_attention: bool = False

    # This file lies beside every configuration that is saved.
    _auto_class: ClassVar[str | None] = "AutoConfig"
    # Trainer gathers every other output at evaluation; ragged attention would be padded with -100.
    keys_to_ignore_at_inference = ["attentions", "hidden_states", "token_log_attention"]  # noqa: RUF012

    def validate_labels(self):
        if self.num_labels < 2:
            raise ValueError(f"num_labels is {self.num_labels}: a classifier needs at least two labels.")


@strict
class LstmAttentionConfig(AttentionClassifierConfig):
    """A bidirectional LSTM under attention: the classifier of both papers (Jain & Wallace 2019, section 3)."""

    model_type = "lstm_attention"

    @property
    def encoder_size(self) -> int:
        return 2 * self.hidden_size


@strict
class MlpAttentionConfig(AttentionClassifierConfig):
    """A token-wise affine layer and tanh under attention, no context (Wiegreffe & Pinter 2019, section 3.4)."""

    model_type = "mlp_attention"

    @property
    def encoder_size(self) -> int:
        return self.hidden_size
