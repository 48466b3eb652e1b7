"""Attention classifiers in three verbs: encode, attend, classify. This file travels to the Hub: torch and
transformers only."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_attention_classifier import AttentionClassifierConfig, LstmAttentionConfig, MlpAttentionConfig

# The logarithm of no attention: exp gives exactly 0, and unlike -inf it keeps gradients finite.
LOG_ZERO = torch.finfo(torch.float32).min


@dataclass
class AttentionClassifierOutput(SequenceClassifierOutput):
    """`SequenceClassifierOutput` and, beside it, `token_log_attention`: the logarithm (nats) of the token attention,
    (B, T), float32, `torch.finfo(torch.float32).min` on padding."""

    token_log_attention: torch.FloatTensor | None = None


class AttentionClassifierModel(PreTrainedModel):
    """Base of the classifiers: a subclass defines `encode`, and nothing else."""

    config_class = AttentionClassifierConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = False
    # This file lies beside all weights that are saved.
    _auto_class = "AutoModelForSequenceClassification"  # type: ignore[assignment]

    def __init__(self, config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.dropout = nn.Dropout(config.dropout)
        if config.attention_type == "additive":
            self.attention_projection = nn.Linear(config.encoder_size, config.encoder_size // 2)
        if config.attention_type in ("additive", "dot"):
            # "dot": the query itself. "additive": w2; a bias would cancel in the softmax.
            width = config.encoder_size // 2 if config.attention_type == "additive" else config.encoder_size
            self.attention_query = nn.Linear(width, 1, bias=False)
        self.classifier = nn.Linear(config.encoder_size, config.num_labels)
        # In the metadata of whatever card it is published with.
        self.add_model_tags(["hf-attn-faith"] + ["adversarial-attention"] * config.adversarial_attention)

    def _init_weights(self, module):
        # PyTorch's own defaults, spelled out: transformers' differ between its minor versions.
        if isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=self.config.embedding_std)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.LSTM):
            for parameter in module.parameters(recurse=False):
                init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5)
        elif isinstance(module, nn.Linear):
            for parameter in module.parameters(recurse=False):
                init.uniform_(parameter, -(module.in_features**-0.5), module.in_features**-0.5)

    def get_input_embeddings(self):
        return self.embedding

    def set_input_embeddings(self, value):
        self.embedding = value

    def _upload_modified_files(self, working_dir, repo_id, *args, **kwargs):
        # `push_to_hub` calls this with all it is about to upload, among it a model card that says nothing.
        self.write_card(working_dir, repo_id)
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    def write_card(self, directory, repo_id=None, **training):
        """Writes a model card into the directory of a checkpoint, with what is known of its training: none by itself;
        the package puts what writes one in this place."""

    def embed(self, input_ids):
        """(B, T) -> (B, T, embedding_size)."""
        # A tokenizer returns float tensors for a batch without a single token.
        return self.embedding(input_ids.long())

    def attendable(self, input_ids, attention_mask):
        """Which tokens may get attention: (B, T), bool. Everything but padding and `config.excluded_token_ids`."""
        mask = attention_mask.bool()
        for token_id in self.config.excluded_token_ids:
            mask = mask & (input_ids != token_id)
        return mask

    def encode(self, embeddings, attention_mask):
        """Embeddings (B, T, embedding_size) and mask (B, T) -> hidden states (B, T, H), zero on padding."""
        raise NotImplementedError

    def attend(self, hidden, mask):
        """Hidden states (B, T, H) and the mask of attendable tokens (B, T) -> log of the token attention (B, T).

        float32; sums to one over the tokens of the mask after `exp`; `LOG_ZERO` elsewhere, and in every place of a
        text without tokens. Raises `ValueError` for the attention type `imposed`, which has no attention of its own.
        """
        match self.config.attention_type:
            case "additive":
                scores = self.attention_query(torch.tanh(self.attention_projection(hidden))).squeeze(-1)
            case "dot":
                scores = self.attention_query(hidden).squeeze(-1) * hidden.shape[-1] ** -0.5
            case "uniform":
                scores = hidden.new_zeros(hidden.shape[:2])
            case "imposed":
                raise ValueError(
                    "This model has the attention type `imposed` and no attention of its own: give forward() "
                    "`imposed_attention`, a (batch, tokens) tensor whose rows sum to one."
                )
        log_attention = F.log_softmax(scores.float().masked_fill(~mask, LOG_ZERO), dim=-1)
        return log_attention.masked_fill(~mask, LOG_ZERO)

    def classify(self, hidden, token_attention):
        """Hidden states (B, T, H) and token attention (B, T), probabilities -> logits (B, C). Linear in the pooled
        vector; a text without tokens gets the bias."""
        pooled = torch.bmm(token_attention.to(hidden.dtype).unsqueeze(1), hidden).squeeze(1)
        return self.classifier(self.dropout(pooled))

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        imposed_attention=None,
        labels=None,
        inputs_embeds=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        """Classify a batch of texts.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), 1 on tokens and 0 on padding; by default everything but `config.pad_token_id`.
            imposed_attention: (B, T), probabilities; replaces what `attend` would compute.
            labels: (B,), gives the mean cross-entropy as `loss`.
            inputs_embeds: (B, T, embedding_size) instead of `input_ids`. `config.excluded_token_ids` cannot be
                seen then: leave those tokens out.
            output_attentions: returns `attentions`, a 1-tuple of (B, heads=1, queries=1, T), zero on padding.
            output_hidden_states: returns `hidden_states`, a 1-tuple of (B, T, H), zero on padding.
            return_dict: `False` gives a tuple.

        Raises:
            ValueError: neither or both of `input_ids` and `inputs_embeds`; imposed attention of another shape, or
                none where the attention type is `imposed`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give forward() either `input_ids` or `inputs_embeds`, and not both.")
        if inputs_embeds is not None:
            if attention_mask is None:
                attention_mask = torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
            mask = attention_mask.bool()
        else:
            inputs_embeds = self.embed(input_ids)
            if attention_mask is None:
                attention_mask = (input_ids != self.config.pad_token_id).long()
            mask = self.attendable(input_ids, attention_mask)

        hidden = self.encode(inputs_embeds, attention_mask)
        if imposed_attention is None:
            log_attention = self.attend(hidden, mask)
        elif imposed_attention.shape != mask.shape:
            raise ValueError(
                f"imposed_attention has the shape {tuple(imposed_attention.shape)}, the batch {tuple(mask.shape)}: "
                "give one weight for every token, zero on padding."
            )
        else:
            log_attention = imposed_attention.float().log().clamp_min(LOG_ZERO).masked_fill(~mask, LOG_ZERO)
        token_attention = log_attention.exp()
        logits = self.classify(hidden, token_attention)

        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if return_dict is None:
            return_dict = self.config.return_dict
        output = AttentionClassifierOutput(
            loss=None if labels is None else F.cross_entropy(logits.float(), labels),
            logits=logits,
            hidden_states=(hidden,) if output_hidden_states else None,
            attentions=(token_attention[:, None, None, :],) if output_attentions else None,
            token_log_attention=log_attention,
        )
        return output if return_dict else output.to_tuple()


class LstmAttentionForSequenceClassification(AttentionClassifierModel):
    """Bidirectional LSTM, attention over its states, a linear layer: the classifier under audit in both papers."""

    config_class = LstmAttentionConfig

    def __init__(self, config):
        super().__init__(config)
        self.forward_lstm = nn.LSTM(config.embedding_size, config.hidden_size)
        self.backward_lstm = nn.LSTM(config.embedding_size, config.hidden_size)
        self.post_init()

    def encode(self, embeddings, attention_mask):
        """(B, T, embedding_size) -> (B, T, 2 · hidden_size), zero on padding. Equal to a packed bidirectional
        `nn.LSTM` with the same weights, and several times faster to train on a CPU.

        A bidirectional LSTM on padded input would be wrong: one of its directions starts on the padding. So each
        direction is a pass of its own over the tokens of every text, padding last, the second pass over them reversed.
        """
        if embeddings.shape[1] == 0:
            return embeddings.new_zeros(embeddings.shape[0], 0, self.config.encoder_size)
        embeddings = self.dropout(embeddings)
        mask = attention_mask.bool()
        # Wherever the padding stands; sorted by a key of 0 and 1, each text's tokens keep their order.
        tokens_first = torch.argsort((~mask).byte(), dim=1, stable=True)
        position = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        length = mask.sum(1, keepdim=True)
        reversed_tokens = torch.where(position < length, length - 1 - position, position)
        states = [
            _in_order(lstm, embeddings, order)
            for lstm, order in (
                (self.forward_lstm, tokens_first),
                (self.backward_lstm, tokens_first.gather(1, reversed_tokens)),
            )
        ]
        return torch.cat(states, dim=-1) * mask.unsqueeze(-1)


def _in_order(lstm, embeddings, order):
    """States (B, T, H) of an LSTM that reads the embeddings (B, T, E) of each text in the order (B, T) of its places.

    The LSTM wants time first: one copy of the embeddings, and one of the states, puts both in order and transposes.
    """
    batch, time = order.shape
    places = (order + time * torch.arange(batch, device=order.device).unsqueeze(1)).T.flatten()
    back = torch.empty_like(places).scatter_(0, places, torch.arange(batch * time, device=order.device))
    read = _Permutation.apply(embeddings.flatten(0, 1), places, back).view(time, batch, -1)
    try:
        states = lstm(read)[0]
    except RuntimeError:  # the fused layer has no rule for vmap, nor for forward-mode derivatives
        states = _step_by_step(lstm, read)
    return _Permutation.apply(states.flatten(0, 1), back, places).view(batch, time, -1)


def _step_by_step(lstm, embeddings):
    """`lstm(embeddings)[0]` of operations that every transformation of torch.func knows; slower."""
    state = cell = embeddings.new_zeros(embeddings.shape[1], lstm.hidden_size)
    states = []
    for gates in F.linear(embeddings, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0):
        admit, forget, new, show = (gates + F.linear(state, lstm.weight_hh_l0)).chunk(4, dim=-1)
        cell = forget.sigmoid() * cell + admit.sigmoid() * new.tanh()
        state = show.sigmoid() * cell.tanh()
        states.append(state)
    return torch.stack(states)


class _Permutation(torch.autograd.Function):
    """The rows of a matrix in another order. Gathers its gradient by the inverse order, which is faster than what
    `index_select` does: add it to zeros."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows, order, inverse):
        return rows.index_select(0, order)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, gradient):
        order, inverse = ctx.saved_tensors
        return _Permutation.apply(gradient, inverse, order), None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        order, inverse = ctx.saved_tensors
        return _Permutation.apply(tangent, order, inverse)


class MlpAttentionForSequenceClassification(AttentionClassifierModel):
    """A token-wise affine layer and tanh, attention, a linear layer: sees each token alone, so that what it can do
    with imposed weights says what the weights know (Wiegreffe & Pinter 2019, section 3.4)."""

    config_class = MlpAttentionConfig

    def __init__(self, config):
        super().__init__(config)
        self.affine = nn.Linear(config.embedding_size, config.hidden_size)
        self.post_init()

    def encode(self, embeddings, attention_mask):
        """(B, T, embedding_size) -> (B, T, hidden_size), zero on padding."""
        return torch.tanh(self.affine(self.dropout(embeddings))) * attention_mask.bool().unsqueeze(-1)
