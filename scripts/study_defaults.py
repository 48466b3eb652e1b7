"""Which class weights, and which rule for the epoch that is kept, need no tuning: decided on validation data alone.

    python scripts/study_defaults.py "FOLDER --max_train_samples 1500" "FOLDER --embedding_std 1" --seeds 1 2 3
    python scripts/study_defaults.py --only_table

A corpus is a folder, with options of `hf-attn-faith train` behind it. Every (corpus, weights, seed) is trained once, at
a constant rate, so that a run of 12 epochs holds that of 8; the validation logits of all epochs stay in `--output_dir`,
and a second call goes on from there. Rules keep an epoch by its validation loss (weighted as in training), F1 (of label
1 where there are two, macro else), macro F1 or accuracy; of equal ones the first; or the last one.

The table has the F1 that rules keep on data which they have not seen: the epoch is chosen on one half of the validation
split and scored on the other, in 20 stratified halvings, both ways. Nothing is scored on test.
"""

import argparse
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedShuffleSplit
from transformers.trainer_callback import PrinterCallback

from hf_attn_faith.arguments import ClassifierArguments, DataArguments
from hf_attn_faith.cli.parsing import Parser, parse
from hf_attn_faith.data.preparation import prepare
from hf_attn_faith.data.word_vectors import read_word_vectors
from hf_attn_faith.training.classification import accuracy_and_f1, classifier_trainer

SIZES = ("max_train_samples", "max_length", "embedding_size", "hidden_size")
RULES = ("loss", "f1", "macro f1", "accuracy", "last")


@dataclass
class CorpusArguments(ClassifierArguments, DataArguments):
    """A corpus, and how classifiers of it are trained."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", nargs="+", type=int, default=[8, 12], help="that are compared; the last is trained")
    parser.add_argument("--only_table", action="store_true", help="of the finished runs")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/study_defaults"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    for corpus in options.corpora:
        prepared = None
        for weights, seed in product(("balanced", "none"), options.seeds):
            path = options.output_dir / f"{name_of(corpus)}+{weights}+{seed}.npz"
            if not path.exists():
                prepared = prepared or prepare_corpus(corpus)
                np.savez(path, **train(*prepared, weights, seed, options))
                print(path.stem, flush=True)
    if options.only_table:
        paths = sorted(options.output_dir.glob("*.npz"))
        runs = pd.DataFrame([row for path in paths for row in rows_of(path, options.epochs)])
        for score in ("macro f1", "accuracy", "f1"):
            print(f"\n{score}\n\n{table(runs, score).to_markdown()}")


def name_of(corpus: str) -> str:
    """The folder's name, and what was set besides the sizes."""
    folder, *settings = corpus.replace("--", "").split()
    told = [f"{k} {Path(v).name}" for k, v in zip(settings[::2], settings[1::2], strict=True) if k not in SIZES]
    return ", ".join([Path(folder).name, *told])


def prepare_corpus(corpus: str):
    parser = Parser(CorpusArguments, "train", (), "trains", "", several=False)
    _, [settings] = parse(parser, CorpusArguments, (), ["--dataset_name", *corpus.split()])
    data, tokenizer = prepare(settings)
    vectors = settings.word_vectors and read_word_vectors(settings.word_vectors, tokenizer.get_vocab())
    return data, tokenizer, settings, vectors


def train(data, tokenizer, settings, vectors, weights: str, seed: int, options) -> dict[str, np.ndarray]:
    """Validation logits (epochs, texts, labels), the labels, and the class weights."""
    settings.class_weights, settings.num_train_epochs = weights, options.epochs[-1]
    trainer = classifier_trainer(
        "lstm", "additive", data["train"], data["validation"], tokenizer, settings,
        str(options.output_dir / "checkpoints"), seed, vectors, disable_tqdm=True, save_strategy="no",
        load_best_model_at_end=False,
    )  # fmt: skip
    evaluations = []
    trainer.compute_metrics = lambda prediction: evaluations.append(prediction) or accuracy_and_f1(prediction)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    shutil.rmtree(options.output_dir / "checkpoints", ignore_errors=True)
    return {
        "logits": np.stack([prediction.predictions for prediction in evaluations]),
        "labels": evaluations[0].label_ids,
        "weights": np.array(trainer.args.class_weights or np.ones(trainer.model.config.num_labels)),
    }


def scores(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> pd.DataFrame:
    """One row an epoch; more is better in every column."""
    rows = []
    for epoch, log_probabilities in enumerate(log_softmax(logits.astype(float), -1)):
        predicted = log_probabilities.argmax(-1)
        f1 = f1_score(labels, predicted, labels=np.arange(len(weights)), average=None, zero_division=0)
        rows.append(
            {
                "loss": (log_probabilities[np.arange(len(labels)), labels] * weights[labels]).mean(),
                "f1": f1[1] if len(weights) == 2 else f1.mean(),
                "macro f1": f1.mean(),
                "accuracy": (predicted == labels).mean(),
                "last": epoch,
            }
        )
    return pd.DataFrame(rows)


def rows_of(path: Path, numbers_of_epochs: list[int]):
    """What each rule keeps of a run."""
    corpus, weights, _ = path.stem.split("+")
    run = np.load(path)
    labels = run["labels"]
    halvings = StratifiedShuffleSplit(20, test_size=0.5, random_state=42).split(labels, labels)
    halves = [[scores(run["logits"][:, half], labels[half], run["weights"]) for half in pair] for pair in halvings]
    for rule, epochs in product(RULES, numbers_of_epochs):
        kept = [
            (chosen, scored.loc[chosen])
            for one, other in halves
            for seen, scored in ((one, other), (other, one))
            for chosen in [seen[rule][:epochs].idxmax()]
        ]
        yield {
            **{"corpus": corpus, "weights": weights, "epochs": epochs, "rule": rule},
            "epoch": np.mean([epoch + 1 for epoch, _ in kept]),
            **{name: np.mean([score[name] for _, score in kept]) for name in ("f1", "macro f1", "accuracy")},
        }


def table(runs: pd.DataFrame, score: str) -> pd.DataFrame:
    """Mean ± standard deviation over the seeds of a held-out score, a row a corpus and weights, a column a rule."""
    groups = runs.groupby(["corpus", "weights", "epochs", "rule"], sort=False)[score]
    text = groups.mean().map("{:.3f}".format) + " ± " + groups.std().map("{:.3f}".format)
    return text.unstack("rule")[list(RULES)].reset_index().set_index("corpus")


if __name__ == "__main__":
    main()
