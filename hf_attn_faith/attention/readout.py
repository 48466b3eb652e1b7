"""The attention of any transformers classifier that may be read as an explanation, and what it says under another.

Which of a transformer's weights are *the* attention is a choice: here the row of the pooling position (the first token,
or the last one of a decoder) in the last layer, averaged over the heads, special tokens left out. It is the only
readout with a well-defined intervention: what lies behind it is a function of this row and of the values it weighs.

Nothing is known of architectures: a probe finds the pooling position and the last attention. Nothing is written into
the model either: for the time of a pass transformers is told to compute attention by a function of this module, and
where a model does not ask it for that (DeBERTa, MPNet), its softmax is watched.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ..data.tokenizer import special_token_ids
from ..errors import InputError
from ..models.modeling_attention_classifier import AttentionClassifierOutput
from .weights import LOG_ZERO, token_log_attention
from .weights import uniform as uniform_row

IMPLEMENTATION = "hf_attn_faith_readout"
# Rounding of a pass in float32, and far less than any mistake in reading makes.
TOLERANCE = 1e-4
SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)


@dataclass
class ReadoutOutput(AttentionClassifierOutput):
    """`AttentionClassifierOutput` and, beside it, `log_weights`: the row of each head, (B, H, T), in nats, special
    tokens and all, `torch.finfo(torch.float32).min` where the row sees nothing; and `special_share` (B,), the share of
    the row, in the mean over the heads, that lies on special tokens."""

    log_weights: torch.FloatTensor = None  # type: ignore[assignment]
    special_share: torch.FloatTensor = None  # type: ignore[assignment]


@dataclass
class States:
    """What the output of a frozen model depends on once its last attention is imposed, for B texts of T tokens.

    Args:
        input_ids, attention_mask: (B, T).
        log_weights: (B, H, T), the model's own row of each head, as in `ReadoutOutput`.
        content: (B, T), bool: the tokens that may get attention.
        values: (B, H, T, D), what the row weighs.
        residual: (B, W), the last layer's input at the pooling position. Both None where the model has to be run in
            full for every attention.
    """

    input_ids: Tensor
    attention_mask: Tensor
    log_weights: Tensor
    content: Tensor
    values: Tensor | None
    residual: Tensor | None


@dataclass
class _Pass:
    """One forward pass.

    Args:
        pooled: (B,), the pooling position; None for the mean over all tokens, whose mask is `real` (B, T).
        calls: at which call of attention to read; None to count alone.
        rollout: read every call, and how attention gets through all of them.
        impose: from the log weights of the rows that are read, (B, H, Q, T), the weights to take instead.
        mixed: (B, 1, H, D), what the last attention is to return, in the pass of one row.
        log_weights: (B, H, T), what was in force in the pooling position's row, or in the mean over all rows.
    """

    pooled: Tensor | None = None
    real: Tensor | None = None
    calls: int | None = None
    rollout: bool = False
    impose: Callable[[Tensor], Tensor] | None = None
    mixed: Tensor | None = None
    seen: int = 0
    log_weights: Tensor | None = None
    values: Tensor | None = None
    rolled: Tensor | None = None

    def read(self, scores: Tensor, visible: Tensor) -> Tensor | None:
        """Keeps the log weights that follow from the scores (B, H, Q, T) of the `rows` and where they count; returns
        the weights (B, H, Q, T) that are imposed, if any are."""
        visible = visible.expand_as(scores)
        log_weights = scores.float().masked_fill(~visible, LOG_ZERO).log_softmax(-1).masked_fill(~visible, LOG_ZERO)
        imposed = None if self.impose is None else self.impose(log_weights)
        if imposed is not None:
            log_weights = imposed.float().log().clamp_min(LOG_ZERO)
        if self.rollout:
            through = (log_weights.exp().mean(1, keepdim=True) + torch.eye(log_weights.shape[-1]).to(scores.device)) / 2
            self.rolled = through if self.rolled is None else through @ self.rolled
            log_weights = self.rolled.log().clamp_min(LOG_ZERO)
        if self.pooled is None:
            queries = self.real[:, None, :, None].float()  # type: ignore[index]
            self.log_weights = ((log_weights.exp() * queries).sum(2) / queries.sum(2)).log().clamp_min(LOG_ZERO)
        else:
            self.log_weights = _rows(log_weights, self.pooled).squeeze(2)
        return imposed

    @property
    def reads(self) -> bool:
        """Whether the attention that was seen last is to be read."""
        return self.rollout or self.seen == self.calls

    @property
    def rows(self) -> Tensor | None:
        """Which rows are read: the pooling position's; None for all."""
        return None if self.rollout else self.pooled


_PASS: ContextVar[_Pass] = ContextVar("pass")


def _rows(tensor: Tensor, pooled: Tensor | None) -> Tensor:
    """(B, H, Q, X) -> (B, H, 1, X), the row of the pooling position; all rows where there is none."""
    if pooled is None or tensor.shape[2] == 1:
        return tensor
    return tensor.gather(2, pooled.view(-1, 1, 1, 1).expand(-1, tensor.shape[1], 1, tensor.shape[3]))


def _attention(module, query, key, value, attention_mask, **kwargs):
    """Attention as sdpa computes it; of the last one the row is read, and imposed."""
    run = _PASS.get()
    run.seen += 1
    if run.mixed is not None:
        return run.mixed, None
    output = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)[0]
    if not run.reads:
        return output, None
    groups = query.shape[1] // key.shape[1]
    key, run.values = repeat_kv(key, groups), repeat_kv(value, groups)
    scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
    scores = _rows(query, run.rows) @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        mask = _rows(attention_mask.expand(len(query), -1, -1, -1), run.rows)
        visible = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
        scores = scores if mask.dtype == torch.bool else scores + mask
    else:
        visible = torch.ones_like(scores, dtype=torch.bool)
        causal = kwargs.get("is_causal")
        if query.shape[2] > 1 and (module.is_causal if causal is None else causal):
            place = torch.arange(key.shape[2], device=key.device)
            visible = place <= (place[:, None] if run.rows is None else run.rows.view(-1, 1, 1, 1))
    weights = run.read(scores, visible)
    if weights is not None:
        mixed = (weights.to(run.values.dtype) @ run.values).transpose(1, 2)
        output = _with_row(output, mixed, run.pooled, dim=1)
    return output, None


def _with_row(tensor: Tensor, row: Tensor, pooled: Tensor | None, dim: int) -> Tensor:
    """The tensor with this row, of length 1 in `dim`, at the pooling position; where there is none, the row is all."""
    if pooled is None:
        return row.to(tensor.dtype)
    places = pooled.view(-1, *[1] * (tensor.dim() - 1)).expand_as(row)
    return tensor.scatter(dim, places, row.to(tensor.dtype))


class _WatchedSoftmax(TorchFunctionMode):
    """Sees the softmax of models that compute attention by themselves."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func not in SOFTMAX or args[0].dim() != 4:
            return func(*args, **kwargs)
        run, scores = _PASS.get(), args[0]
        run.seen += 1
        weights = func(*args, **kwargs)
        if run.reads and scores.shape[2] == scores.shape[3]:
            rows = _rows(scores, run.rows)
            imposed = run.read(rows, rows > torch.finfo(scores.dtype).min / 2)
            if imposed is not None:
                weights = _with_row(weights, imposed, run.pooled, dim=2)
        return weights


AttentionInterface.register(IMPLEMENTATION, _attention)
# Without it transformers would hand over no mask, and padding would be read.
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)


class Readout:
    """A transformers classifier, read as this package reads its own: call it with a batch and it returns, beside the
    logits, the token attention.

    Args:
        model: any `AutoModelForSequenceClassification` of one label a text.
        tokenizer: its tokenizer, which knows the special tokens.
        uniform: under a uniform row of the last attention, over all that it sees: how the baseline without learnt
            attention is trained and run. Taken from `config.uniform_readout` where that is there.
        rollout: read attention rollout instead of the last row (Abnar & Zuidema 2020): how attention gets from the
            pooling position through all layers, A = ½ (mean over the heads) + ½ I in each. To be looked at alone.

    Attributes:
        pooling: `first` or `last` token, or the `mean` over all, of which the mean row is read.
        layers, heads: how many.
        one_row: whether what the model says under another attention takes one token through its last layer, and not
            the whole text through all of them.

    Raises:
        InputError: there is no readout: an encoder-decoder, regression, several labels a text, no attention that can
            be seen, a tokenizer of another vocabulary, no pad token; rollout of a uniform readout, or of a model some
            of whose layers do not attend.

    Example:
        >>> readout = Readout(model, tokenizer)                                          # doctest: +SKIP
        >>> readout(**tokenizer("a fine film", return_tensors="pt")).token_log_attention  # doctest: +SKIP
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        uniform: bool | None = None,
        rollout: bool = False,
    ):
        self.model, self.config, self.tokenizer = model, model.config, tokenizer
        self.special_ids = special_token_ids(tokenizer)
        self.uniform = vars(self.config).get("uniform_readout", False) if uniform is None else uniform
        self.rollout = False  # not for the probe
        _check(model, tokenizer)
        self.pad_token_id = self.config.get_text_config().pad_token_id
        parameters = inspect.signature(model.forward).parameters
        self._arguments = {"use_cache": False} if "use_cache" in parameters else {}
        self._probe()
        if rollout:
            if self.uniform:
                raise InputError("There is no rollout of a model that was fine-tuned under a uniform row: read that.")
            if self.layers != self.config.get_text_config().num_hidden_layers:
                raise InputError(
                    f"The model ({self.config.model_type}) has layers without attention, so that there is no rollout: "
                    "read the row of its last attention."
                )
            self.rollout = True

    # What analyses ask of any model

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def labels(self) -> list[str]:
        """Their names, in order."""
        return [self.config.id2label[number] for number in range(self.config.num_labels)]

    @property
    def training(self) -> bool:
        return self.model.training

    def train(self, mode: bool = True) -> "Readout":
        self.model.train(mode)
        return self

    def to(self, device) -> "Readout":
        self.model.to(device)
        return self

    def eval(self) -> "Readout":
        return self.train(False)

    def attendable(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Which tokens may get attention: (B, T), bool. Everything but padding and special tokens."""
        special = torch.tensor(self.special_ids, device=input_ids.device, dtype=input_ids.dtype)
        return attention_mask.bool() & ~torch.isin(input_ids, special)

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        imposed_weights: Tensor | None = None,
        through: nn.Module | None = None,
        return_dict: bool = True,
    ) -> ReadoutOutput:
        """Classify a batch of texts, padded on the right.

        Args:
            input_ids, attention_mask, token_type_ids: (B, T), as the tokenizer gives them.
            imposed_weights: (B, H, T), probabilities that each head's row is to have.
            through: the model as a trainer has wrapped it.

        Raises:
            InputError: texts longer than the model has positions; imposed weights where none can be imposed.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        run = self._new_pass(input_ids, attention_mask)
        run.rollout = self.rollout
        if imposed_weights is not None:
            self.require_imposing()
            run.impose = lambda log_weights: imposed_weights.unsqueeze(2)
        elif self.uniform:
            run.impose = uniform_row
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self._run(run, input_ids, attention_mask, through or self.model, **types)
        content = self.attendable(input_ids, attention_mask)
        return ReadoutOutput(
            logits=output.logits,
            token_log_attention=token_log_attention(run.log_weights, content),
            log_weights=run.log_weights,
            special_share=1 - (run.log_weights.detach().exp().mean(1) * content).sum(-1),
        )

    # Under another attention

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> States:
        """The states of a batch; without gradients."""
        self.require_imposing()
        run = self._new_pass(input_ids, attention_mask)
        residual: list[Tensor] = []

        def keep(module, args, kwargs):
            hidden = args[0] if args else kwargs["hidden_states"]
            residual.append(hidden[torch.arange(len(hidden), device=hidden.device), run.pooled])

        hook = self._last_layer.register_forward_pre_hook(keep, with_kwargs=True) if self.one_row else None
        try:
            with torch.no_grad():
                self._run(run, input_ids, attention_mask, self.model)
        finally:
            if hook is not None:
                hook.remove()
        return States(
            input_ids, attention_mask, run.log_weights, self.attendable(input_ids, attention_mask),
            run.values if self.one_row else None, residual[-1] if self.one_row else None,
        )  # fmt: skip

    def classify(self, states: States, weights: Tensor) -> Tensor:
        """Logits under other weights, probabilities of each head's row: (B, H, T) -> (B, C), or several for each text,
        (K, B, H, T) -> (K, B, C). Differentiable in the weights."""
        if weights.dim() == 4 and not self.one_row:
            return torch.stack([self.classify(states, each) for each in weights])
        if not self.one_row:
            return self(states.input_ids, states.attention_mask, imposed_weights=weights).logits  # type: ignore
        mixed = torch.einsum("...bht,bhtd->...bhd", weights.to(states.values.dtype), states.values)
        residual = states.residual.expand(*mixed.shape[:-2], -1)
        logits = self._classify_row(residual.flatten(0, -2), mixed.flatten(0, -3).unsqueeze(1))
        return logits.view(*mixed.shape[:-2], -1)

    def _classify_row(self, residual: Tensor, mixed: Tensor) -> Tensor:
        """One token a text, whose input to the last layer is `residual`, and what attention gives it `mixed`."""

        def replace(module, args, kwargs):
            hidden = residual.unsqueeze(1)
            return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

        # What stands there is replaced; it only must not be padding.
        ids = torch.full((len(residual), 1), self._any_id, device=residual.device)
        parent, name = self._layers
        layers = getattr(parent, name)
        hook = self._last_layer.register_forward_pre_hook(replace, with_kwargs=True)
        setattr(parent, name, nn.ModuleList([self._last_layer]))
        try:
            return self._run(_Pass(calls=1, mixed=mixed), ids, torch.ones_like(ids), self.model).logits
        finally:
            setattr(parent, name, layers)
            hook.remove()

    # Gradients

    def gradient_times_input(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """|Σ_d g_t,d x_t,d| of each token, (B, T), as in `analyses.importance`, through everything that depends on the
        embedding x, the attention of all layers too."""
        embeddings: list[Tensor] = []

        def leaf(module, args, output):
            embeddings.append(output.detach().requires_grad_())
            return embeddings[-1]

        hook = self.model.get_input_embeddings().register_forward_hook(leaf)
        try:
            with torch.enable_grad():
                logits = self(input_ids, attention_mask).logits
                predicted = logits.double().softmax(-1).max(-1).values
                (gradient,) = torch.autograd.grad(predicted.sum(), embeddings[-1])
        finally:
            hook.remove()
        return (gradient.float() * embeddings[-1].detach().float()).sum(-1).abs()

    def of_probe(self) -> ReadoutOutput:
        """What the model, in evaluation mode, says of the two texts of the probe, differentiable in its weights."""
        was_training = self.training
        self.eval()
        try:
            return self(*self._probed)
        finally:
            self.train(was_training)

    # A pass, and what a probe finds

    def _new_pass(self, input_ids: Tensor, attention_mask: Tensor) -> _Pass:
        if self.pooling == "mean":
            return _Pass(None, attention_mask.bool(), self._calls)
        if self.pooling == "first":
            pooled = torch.zeros(len(input_ids), dtype=torch.long, device=input_ids.device)
        else:  # as transformers finds it: the last token that is no padding by its number
            place = torch.arange(input_ids.shape[1], device=input_ids.device)
            pooled = (place * (input_ids != self.pad_token_id)).argmax(-1)
        return _Pass(pooled, calls=self._calls)

    def _run(self, run: _Pass, input_ids: Tensor, attention_mask: Tensor, model, **types: Tensor):
        with self._tapped(run):
            try:
                more = {**self._arguments, **types}
                return model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **more)
            except (IndexError, RuntimeError) as error:
                positions = self.config.get_text_config().to_dict().get("max_position_embeddings", math.inf)
                if isinstance(error, RuntimeError) and input_ids.shape[1] <= positions:
                    raise
                raise InputError(
                    f"The model cannot read a text of {input_ids.shape[1]} tokens, for which it has no positions or no "
                    "vocabulary: give a smaller `max_length`, and the model's own tokenizer."
                ) from error

    @contextmanager
    def _tapped(self, run: _Pass) -> Iterator[None]:
        before = self.config._attn_implementation
        token = _PASS.set(run)
        try:
            if self._tap == "interface":
                self.model.set_attn_implementation(IMPLEMENTATION)
                yield
            else:
                if before != "eager":
                    self.model.set_attn_implementation("eager")
                with _WatchedSoftmax():
                    yield
        finally:
            _PASS.reset(token)
            if self.config._attn_implementation != before:
                self.model.set_attn_implementation(before)

    @property
    def no_imposing(self) -> str | None:
        """Why no attention can be imposed on the frozen model; None where it can."""
        if self.rollout:
            return "Rollout is read off all layers and can be imposed on none: take the row of the last one."
        if self.pooling == "mean":
            return (
                f"The model ({self.config.model_type}) averages over all tokens after its last attention, so that no "
                "single row of it could be replaced."
            )
        return None

    def require_imposing(self) -> None:
        """Raises `InputError` where no attention can be imposed."""
        if self.no_imposing is not None:
            raise InputError(self.no_imposing)

    def _probe(self) -> None:
        """Finds the pooling position and the last attention, and whether a pass of one row tells the truth.

        Raises:
            InputError: what the model says under its own attention, imposed, is something else.
        """
        self.pooling: Literal["first", "last", "mean"] = "mean"
        self._calls: int | None = None
        self.one_row = False
        self._generator = torch.Generator().manual_seed(0)
        vocabulary = self.model.get_input_embeddings().weight.shape[0]
        usual = [n for n in range(min(vocabulary, 20_000)) if n not in {*self.special_ids, self.pad_token_id}]
        ids = torch.tensor(usual)[torch.randint(len(usual), (2, 7), generator=self._generator)].to(self.device)
        self._any_id = int(ids[0, 0])
        mask = torch.ones_like(ids)
        ids[1, 5:], mask[1, 5:] = self.pad_token_id, 0  # two texts, of 7 and 5 tokens
        self._probed = ids, mask
        was_training = self.training
        self.eval()
        try:
            self._find_attention(ids, mask)
            self._find_pooling(ids, mask)
            self._find_layers()
            with torch.no_grad():
                self._check_identity(ids, mask)
        finally:
            self.train(was_training)

    def _find_attention(self, ids: Tensor, mask: Tensor) -> None:
        for self._tap in ("interface", "softmax"):
            if self._tap == "interface" and not self.model._can_set_attn_implementation():
                continue
            run = _Pass()
            try:
                with torch.no_grad():
                    self._run(run, ids, mask, self.model)
            except ValueError:  # sdpa does not know what this attention does to its scores
                continue
            if run.seen:
                self._calls = self.layers = run.seen
                return
        raise _refusal(self.model, "has no attention that can be seen")

    def _find_pooling(self, ids: Tensor, mask: Tensor) -> None:
        """By which of the last hidden states the logits move."""
        hidden: list[Tensor] = []
        hook = self.model.base_model.register_forward_hook(lambda module, args, output: hidden.append(output[0]))
        try:
            with torch.enable_grad():
                frozen = [p for p in self.model.parameters() if not p.requires_grad]
                for parameter in frozen:
                    parameter.requires_grad_(True)
                logits = self._run(_Pass(), ids, mask, self.model).logits
                weighed = logits.float() * torch.randn(logits.shape, generator=self._generator).to(logits.device)
                (gradient,) = torch.autograd.grad(weighed.sum(), hidden[-1], allow_unused=True)
        finally:
            hook.remove()
            for parameter in frozen:
                parameter.requires_grad_(False)
        if gradient is None or gradient.shape[:2] != ids.shape:
            raise _refusal(self.model, "pools in a way that the probe does not see")
        moved = gradient.abs().sum(-1) > 0
        if moved[:, 0].all() and moved.sum() == 2:
            self.pooling = "first"
        elif moved[0, 6] and moved[1, 4] and moved.sum() == 2:
            self.pooling = "last"
        elif not torch.equal(moved, mask.bool()):
            raise _refusal(self.model, "pools neither one token nor the mean of all")

    def _find_layers(self) -> None:
        """The list of layers, where it has one for each attention."""
        for name, module in self.model.named_modules():
            if isinstance(module, nn.ModuleList) and len(module) == self._calls:
                parent, _, attribute = name.rpartition(".")
                self._layers = self.model.get_submodule(parent), attribute
                return
        self._layers = None

    @property
    def layer_list(self) -> nn.ModuleList | None:
        """The layers, first to last; None where the model shares one among several attentions."""
        return None if self._layers is None else getattr(*self._layers)

    @property
    def _last_layer(self) -> nn.Module:
        return self.layer_list[-1]

    def _check_identity(self, ids: Tensor, mask: Tensor) -> None:
        with torch.no_grad():
            plain = self.model(input_ids=ids, attention_mask=mask, return_dict=True, **self._arguments).logits.float()
        run, imposed = self._new_pass(ids, mask), self._new_pass(ids, mask)
        imposed.impose = torch.exp  # its own weights
        checked = [self._run(each, ids, mask, self.model).logits for each in (run, imposed)]
        if run.log_weights is None:
            raise _refusal(self.model, "has no attention of all tokens to all")
        self.heads = run.log_weights.shape[1]
        if self.uniform:
            return
        tolerance = TOLERANCE * (1 + plain.abs().max())
        if self.model.dtype != torch.float32:
            tolerance = torch.finfo(self.model.dtype).eps ** 0.5 * (1 + plain.abs().max())
        for logits in checked:
            if (logits.float() - plain).abs().max() > tolerance:
                raise _refusal(self.model, "does more with its attention than weigh values by it")
        if self.pooling != "mean" and self._tap == "interface" and self._layers is not None:
            self.one_row = True
            logits = self.classify(self.encode(ids, mask), run.log_weights.exp())
            self.one_row = bool((logits.float() - plain).abs().max() <= tolerance)


def _check(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    config = model.config
    if config.is_encoder_decoder:
        raise _refusal(model, "is an encoder-decoder, whose attention is not one row a text")
    if config.num_labels < 2:
        raise _refusal(model, "has one output, a regression")
    if config.problem_type == "multi_label_classification":
        raise _refusal(model, "gives a text several labels")
    if config.get_text_config().pad_token_id is None:
        raise InputError(
            f"The model ({config.model_type}) has no `pad_token_id` in its configuration: set it, and the tokenizer's "
            "pad token, to a token that texts do not contain."
        )
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > vocabulary:
        raise InputError(
            f"The tokenizer has {len(tokenizer)} tokens, the model ({config.model_type}) {vocabulary}: give the "
            "model's own tokenizer."
        )


def _refusal(model: PreTrainedModel, why: str) -> InputError:
    return InputError(
        f"The model ({model.config.model_type}) {why}: give a classifier of one label a text, such as BERT, RoBERTa, "
        "DeBERTa-v2, ModernBERT, or a decoder with a classification head."
    )
