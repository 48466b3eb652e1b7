"""Fine-tune transformers: as classifiers, under a uniform readout, and as adversaries of another one."""

import copy

import datasets
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ..arguments import FineTuningArguments
from ..attention.readout import Readout
from ..attention.weights import LOG_ZERO
from ..data.word_vectors import WordVectors
from ..errors import InputError
from ..recipes import fine_tuning_recipe
from ..specs import Start
from .classification import ClassificationTrainer


def pretrained_classifier(name: str, labels: list[str], seed: int) -> PreTrainedModel:
    """A pretrained transformer with a classification head whose weights are drawn under `seed`, in float32.

    Args:
        name: folder or repo on the Hub; safetensors only, and no remote code.

    Raises:
        InputError: it cannot be loaded as a classifier.
    """
    set_seed(seed)
    try:
        return AutoModelForSequenceClassification.from_pretrained(
            name,
            dtype=torch.float32,
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
            ignore_mismatched_sizes=True,  # the head of another task
            use_safetensors=True,
            trust_remote_code=False,
        )
    except Exception as error:  # whatever it may be: a folder or repo holds what somebody else put there
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise InputError(
            f"`base_model` {name} cannot be loaded ({reason}): give a pretrained transformer with model.safetensors, "
            "by folder or by the name of a Hub repo."
        ) from error


def fine_tuning_trainer(
    name: str,
    uniform: bool,
    train_dataset: datasets.Dataset,
    eval_dataset: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    settings: FineTuningArguments,
    output_dir: str,
    seed: int,
    **training_arguments,
) -> ClassificationTrainer:
    """A pretrained transformer for an encoded dataset and its trainer, ready for `train()`.

    Args:
        name: of the pretrained model.
        uniform: under a uniform row of its last attention, then and whenever it is read: what does a model lose that
            learns no attention there? Kept as `config.uniform_readout`.
        **training_arguments: further `ClassificationTrainingArguments`.
    """
    model = pretrained_classifier(name, train_dataset.features["label"].names, seed)
    readout = Readout(model, tokenizer)  # refuses before anything is trained
    if uniform:
        model.config.uniform_readout = readout.uniform = True
    arguments = fine_tuning_recipe(settings, output_dir, seed, **training_arguments)
    return ClassificationTrainer(
        model, arguments, train_dataset, eval_dataset, processing_class=tokenizer, readout=readout if uniform else None
    )


def fine_tuned_adversary(
    base: Readout, start: Start, seed: int, pretrained: str | None = None, trainable_layers: int | None = None
) -> PreTrainedModel:
    """A transformer ready to become the adversary of another: see `training.adversarial.new_adversary`.

    Args:
        pretrained: what the base was fine-tuned from, for a start from there with a new head.
        trainable_layers: how many layers, counted from the last, may change, and all that is behind them; by default
            everything may. With 1 no layer below can take another way.

    Raises:
        InputError: a start from the pretrained model without one; a warm start of a model that shares one layer
            among all its attentions; more layers than there are.
    """
    if start == "warm":
        model = copy.deepcopy(base.model).float()
        model.requires_grad_(True)
        redraw_attention(Readout(model, base.tokenizer, uniform=False), seed)
    elif pretrained is None:
        raise InputError(
            f"The start {start}: what was the base fine-tuned from? Give `pretrained`, or take the start warm."
        )
    else:
        model = pretrained_classifier(pretrained, base.labels, seed)
    if trainable_layers is not None:
        freeze_below(Readout(model, base.tokenizer, uniform=False), trainable_layers)
    return model


def redraw_attention(readout: Readout, seed: int) -> None:
    """Draws the query and key weights of the last layer anew, with the deviation they have.

    No names are needed: they are the matrices of that layer that its own row of attention moves with.
    """
    if readout.layer_list is None:
        raise InputError(
            f"`start` warm: the model ({readout.config.model_type}) shares one layer among all its attentions, which "
            "cannot be drawn anew alone: take another start."
        )
    matrices = [weights for weights in readout.layer_list[-1].parameters() if weights.dim() == 2]
    set_seed(seed)
    with torch.enable_grad():
        log_weights = readout.of_probe().log_weights
        seen = log_weights > LOG_ZERO
        moved = (log_weights[seen] * torch.randn_like(log_weights[seen])).sum()
        gradients = torch.autograd.grad(moved, matrices, allow_unused=True)
    with torch.no_grad():
        for weights, gradient in zip(matrices, gradients, strict=True):
            # Where one matrix holds the values too, these have none.
            if gradient is not None and (own := gradient != 0).any():
                weights[own] = torch.randn_like(weights[own]) * weights[own].std()


def freeze_below(readout: Readout, layers: int) -> None:
    """Leaves the last `layers` layers trainable and what is behind them, and nothing else."""
    if readout.layer_list is None or not 1 <= layers <= readout.layers:
        there = "shares one layer among all" if readout.layer_list is None else f"has {readout.layers}"
        raise InputError(f"`trainable_layers` {layers}: the model ({readout.config.model_type}) {there}.")
    parameters = list(readout.model.parameters())

    def cut(module, args, output):
        return (output[0].detach(), *output[1:]) if isinstance(output, tuple) else output.detach()

    hook = readout.layer_list[-1].register_forward_hook(cut)
    try:
        with torch.enable_grad():
            behind = torch.autograd.grad(readout.of_probe().logits.sum(), parameters, allow_unused=True)
    finally:
        hook.remove()
    trainable = {id(weights) for layer in readout.layer_list[-layers:] for weights in layer.parameters()}
    for weights, gradient in zip(parameters, behind, strict=True):
        weights.requires_grad_(id(weights) in trainable or gradient is not None)


def input_embeddings(model: PreTrainedModel) -> WordVectors:
    """The input embeddings of a transformer, for MLPs that read the same tokens."""
    weight = model.get_input_embeddings().weight.detach().float().cpu().numpy()
    return WordVectors(ids=torch.arange(len(weight)).numpy(), matrix=weight, vocab_size=len(weight))
