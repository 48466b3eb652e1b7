"""Train one model that agrees with a base in output and differs from it in attention over a whole dataset."""

import copy
from typing import Literal

import datasets
import torch
from transformers import EarlyStoppingCallback, PreTrainedModel, set_seed

from .. import divergences
from ..attention.readout import Readout
from ..data.word_vectors import WordVectors
from ..errors import InputError
from ..models.architectures import is_ours
from ..prediction import evaluating, with_base_outputs
from ..recipes import AdversarialTrainingArguments
from .classification import ClassificationTrainer, new_classifier
from .fine_tuning import fine_tuned_adversary

Start = Literal["other-seed", "same-seed", "warm"]


def new_adversary(
    base_model: PreTrainedModel | Readout,
    start: Start = "other-seed",
    seed: int = 1,
    word_vectors: WordVectors | None = None,
    pretrained: str | None = None,
    trainable_layers: int | None = None,
) -> PreTrainedModel:
    """A model of the base's architecture, ready to become its adversary.

    Args:
        base_model: the classifier under audit; a transformer as its `Readout`.
        start: `other-seed`: weights drawn under `seed`; `same-seed`: the base's initial weights, drawn under its
            `config.init_seed`, as in the paper's code; `warm`: the base's trained weights with the attention layer
            drawn anew under `seed` (an exact copy has zero gradient and cannot move).
        seed: not used by `same-seed`.
        word_vectors: the vectors the base started from, if it did (not used by `warm`).
        pretrained: of a transformer, what it was fine-tuned from: `other-seed` starts there with a head drawn under
            `seed`. Its `warm` start draws the query and key weights of the last layer anew.
        trainable_layers: of a transformer, how many layers, counted from the last, may change; by default all.

    Returns:
        The model in float32 with everything trainable, whatever the base's precision and wherever it is frozen.

    Raises:
        InputError: the base has no attention of its own, or is quantised; `other-seed` with the base's seed;
            `same-seed` where the base does not know its seed.
    """
    if isinstance(base_model, Readout):
        return fine_tuned_adversary(base_model, start, seed, pretrained, trainable_layers)
    if not is_ours(base_model.config):
        raise InputError(f"`base_model` is a {type(base_model).__name__}: give Readout(base_model, tokenizer).")
    config = copy.deepcopy(base_model.config)
    if config.attention_type not in ("additive", "dot"):
        raise InputError(
            f"The base model's attention type is `{config.attention_type}`: an adversary needs attention it can move; "
            "take a base with `additive` or `dot` attention."
        )
    if hasattr(config, "quantization_config"):
        raise InputError("The base model is quantised, which cannot be trained on: load it without quantisation.")
    if start == "warm":
        model = new_classifier(type(base_model), config, seed)
        try:
            model.load_state_dict(base_model.state_dict())
        except RuntimeError as error:
            raise InputError(
                "The base model's weights are not those of its architecture: start from a base that is not quantised "
                "or changed otherwise, or take another start."
            ) from error
        set_seed(seed)
        for name, module in model.named_children():
            if name.startswith("attention_"):
                module.reset_parameters()
        return model
    if start == "same-seed":
        if config.init_seed is None:
            raise InputError("`start` same-seed: the base's config.json has no `init_seed`; take other-seed or warm.")
        seed = config.init_seed
    elif seed == config.init_seed:
        raise InputError(f"`seed` {seed} is the base's own: take another, or the start same-seed.")
    return new_classifier(type(base_model), config, seed, word_vectors)


class ModelConsistentAdversarialTrainer(ClassificationTrainer):
    """Trains `model` on `mean_i [ TVD(ŷ_a, ŷ_b) − λ KL(α_a ‖ α_b) ]` (Wiegreffe & Pinter 2019, section 4, equation 1).

    The frozen base's outputs are computed once for each `datasets.Dataset` and kept as columns, and batch by batch for
    other kinds of dataset. TVD, KL and JSD (nats) are logged beside the loss; selection and early stopping go by the
    validation objective. No labels are needed.

    Args:
        model: the adversary; see `new_adversary`.
        base_model: the classifier under audit, never `model` itself; a transformer as its `Readout`.
        args: `AdversarialTrainingArguments`.
        train_dataset, eval_dataset: encoded datasets.
        **kwargs: the rest of `Trainer`'s arguments, such as `model_init` instead of `model`.

    Raises:
        InputError: `base_model is model`, or they differ in labels, in vocabulary or in the tokens that get attention;
            arguments that an adversary has no use for.

    Example:
        >>> base = AutoModelForSequenceClassification.from_pretrained("me/sst-base")             # doctest: +SKIP
        >>> trainer = ModelConsistentAdversarialTrainer(                                         # doctest: +SKIP
        ...     model=new_adversary(base), base_model=base, args=AdversarialTrainingArguments("adversary"),
        ...     train_dataset=data["train"], eval_dataset=data["validation"])
    """

    args: AdversarialTrainingArguments
    base_model: PreTrainedModel | Readout

    def __init__(
        self,
        model: PreTrainedModel | None = None,
        base_model: PreTrainedModel | Readout | None = None,
        args: AdversarialTrainingArguments | None = None,
        train_dataset=None,
        eval_dataset=None,
        **kwargs,
    ):
        if base_model is None:
            raise InputError("`base_model` is missing: give the classifier under audit.")
        if not isinstance(args, AdversarialTrainingArguments):
            raise InputError(
                f"`args` is {type(args).__name__}, which has no `kl_weight`: give AdversarialTrainingArguments."
            )
        if kwargs.get("compute_loss_func") is not None:
            raise InputError(
                "`compute_loss_func`: an adversary's loss is its objective; for another one override `instance_losses`."
            )
        if not (isinstance(base_model, Readout) or is_ours(base_model.config)):
            raise InputError(f"`base_model` is a {type(base_model).__name__}: give Readout(base_model, tokenizer).")
        if isinstance(base_model, Readout) and base_model.rollout:
            raise InputError("`base_model` is read by rollout, which is to be looked at alone: give a plain Readout.")
        self.args, self.base_model = args, base_model.to(args.device)  # type: ignore[arg-type]
        if model is not None:
            self._check_adversary(model)
        train_dataset, eval_dataset = self._with_base_outputs(train_dataset), self._with_base_outputs(eval_dataset)
        kwargs.setdefault("compute_metrics", _mean_divergences)
        super().__init__(model, args, train_dataset, eval_dataset, **kwargs)
        if eval_dataset is not None and args.load_best_model_at_end:
            self.add_callback(EarlyStoppingCallback(args.early_stopping_patience))
        self.readout = self._readout_of(self.model)
        self._sums = torch.zeros(4, device=args.device)

    def call_model_init(self, trial=None):
        model = super().call_model_init(trial)
        self._check_adversary(model)
        self.readout = self._readout_of(model)
        return model

    def _readout_of(self, model: PreTrainedModel) -> Readout | None:
        base = self.base_model
        return Readout(model, base.tokenizer, uniform=False) if isinstance(base, Readout) else None

    def _check_adversary(self, model: PreTrainedModel) -> None:
        if model is (self.base_model.model if isinstance(self.base_model, Readout) else self.base_model):
            raise InputError(
                "base_model is model: an adversary must be another model; new_adversary(base_model) makes one."
            )
        base_facts = _comparable(self.base_model.config)
        for name, value in _comparable(model.config).items():
            if value != base_facts[name]:
                raise InputError(
                    f"The adversary's {name} is {value}, the base's {base_facts[name]}: make it with "
                    "new_adversary(base)."
                )
        model.config.adversarial_attention = True
        model.add_model_tags(["hf-attn-faith", "adversarial-attention"])

    def _with_base_outputs(self, dataset):
        """For a dataset, for each of a dictionary of them; Trainer's own names of datasets, None, and datasets whose
        rows come one by one as they are."""
        if isinstance(dataset, dict):
            return {name: self._with_base_outputs(part) for name, part in dataset.items()}
        if not isinstance(dataset, datasets.Dataset):
            return dataset
        batch_size, progress = self.args.per_device_eval_batch_size, not self.args.disable_tqdm
        return with_base_outputs(dataset, self.base_model, batch_size, progress)

    def get_eval_dataloader(self, eval_dataset=None):
        if eval_dataset is not self.eval_dataset:  # Trainer hands over its own at every epoch
            eval_dataset = self._with_base_outputs(eval_dataset)
        return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset):
        return super().get_test_dataloader(self._with_base_outputs(test_dataset))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return super().compute_loss(model, self._with_base_of_batch(inputs), return_outputs, num_items_in_batch)

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        inputs = self._with_base_of_batch(self._prepare_inputs(inputs))
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def _with_base_of_batch(self, inputs: dict) -> dict:
        if "base_probabilities" in inputs:
            return inputs
        with evaluating(self.base_model):
            output = self.base_model(**self.model_inputs(inputs))
        return inputs | {
            "base_probabilities": output.logits.float().softmax(-1),
            "base_token_log_attention": output.token_log_attention,
        }

    def _set_signature_columns_if_needed(self):
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            self._signature_columns += ["base_probabilities", "base_token_log_attention"]

    def instance_losses(self, inputs, outputs) -> torch.Tensor:
        """TVD − λ KL of every row, (B,); leaves the divergences in `outputs`."""
        mask = outputs.token_log_attention > torch.finfo(torch.float32).min
        base_log_attention = inputs["base_token_log_attention"]
        tvd = divergences.tvd(outputs.logits.float().softmax(-1), inputs["base_probabilities"])
        kl = divergences.kl(outputs.token_log_attention, base_log_attention, mask, log=True)
        with torch.no_grad():
            jsd = divergences.jsd(outputs.token_log_attention, base_log_attention, mask, log=True)
            outputs["divergences"] = torch.stack([tvd, kl, jsd], dim=-1)
            if self.model.training:
                self._sums += torch.cat(
                    [outputs["divergences"].sum(0), mask.new_full((1,), len(mask), dtype=torch.float32)]
                )
        return tvd - self.args.kl_weight * kl

    def log(self, logs, *args, **kwargs):
        if "loss" in logs:
            sums = self.accelerator.reduce(self._sums, "sum").tolist()
            logs |= {name: total / sums[-1] for name, total in zip(("tvd", "kl", "jsd"), sums[:-1], strict=True)}
            self._sums.zero_()
        super().log(logs, *args, **kwargs)


def _comparable(config) -> dict:
    """What an adversary must share with its base, for their divergences to be defined."""
    text = config.get_text_config()
    facts = {"vocab_size": text.vocab_size, "id2label": config.id2label, "pad_token_id": text.pad_token_id}
    return facts | ({"excluded_token_ids": sorted(config.excluded_token_ids)} if is_ours(config) else {})


def _mean_divergences(prediction) -> dict[str, float]:
    _, divergences_of_rows = prediction.predictions
    return dict(zip(("tvd", "kl", "jsd"), divergences_of_rows.mean(0).tolist(), strict=True))
