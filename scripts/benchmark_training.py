"""How fast is our training? Our step and our epoch, base and adversary, against a recipe of 2019, and against a floor.

    python scripts/benchmark_training.py                                             # planted, runs anywhere
    python scripts/benchmark_training.py --dataset_name SST_FOLDER
    python scripts/benchmark_training.py --dataset_name IMDB_FOLDER --max_train_samples 2000 --repeats 2

Both sides see the same texts under the same vocabulary, have the same sizes and threads, and take turns in one process;
a result is the median of the repeats [minimum to maximum], a ratio that of the repeats' own ratios. Everything runs on
the CPU, in float32; ours flushes denormal numbers to zero, the recipe does not; freed memory is kept, as in our
training, for the whole process and so for both. Another busy process spoils the times: the script looks for one, and
says so; one thread is disturbed less than two.
"""

import argparse
import itertools
import logging
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import psutil
import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as transformers_logging

from hf_attn_faith.arguments import ClassifierArguments, DataArguments
from hf_attn_faith.data.collation import AttentionCollator
from hf_attn_faith.data.preparation import prepare
from hf_attn_faith.process import keep_freed_memory
from hf_attn_faith.training.adversarial import (
    AdversarialTrainingArguments,
    ModelConsistentAdversarialTrainer,
    new_adversary,
)
from hf_attn_faith.training.classification import classifier_trainer, train_and_save

PARTS = ("steps", "floor", "epochs", "adversary", "memory")
BATCH, EMBEDDING, HIDDEN = 32, 300, 128
SETTINGS = ClassifierArguments(
    embedding_size=EMBEDDING, hidden_size=HIDDEN, batch_size=BATCH, learning_rate=1e-3, num_train_epochs=1
)
# The recipe takes about a second for a step on long texts: in a repeat it makes only so many plain steps, on batches
# that are spread over all lengths, and is compared with ours on these same batches.
RECIPE_STEPS = 12


def main() -> None:
    options = parse_options()
    logging.getLogger("hf_attn_faith").setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    datasets.disable_progress_bars()
    torch.set_num_threads(options.num_threads)
    load = os.getloadavg()
    print(
        f"{options.dataset_name}, max_length {options.max_length}; torch {torch.__version__}, {options.num_threads} "
        f"threads, {os.cpu_count()} cores; load average at the start {load[0]:.2f} {load[1]:.2f} {load[2]:.2f}"
    )
    others = OtherProcesses()
    time.sleep(1)
    warn_if_busy(others.cores(), "at the start")

    results = {}
    # First of all, while this process is still small: Linux starts a child's peak at the size of its parent.
    if "memory" in options.parts:
        results["memory"] = [peak_memory_in_a_subprocess(options)]

    splits, tokenizer = prepare(data_arguments(options))
    train_dataset = splits["train"]
    lengths = np.array(train_dataset["length"])
    print(
        f"{len(lengths)} texts of {lengths.mean():.1f} tokens in the mean, {lengths.max()} at most; vocabulary "
        f"{len(tokenizer)}; batches of {BATCH}, embedding {EMBEDDING}, hidden {HIDDEN} a direction"
    )
    with tempfile.TemporaryDirectory() as folder:
        measure(options, train_dataset, tokenizer, folder, results)

    report(results)
    print(
        f"\nOver the whole run, the other processes of this machine used {others.cores():.2f} cores in the mean.",
        flush=True,
    )
    warn_if_busy(others.cores(), "during the run")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset_name", default="planted", help="planted, a folder or file, or a Hub dataset (default: planted)")
    add("--max_length", type=int, default=400, help="longer texts are cut to so many tokens (default: 400)")
    add("--max_train_samples", type=int, help="train on so many texts (default: all)")
    add("--num_threads", type=int, default=2, help="threads of PyTorch, for both sides (default: 2)")
    add("--repeats", type=int, default=3, help="how often the sides alternate (default: 3)")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="measure only these (default: all)")
    options = parser.parse_args()
    for name in ("max_length", "max_train_samples", "num_threads", "repeats"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} {value} is too small: give at least 1.")
    return options


def data_arguments(options) -> DataArguments:
    return DataArguments(
        dataset_name=options.dataset_name, max_length=options.max_length, max_train_samples=options.max_train_samples
    )


# What is measured


def measure(options, train_dataset, tokenizer, folder, results) -> None:
    """Runs the repeats; each appends its numbers to the lists in `results`, all times in seconds."""
    keep_freed_memory()

    def note(**numbers):
        for name, number in numbers.items():
            results.setdefault(name, []).append(number)

    def base_trainer(seed):
        trainer = classifier_trainer(
            "lstm", "additive", train_dataset, None, tokenizer, SETTINGS, folder, seed, **TRAINING_ALONE
        )
        return prepared(trainer, tokenizer.pad_token_id)

    # For the plain steps: one model a side, kept over the repeats.
    trainer = base_trainer(seed=0)
    model, class_weights = trainer.model, torch.tensor(trainer.args.class_weights)
    # What Trainer builds from our training arguments: fused AdamW, no weight decay on biases and attention.
    optimizer = trainer.create_optimizer()
    batches = list(trainer.get_train_dataloader())
    recipe = Recipe2019(len(tokenizer), model.config.num_labels, class_weights)
    recipe_data = list(zip(train_dataset["input_ids"][:], train_dataset["label"][:], strict=True))
    longest = max(batches, key=lambda batch: batch["input_ids"].shape[1])
    for _ in range(2):  # warm both up
        our_step(model, optimizer, class_weights, longest)
        recipe.step(longest["input_ids"], longest["attention_mask"].sum(1), longest["labels"])

    for repeat in range(options.repeats):
        print(f"repeat {repeat + 1} of {options.repeats} ...", file=sys.stderr, flush=True)

        if {"epochs", "adversary"} & set(options.parts):
            trainer = base_trainer(seed=repeat + 1)
            run_seconds, epoch_seconds = timed_epoch(trainer)
            batches = trainer.data_collator.batches
            note(epoch=epoch_seconds, setup=run_seconds - epoch_seconds, padding=padding_share(batches))

        if "epochs" in options.parts:
            seconds, padding = recipe_epoch(recipe, recipe_data, seed=repeat)
            note(recipe_epoch=seconds, recipe_padding=padding)

        if "adversary" in options.parts:
            # The model trained just now is the base.
            start = time.perf_counter()
            adversary_trainer = ModelConsistentAdversarialTrainer(
                new_adversary(trainer.model, seed=repeat + 1001),
                trainer.model,
                AdversarialTrainingArguments(
                    folder, num_train_epochs=1, per_device_train_batch_size=BATCH, **TRAINING_ALONE
                ),
                train_dataset,
            )
            base_outputs_seconds = time.perf_counter() - start
            _, epoch_seconds = timed_epoch(prepared(adversary_trainer, tokenizer.pad_token_id))
            note(adversary_epoch=epoch_seconds, base_outputs=base_outputs_seconds)

        if {"steps", "floor"} & set(options.parts):
            # All batches of the epoch above, so that the difference to it is what Trainer adds.
            ours = [timed(our_step, model, optimizer, class_weights, batch) for batch in batches]
            note(all_steps=sum(ours), number_of_steps=len(ours))

        if "steps" in options.parts:
            by_length = sorted(range(len(batches)), key=lambda i: batches[i]["input_ids"].shape[1])
            spread = np.linspace(0, len(batches) - 1, min(RECIPE_STEPS, len(batches))).astype(int)
            chosen = [by_length[i] for i in spread]
            theirs = []
            for i in chosen:
                # The recipe packs: it must know how long the texts are, and takes the padding for nothing else.
                text_lengths = batches[i]["attention_mask"].sum(1)
                theirs.append(timed(recipe.step, batches[i]["input_ids"], text_lengths, batches[i]["labels"]))
            note(step=statistics.mean(ours[i] for i in chosen), recipe_step=statistics.mean(theirs))

        if "floor" in options.parts:
            shapes = [tuple(batch["input_ids"].shape) for batch in batches]
            rates = product_rates(int(statistics.median(length for _, length in shapes)))
            operations = {name: sum(product_operations(*shape)[name] for shape in shapes) for name in rates}
            note(floor=sum(operations[name] / rates[name] for name in rates))
            results.setdefault("rates", []).append(rates)
            results["operations"] = {name: total / len(shapes) for name, total in operations.items()}


def timed(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def padding_share(batches) -> float:
    """Share of the places of padded batches that hold no token."""
    places = sum(batch["attention_mask"].numel() for batch in batches)
    return 1 - sum(batch["attention_mask"].sum().item() for batch in batches) / places


# Our side

# Training and nothing else: no evaluation, no checkpoints; on the CPU also where there is a GPU.
TRAINING_ALONE = {
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "disable_tqdm": True,
    "use_cpu": True,
    "dataloader_pin_memory": False,
}


class EpochTimer(TrainerCallback):
    """Times the epoch: sampler, collator, steps and callbacks; not what Trainer does once a run."""

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_epoch_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - self.start


class KeepingCollator(AttentionCollator):
    """Keeps the batches it makes, to go over the same ones without Trainer."""

    def __init__(self, pad_token_id):
        super().__init__(pad_token_id)
        self.batches = []

    def __call__(self, rows):
        self.batches.append(super().__call__(rows))
        return self.batches[-1]


def prepared(trainer, pad_token_id):
    trainer.data_collator = KeepingCollator(pad_token_id)
    trainer.remove_callback(PrinterCallback)
    return trainer


def timed_epoch(trainer) -> tuple[float, float]:
    """Seconds of a run of one epoch, and of the epoch in it."""
    timer = EpochTimer()
    trainer.add_callback(timer)
    return timed(trainer.train), timer.seconds


def our_step(model, optimizer, class_weights, batch) -> None:
    """A step of our training without Trainer."""
    torch.set_flush_denormal(True)  # as `ClassificationTrainer.train` does
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    F.cross_entropy(logits, batch["labels"], class_weights).backward()
    optimizer.step()
    optimizer.zero_grad()


def peak_memory_in_a_subprocess(options) -> float:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(peak_memory, options).result()


def peak_memory(options) -> float:
    """Peak bytes of this process after one epoch of base training as a user has it: evaluation and checkpoint too."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    torch.set_num_threads(options.num_threads)
    splits, tokenizer = prepare(data_arguments(options))
    with tempfile.TemporaryDirectory() as folder:
        trainer = classifier_trainer(
            "lstm",
            "additive",
            splits["train"],
            splits["validation"],
            tokenizer,
            SETTINGS,
            f"{folder}/checkpoints",
            seed=0,
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        trainer.remove_callback(PrinterCallback)
        train_and_save(trainer, Path(folder) / "model")
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# The recipe of 2019


class Recipe2019(nn.Module):
    """The classifier of both papers, trained as their code did: a packed bidirectional `nn.LSTM` under additive
    attention, and Adam with amsgrad and coupled weight decay, one parameter after another."""

    def __init__(self, vocab_size, num_labels, class_weights):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, EMBEDDING, padding_idx=0)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True, bidirectional=True)
        self.attention = nn.Sequential(nn.Linear(2 * HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1, bias=False))
        self.decoder = nn.Linear(2 * HIDDEN, num_labels)
        self.class_weights = class_weights
        others = [p for name, p in self.named_parameters() if not name.startswith("attention.")]
        self.optimizer = torch.optim.Adam(
            [{"params": others, "weight_decay": 1e-5}, {"params": self.attention.parameters()}],
            lr=1e-3,
            amsgrad=True,
            foreach=False,
            fused=False,
        )

    def forward(self, ids, lengths):
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1])
        padding = torch.arange(ids.shape[1]) >= lengths[:, None]
        scores = self.attention(hidden).squeeze(-1).masked_fill(padding, -float("inf"))
        attention = scores.softmax(-1)
        return self.decoder((attention.unsqueeze(-1) * hidden).sum(1)), attention

    def step(self, ids, lengths, labels):
        torch.set_flush_denormal(False)  # the default of PyTorch, then and now
        # Their texts stand between <SOS> and <EOS> and are never empty; here an empty one counts as one token.
        logits, _ = self(ids, lengths.clamp(min=1))
        loss = F.cross_entropy(logits, labels, self.class_weights)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def recipe_epoch(recipe, data, seed) -> tuple[float, float]:
    """Seconds of an epoch over `data`, (ids, label) of every text, and the padding share.

    Batches as we read them in their code: all texts sorted by length, after a noise of up to a tenth on each length;
    cut into batches; the batches in random order; padded as Python lists. (Ours: the texts in random order, then
    sorted by their exact length within a quarter of the data, at most fifty batches.) Our assumptions: one optimiser
    where they have one a module, which costs the same; their predictions of the epoch are not collected.
    """
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    lengths = np.array([len(ids) for ids, _ in data])
    order = np.argsort(lengths * rng.uniform(0.9, 1.1, len(data)))
    tokens = places = 0
    for first in rng.permutation(np.arange(0, len(data), BATCH)):
        rows = [data[i] for i in order[first : first + BATCH]]
        width = max(1, max(len(ids) for ids, _ in rows))
        padded = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
        text_lengths = torch.tensor([len(ids) for ids, _ in rows])
        recipe.step(padded, text_lengths, torch.tensor([label for _, label in rows]))
        tokens += int(text_lengths.sum())
        places += padded.numel()
    return time.perf_counter() - start, 1 - tokens / places


# The floor: what the matrix products of a step alone would take, at the rate this machine has for their shapes


def product_operations(batch: int, length: int) -> dict[str, float]:
    """Floating-point operations of the matrix products of one step (a multiplication and an addition are two).

    The products with the attention's query, the pooled vector and the classifier are left out: less than a hundredth.
    """
    places = batch * length
    input_product = 2 * (2 * places * EMBEDDING * 4 * HIDDEN)  # two directions, four gates
    recurrent_product = 2 * (2 * places * HIDDEN * 4 * HIDDEN)
    attention_product = 2 * places * 2 * HIDDEN * HIDDEN
    return {
        "input, forward": input_product,
        "input, gradient of the embeddings": input_product,
        "input, gradient of the weights": input_product,
        "recurrent, forward": recurrent_product,
        "recurrent, gradient of the states": recurrent_product,
        "recurrent, gradient of the weights": recurrent_product,
        "attention, forward": attention_product,
        "attention, gradient of the states": attention_product,
        "attention, gradient of the weights": attention_product,
    }


def product_rates(length: int) -> dict[str, float]:
    """Measured operations a second of each of these products, in float32."""
    places = BATCH * length
    embeddings, states, hidden = (torch.randn(places, width) for width in (EMBEDDING, HIDDEN, 2 * HIDDEN))
    gates, projected = torch.randn(places, 4 * HIDDEN), torch.randn(places, HIDDEN)
    input_weight, recurrent_weight = torch.randn(4 * HIDDEN, EMBEDDING), torch.randn(4 * HIDDEN, HIDDEN)
    attention_weight = torch.randn(HIDDEN, 2 * HIDDEN)
    return {
        "input, forward": rate(embeddings, input_weight.T),
        "input, gradient of the embeddings": rate(gates, input_weight),
        "input, gradient of the weights": rate(gates.T, embeddings),
        # One product a time step: each needs the state before it. (The weights' gradient can wait for all of them.)
        "recurrent, forward": rate(states[:BATCH], recurrent_weight.T),
        "recurrent, gradient of the states": rate(gates[:BATCH], recurrent_weight),
        "recurrent, gradient of the weights": rate(gates.T, states),
        "attention, forward": rate(hidden, attention_weight.T),
        "attention, gradient of the states": rate(projected, attention_weight),
        "attention, gradient of the weights": rate(projected.T, hidden),
    }


def rate(a, b) -> float:
    """Operations a second of `a @ b`: the median of some rounds, in whichever memory layout is the fastest."""
    result = torch.empty(a.shape[0], b.shape[1])
    operations = 2 * a.shape[0] * a.shape[1] * b.shape[1]
    calls = max(1, int(1e9 / operations))
    medians = []
    for left, right in itertools.product((a.contiguous(), columnwise(a)), (b.contiguous(), columnwise(b))):
        torch.mm(left, right, out=result)
        seconds = []
        for _ in range(7):
            start = time.perf_counter()
            for _ in range(calls):
                torch.mm(left, right, out=result)
            seconds.append(time.perf_counter() - start)
        medians.append(statistics.median(seconds))
    return calls * operations / min(medians)


def columnwise(matrix):
    """The same matrix, one column after another in memory."""
    return matrix.T.contiguous().T


# The report


def report(results) -> None:
    def ratio(over, under):
        return [a / b for a, b in zip(results[over], results[under], strict=True)]

    def per_step(name):
        return [total / steps for total, steps in zip(results[name], results["number_of_steps"], strict=True)]

    rows = []
    if "step" in results:
        rows += [
            ("plain step, ours, ms", shown(results["step"], 1e3), ""),
            ("plain step, recipe, ms", shown(results["recipe_step"], 1e3), ""),
            ("plain step, recipe / ours", shown(ratio("recipe_step", "step")), "≥ 3 on SST, ≥ 6 on IMDb"),
        ]
    if "floor" in results:
        rows += [
            ("floor of a step, ms", shown(per_step("floor"), 1e3), ""),
            ("plain step of ours over the same batches, ms", shown(per_step("all_steps"), 1e3), ""),
            ("our step / floor", shown(ratio("all_steps", "floor")), "≤ 2.5 on IMDb"),
        ]
    if "recipe_epoch" in results:
        rows += [
            ("epoch, ours in Trainer, s", shown(results["epoch"]), ""),
            ("epoch, recipe, s", shown(results["recipe_epoch"]), ""),
            ("epoch, recipe / ours", shown(ratio("recipe_epoch", "epoch")), "≥ 2.5 on SST, ≥ 5 on IMDb"),
            ("padding share, ours, %", shown(results["padding"], 1e2), ""),
            ("padding share, recipe, %", shown(results["recipe_padding"], 1e2), ""),
        ]
    if "epoch" in results and "all_steps" in results:
        overhead = [
            (epoch - steps) / number
            for epoch, steps, number in zip(
                results["epoch"], results["all_steps"], results["number_of_steps"], strict=True
            )
        ]
        rows += [("Trainer, data and collator included, adds a step, ms", shown(overhead, 1e3), "")]
    if "setup" in results:
        rows += [("Trainer adds a run, s", shown(results["setup"]), "")]
    if "adversary_epoch" in results:
        rows += [
            ("adversary epoch, ours in Trainer, s", shown(results["adversary_epoch"]), ""),
            ("adversary epoch / base epoch", shown(ratio("adversary_epoch", "epoch")), "≤ 1.15"),
            ("the base's outputs, once a run, s", shown(results["base_outputs"]), ""),
        ]
    if "memory" in results:
        rows += [("peak memory of a base training, GB", shown(results["memory"], 1e-9), "< 1 on SST")]
    print()
    print(tabulate(rows, ("", "median [minimum to maximum]", "target"), disable_numparse=True))

    if "rates" in results:
        rates = {name: [rates[name] for rates in results["rates"]] for name in results["operations"]}
        print("\nThe floor: matrix products of a step in float32, evaluated at the padded shapes of our batches\n")
        print(
            tabulate(
                [
                    (
                        name,
                        f"{operations / 1e9:.2f}",
                        shown(rates[name], 1e-9),
                        f"{1e3 * operations / statistics.median(rates[name]):.1f}",
                    )
                    for name, operations in results["operations"].items()
                ],
                ("product", "10⁹ operations", "10⁹ a second", "ms"),
                disable_numparse=True,
            )
        )
    print(
        "\nEpochs are training alone, without evaluation and checkpoints. The targets are for 2 threads on a quiet "
        "machine; those for IMDb, for 2,000 texts of up to 400 tokens."
    )


def shown(values, scale=1.0) -> str:
    """The median, and the extremes where there are several."""
    values = [scale * value for value in values]
    digits = 0 if statistics.median(values) >= 100 else 2 if statistics.median(values) < 20 else 1
    text = f"{statistics.median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} [{min(values):.{digits}f} to {max(values):.{digits}f}]"


# Other processes


class OtherProcesses:
    """How many cores the other processes of the machine have kept busy since this object was made."""

    def __init__(self):
        self.start, self.busy_at_start = time.perf_counter(), self._busy()

    def cores(self) -> float:
        return max(0.0, (self._busy() - self.busy_at_start) / (time.perf_counter() - self.start))

    @staticmethod
    def _busy() -> float:
        machine, own = psutil.cpu_times(), os.times()
        idle = machine.idle + getattr(machine, "iowait", 0)
        # `guest` is contained in `user`.
        guest = getattr(machine, "guest", 0) + getattr(machine, "guest_nice", 0)
        # `os.times` has this process and its children that have ended.
        return sum(machine) - idle - guest - sum(own[:4])


def warn_if_busy(cores: float, when: str) -> None:
    if cores > 0.1:
        print(f"WARNING: other processes kept {cores:.2f} cores busy {when}: the times and ratios cannot be trusted.")


if __name__ == "__main__":
    main()
