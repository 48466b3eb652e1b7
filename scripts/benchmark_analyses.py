"""How fast are our analyses? Each against a plain version, as the codebases of 2019 go about it.

    python scripts/benchmark_analyses.py                                                    # planted, runs anywhere
    python scripts/benchmark_analyses.py --dataset_name SST_FOLDER --model RUN/models/base
    python scripts/benchmark_analyses.py --dataset_name IMDB_FOLDER --max_samples 100 --parts leave-one-out

Both sides see the same texts and the same weights, have the same threads, and take turns in one process; a result is
the median of the repeats [minimum to maximum], a ratio that of the repeats' own ratios. Everything runs on the CPU, in
float32, the exact attack in float64. Without --model, one is trained for an epoch first.

Plain: the attack of 5 restarts x 500 steps of Adam on the hidden states, 32 texts a batch; every text again without
each of its tokens, 32 copies a batch, through a packed bidirectional LSTM; a pass over the batch for each permutation.
"""

import argparse
import functools
import logging
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import torch
from tabulate import tabulate
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from hf_attn_faith import divergences
from hf_attn_faith.analyses.importance import leave_one_out
from hf_attn_faith.analyses.instance_attack import exact_attack, gradient_attack
from hf_attn_faith.analyses.permutation import permutation
from hf_attn_faith.arguments import ClassifierArguments, DataArguments
from hf_attn_faith.data.preparation import prepare
from hf_attn_faith.prediction import predict
from hf_attn_faith.training.classification import classifier_trainer, train_and_save

PARTS = ("attack", "leave-one-out", "permutation")
BATCH, RESTARTS, STEPS, EPSILON, PERMUTATIONS = 32, 5, 500, 0.05, 100


def main() -> None:
    options = parse_options()
    logging.getLogger("hf_attn_faith").setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    torch.set_num_threads(options.num_threads)
    with tempfile.TemporaryDirectory() as folder:
        model, dataset = model_and_texts(options, Path(folder))
    lengths = np.array(dataset["length"])
    print(
        f"{options.dataset_name}: {len(dataset)} texts of {lengths.mean():.1f} tokens in the mean, {lengths.max()} at "
        f"most; torch {torch.__version__}, {options.num_threads} threads, load average {os.getloadavg()[0]:.2f}"
    )
    measurements = {
        "attack": measure_attack,
        "leave-one-out": measure_leave_one_out,
        "permutation": measure_permutation,
    }
    results: dict[str, list[float]] = {}
    for part in options.parts:  # warm up
        measurements[part](model, dataset.select(range(min(BATCH, len(dataset)))))
    for repeat in range(options.repeats):
        print(f"repeat {repeat + 1} of {options.repeats} ...", file=sys.stderr, flush=True)
        for part in options.parts:
            for name, value in measurements[part](model, dataset).items():
                results.setdefault(name, []).append(value)
    print()
    print(tabulate([(name, shown(values)) for name, values in results.items()], disable_numparse=True))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset_name", default="planted", help="planted, a folder or file, or a Hub dataset (default: planted)")
    add("--model", help="a saved LSTM classifier of two labels with additive attention (default: train one)")
    add("--max_length", type=int, default=512, help="longer texts are cut to so many tokens (default: 512)")
    add("--max_samples", type=int, help="take only so many texts of the test split (default: all)")
    add("--num_threads", type=int, default=2, help="threads of PyTorch, for both sides (default: 2)")
    add("--repeats", type=int, default=3, help="how often the sides alternate (default: 3)")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="measure only these (default: all)")
    return parser.parse_args()


def model_and_texts(options, folder: Path):
    """The classifier, in evaluation mode, and the encoded test split."""
    data = DataArguments(dataset_name=options.dataset_name, max_length=options.max_length)
    splits, tokenizer = prepare(data, AutoTokenizer.from_pretrained(options.model) if options.model else None)
    if options.model is None:
        settings = ClassifierArguments(num_train_epochs=1)
        trainer = classifier_trainer(
            "lstm",
            "additive",
            splits["train"],
            splits["validation"],
            tokenizer,
            settings,
            str(folder / "checkpoints"),
            0,
        )
        train_and_save(trainer, folder)
    model = AutoModelForSequenceClassification.from_pretrained(options.model or folder)
    dataset = splits["test"]
    if options.max_samples is not None:
        dataset = dataset.shuffle(seed=0).select(range(min(options.max_samples, len(dataset))))
    return model.eval(), dataset


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def shown(values: list[float]) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.4g}" if len(values) == 1 else f"{middle:.4g} [{low:.4g} to {high:.4g}]"


# The instance attack


def measure_attack(model, dataset) -> dict[str, float]:
    """Both sides start from the same stored hidden states; then with the forward pass that makes them."""
    (states, attention, mask), forward = timed(stored_states, model, dataset)
    plain_jsd, plain = timed(plain_attack, model, states, attention, mask)
    (exact, token_logits), ours = timed(exact_from_states, model, states, attention, mask)
    search, searching = timed(gradient_attack, attention.double(), token_logits, mask, [EPSILON])
    return {
        "forward pass, s": forward,
        "attack from stored states, plain, s": plain,
        "attack from stored states, exact, s": ours,
        "attack from stored states, plain / exact": plain / ours,
        "attack with the forward pass, plain / exact": (plain + forward) / (ours + forward),
        "our gradient search, s": searching,
        f"mean JSD within a TVD of {EPSILON}, plain": plain_jsd.mean().item(),
        f"mean JSD within a TVD of {EPSILON}, our search": search[0].jsd.mean().item(),
        f"mean JSD within a TVD of {EPSILON}, exact": exact.jsd.mean().item(),
        "texts on which plain exceeds exact by over 1e-5": (plain_jsd > exact.jsd + 1e-5).sum().item(),
    }


def stored_states(model, dataset):
    """Hidden states (N, T, 2H), attention (N, T) and mask, of all texts, longest first."""
    rows = sorted((ids for ids in dataset["input_ids"][:] if len(ids)), key=len, reverse=True)
    states = torch.zeros(len(rows), len(rows[0]), model.config.encoder_size)
    attention = torch.zeros(states.shape[:2])
    with torch.no_grad():
        for first in range(0, len(rows), 128):
            ids, lengths = padded(rows[first : first + 128])
            output = model(input_ids=ids, output_hidden_states=True)
            states[first : first + len(ids), : ids.shape[1]] = output.hidden_states[0]
            attention[first : first + len(ids), : ids.shape[1]] = output.token_log_attention.exp()
    lengths = torch.tensor([len(ids) for ids in rows])
    return states, attention, torch.arange(states.shape[1]) < lengths[:, None]


def exact_from_states(model, states, attention, mask):
    classifier = model.classifier
    with torch.no_grad():
        token_logits = (states @ classifier.weight.T + classifier.bias).double()
    return exact_attack(attention.double(), token_logits, mask, EPSILON), token_logits


def plain_attack(model, states, attention, mask) -> torch.Tensor:
    """The largest JSD (N,) found within the TVD, by 5 restarts of 500 steps on each text's attention scores."""
    best = []
    for first in range(0, len(states), BATCH):
        rows = slice(first, first + BATCH)
        longest = int(mask[rows].sum(1).max())
        best.append(attacked(model, states[rows, :longest], attention[rows, :longest], mask[rows, :longest]))
    return torch.cat(best)


def attacked(model, states, attention, mask):
    def output(weights):
        return model.classifier((weights.unsqueeze(-1) * states).sum(-2)).softmax(-1)

    generator = torch.Generator().manual_seed(0)
    noise = 3 * torch.randn((RESTARTS, *attention.shape), generator=generator)
    scores = (noise - mask.sum(1, keepdim=True).log()).requires_grad_()
    optimizer = torch.optim.Adam([scores], lr=0.01, amsgrad=True)
    own = output(attention).detach()
    for _ in range(STEPS):
        adversarial = scores.masked_fill(~mask, -math.inf).softmax(-1)
        tvd = divergences.tvd(output(adversarial), own)
        jsd = divergences.jsd(adversarial, attention)
        between = divergences.jsd(adversarial.unsqueeze(0), adversarial.unsqueeze(1)).mean((0, 1))
        loss = ((500 * torch.relu(tvd - 0.01) - jsd).sum(0) - between).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        adversarial = scores.masked_fill(~mask, -math.inf).softmax(-1)
        feasible = divergences.tvd(output(adversarial), own) <= EPSILON
        return (divergences.jsd(adversarial, attention) * feasible).amax(0)


def padded(rows):
    lengths = torch.tensor([len(ids) for ids in rows])
    ids = torch.zeros(len(rows), max(1, int(lengths.max())), dtype=torch.long)
    for row, text in zip(ids, rows, strict=True):
        row[: len(text)] = torch.tensor(text)
    return ids, lengths


# Leave-one-out


def measure_leave_one_out(model, dataset) -> dict[str, float]:
    packed = PackedClassifier(model).eval()
    theirs, plain = timed(plain_leave_one_out, packed, dataset)
    importance, ours = timed(functools.partial(leave_one_out, progress=False), model, dataset)
    difference = max(
        (float(np.abs(a - b).max()) for a, b in zip(theirs, importance, strict=True) if len(a)), default=0.0
    )
    return {
        "leave-one-out, plain, s": plain,
        "leave-one-out, ours, s": ours,
        "leave-one-out, plain / ours": plain / ours,
        "leave-one-out, largest difference": difference,
    }


class PackedClassifier(nn.Module):
    """The same classifier with a packed bidirectional `nn.LSTM`."""

    def __init__(self, model):
        super().__init__()
        self.embedding, self.classifier = model.embedding, model.classifier
        self.projection, self.query = model.attention_projection, model.attention_query
        self.lstm = nn.LSTM(model.config.embedding_size, model.config.hidden_size, batch_first=True, bidirectional=True)
        with torch.no_grad():
            for suffix, lstm in (("", model.forward_lstm), ("_reverse", model.backward_lstm)):
                for name, parameter in lstm.named_parameters():
                    getattr(self.lstm, name + suffix).copy_(parameter)

    def forward(self, ids, lengths):
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1])
        scores = self.query(torch.tanh(self.projection(hidden))).squeeze(-1)
        scores = scores.masked_fill(torch.arange(ids.shape[1]) >= lengths[:, None], -math.inf)
        return self.classifier((scores.softmax(-1).unsqueeze(-1) * hidden).sum(1)).softmax(-1)


@torch.no_grad()
def plain_leave_one_out(packed, dataset) -> list[np.ndarray]:
    """The TVD between the outputs with and without each token, text by text."""
    values = []
    for ids in dataset["input_ids"][:]:
        copies = [ids[:t] + ids[t + 1 :] for t in range(len(ids))] if len(ids) > 1 else []
        outputs = [packed(*padded(part)) for part in batched(copies)]
        own = packed(*padded([ids])) if copies else None
        # One token alone: what is left is the bias of the classifier, for both sides the same.
        if len(ids) == 1:
            outputs, own = [packed.classifier.bias.softmax(-1)[None]], packed(*padded([ids]))
        values.append(divergences.tvd(torch.cat(outputs), own).numpy() if outputs else np.zeros(0))
    return values


def batched(rows):
    return [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]


# Permutation


def measure_permutation(model, dataset) -> dict[str, float]:
    """From the same stored states too; ours takes the token logits from a prediction set."""
    prediction_set = predict(model, dataset, progress=False, token_logits=True)
    states, attention, mask = stored_states(model, dataset)
    theirs, plain = timed(plain_permutation, model, states, attention, mask)
    values, ours = timed(permutation, prediction_set, PERMUTATIONS)
    return {
        "permutation, plain, s": plain,
        "permutation, ours, s": ours,
        "permutation, plain / ours": plain / ours,
        "median TVD, mean over texts, plain": theirs.mean().item(),
        "median TVD, mean over texts, ours": values.tvd_median[np.array(dataset["length"]) > 0].mean(),
    }


@torch.no_grad()
def plain_permutation(model, states, attention, mask):
    medians, rng = [], np.random.default_rng(0)
    for first in range(0, len(states), BATCH):
        rows = slice(first, first + BATCH)
        lengths = mask[rows].sum(1).tolist()
        hidden, own = states[rows, : max(lengths)], attention[rows, : max(lengths)]
        output = model.classify(hidden, own).softmax(-1)
        differences = []
        for _ in range(PERMUTATIONS):
            shuffled = own.clone()
            for row, length in enumerate(lengths):
                shuffled[row, :length] = own[row, torch.from_numpy(rng.permutation(length))]
            differences.append(divergences.tvd(model.classify(hidden, shuffled).softmax(-1), output))
        medians.append(torch.stack(differences).quantile(0.5, dim=0))
    return torch.cat(medians)


if __name__ == "__main__":
    main()
