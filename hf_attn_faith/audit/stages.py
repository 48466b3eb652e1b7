"""What each stage of an audit does: one function a kind of stage. Each writes into `place.path` and nowhere else."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

import accelerate
import datasets
import numpy as np
import pandas as pd
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from ..analyses import importance, instance_attack, permutation, transplant
from ..analyses.bootstrap import f1_difference, mean_difference, superiority
from ..analyses.comparison import compare
from ..analyses.scores import positive_index, scores
from ..arguments import ClassifierArguments, DataArguments
from ..data.preparation import prepare
from ..data.tokenizer import special_token_ids
from ..data.word_vectors import WordVectors, read_word_vectors
from ..prediction import predict
from ..reporting.tables import write_summary
from ..training.adversarial import AdversarialTrainingArguments, ModelConsistentAdversarialTrainer, new_adversary
from ..training.classification import classifier_trainer, train_and_save


@dataclass(frozen=True)
class Place:
    """Where a stage works: its own name, the directory to write, the run to read, its seed, and whom to tell how far
    it is (a share from 0 to 1)."""

    name: str
    path: Path
    run_dir: Path
    seed: int
    progress: Callable[[float], None]

    def dataset(self, split: str) -> datasets.Dataset:
        return datasets.load_from_disk(self.run_dir / "data" / split)

    def tokenizer(self):
        return AutoTokenizer.from_pretrained(self.run_dir / "data" / "tokenizer")

    def word_vectors(self) -> WordVectors | None:
        path = self.run_dir / "data" / "word_vectors.safetensors"
        return WordVectors.load(path) if path.exists() else None

    def predictions(self, name: str, split: str = "test") -> datasets.Dataset:
        return datasets.load_from_disk(self.run_dir / "predictions" / name / split)

    def model(self, name: str) -> PreTrainedModel:
        model = AutoModelForSequenceClassification.from_pretrained(self.run_dir / "models" / name)
        return model.to(accelerate.PartialState().device)

    def frozen_base(self) -> datasets.Dataset:
        """The base's test prediction set with token logits: all that imposing other attention on it needs."""
        return predict(self.model("base"), self.dataset("test"), progress=False, token_logits=True)


# Data


def prepare_data(place: Place, data: dict, word_vectors: str | None, contents: dict) -> None:
    """Loads the dataset, trains or loads the tokenizer, encodes the splits, reads the word vectors once. `contents`
    only tells one state of the files from another."""
    splits, tokenizer = prepare(DataArguments(**data))
    if word_vectors is not None:
        read_word_vectors(word_vectors, tokenizer.get_vocab()).save(place.path / "word_vectors.safetensors")
    tokenizer.save_pretrained(place.path / "tokenizer")
    for split, dataset in splits.items():
        dataset.save_to_disk(place.path / split)


# Models


def train_model(
    place: Place,
    architecture: str,
    attention_type: str,
    classifier: dict,
    guide: str | None = None,
    guide_seed: int | None = None,
) -> None:
    """Trains one classifier: an LSTM, or an MLP under its own, uniform, or a guide's attention."""
    trainer = classifier_trainer(
        architecture,
        attention_type,
        guided(place, "train", guide, guide_seed),
        guided(place, "validation", guide, guide_seed),
        place.tokenizer(),
        ClassifierArguments(**classifier),
        output_dir=str(place.path / "checkpoints"),
        seed=place.seed,
        word_vectors=place.word_vectors(),
        disable_tqdm=True,
    )
    train_quietly(place, trainer)


def train_adversary(place: Place, kl_weight: float, start: str, epochs: int, patience: int, classifier: dict) -> None:
    """Trains one model-consistent adversary of the run's base."""
    base = place.model("base")
    arguments = AdversarialTrainingArguments(
        output_dir=str(place.path / "checkpoints"),
        seed=place.seed,
        kl_weight=kl_weight,
        num_train_epochs=epochs,
        early_stopping_patience=patience,
        per_device_train_batch_size=classifier["batch_size"],
        learning_rate=classifier["learning_rate"],
        bf16=classifier["bf16"],
        disable_tqdm=True,
    )
    trainer = ModelConsistentAdversarialTrainer(
        new_adversary(base, start, place.seed, place.word_vectors()),
        base,
        arguments,
        place.dataset("train"),
        place.dataset("validation"),
        processing_class=place.tokenizer(),
    )
    train_quietly(place, trainer)


def train_quietly(place: Place, trainer: Trainer) -> None:
    """Trains under the audit's own progress bar instead of Trainer's messages."""

    class Tell(TrainerCallback):
        def on_epoch_end(self, args, state, control, **kwargs):
            place.progress(state.epoch / args.num_train_epochs)

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Tell)
    train_and_save(trainer, place.path)


def predict_model(place: Place, splits, guide=None, guide_seed=None) -> None:
    """The prediction sets of the model of the same name."""
    model = place.model(place.name)
    for split in splits:
        predict(model, guided(place, split, guide, guide_seed), progress=False).save_to_disk(place.path / split)


def guided(place: Place, split: str, guide: str | None, guide_seed: int | None) -> datasets.Dataset:
    """A split with the guide's frozen attention in the column `imposed_attention`; as it is without a guide."""
    dataset = place.dataset(split)
    match guide:
        case None:
            return dataset
        case "rationale" | "off_rationale":
            attention = dataset[f"{guide}_attention"][:]
        case "base":
            attention = place.predictions("base", split)["token_attention"][:]
        case "permuted":
            # The null that keeps the shape: the base's weights shuffled within each text, special tokens left at 0.
            rng = np.random.default_rng([guide_seed, *split.encode()])
            attention = [np.array(row) for row in place.predictions("base", split)["token_attention"][:]]
            special = special_token_ids(place.tokenizer())
            for row, input_ids in zip(attention, dataset["input_ids"][:], strict=True):
                words = np.isin(input_ids, special, invert=True)
                row[words] = rng.permutation(row[words])
        case _:
            attention = place.predictions(f"{guide}-{guide_seed}", split)["token_attention"][:]
    return dataset.add_column("imposed_attention", attention, feature=datasets.List(datasets.Value("float32")))


# Analyses


def score_classifiers(place: Place, names, positive_label) -> None:
    rows = [{"model": name, **scores(place.predictions(name), positive_label)} for name in names]
    write_summary(place.path, rows)


def compare_uniform(place: Place, names, positive_label) -> None:
    """Wiegreffe & Pinter, section 3.2: is attention needed at all?"""
    groups = {
        "base": [place.predictions(name) for name in names if not name.startswith("uniform")],
        "uniform": [place.predictions(name) for name in names if name.startswith("uniform")],
    }
    rows = [
        {"model": group, **mean_and_std(sets, positive_label, "f1", "accuracy"), "seeds": len(sets)}
        for group, sets in groups.items()
    ]
    rows[0] |= _f1_difference(groups["base"], groups["uniform"], positive_label, place.seed)
    write_summary(place.path, rows)


def compare_seeds(place: Place, names) -> None:
    """Wiegreffe & Pinter, section 3.3: how far apart are models that differ in their seed alone? All pairs."""
    rows, instances = [], []
    for a, b in combinations(names, 2):
        pair = compare(place.predictions(a), place.predictions(b))
        rows.append({"seed_a": a, "seed_b": b, **distances(pair)})
        instances.append(pair.assign(model_a=a, model_b=b))
    columns = ["seed_a", "seed_b", "jsd_mean", "jsd_median", "tvd_mean"]
    write_summary(place.path, pd.DataFrame(rows, columns=columns), pd.concat(instances) if instances else None)


def compare_adversaries(place: Place, names, positive_label) -> None:
    """Wiegreffe & Pinter, section 4: how far can attention move while the output stays? Seeds and uniform models are
    compared to the base too, as references."""
    base, instances, models = place.predictions(names[0]), [], []
    for name in names[1:]:
        prediction_set = place.predictions(name)
        pair = compare(base, prediction_set)
        instances.append(pair.assign(model=name))
        if name.startswith("adversary"):
            models.append(adversary_facts(name) | distances(pair) | scores(prediction_set, positive_label))
    rows = []
    for (kl_weight, start), group in pd.DataFrame(models).groupby(["kl_weight", "start"], sort=True):
        row = {"kl_weight": kl_weight, "start": start}
        for name, column in (("f1", "f1"), ("tvd", "tvd_mean"), ("jsd", "jsd_mean")):
            row |= {f"{name}_mean": group[column].mean(), f"{name}_std": group[column].std()}
        rows.append({**row, "seeds": len(group), "kl_weight_in_paper_code": kl_weight / 2})
    write_summary(place.path, rows, pd.concat(instances))


def calibrate(place: Place, names) -> None:
    """Is an adversary further from the base than another seed is, in attention and in output?"""
    base = place.predictions(names[0])
    pairs = {name: compare(base, place.predictions(name)) for name in names[1:]}
    seeds = [name for name in pairs if name.startswith("seed")]
    groups: dict[str, list[str]] = {}
    for name in pairs:
        if name not in seeds:
            groups.setdefault(name.rsplit("-", 1)[0], []).append(name)

    def values(members, column):
        return np.array([pairs[name][column] for name in members])

    rows = []
    for adversaries in groups.values():
        jsd = values(adversaries, "jsd"), values(seeds, "jsd")
        tvd = values(adversaries, "tvd"), values(seeds, "tvd")
        # The base is the fifth of five seeds.
        few = [f"{len(seeds) + 1} seeds"] * (len(seeds) < 4) + [f"{len(adversaries)} adversaries"] * (
            len(adversaries) < 3
        )
        rows.append(
            adversary_facts(adversaries[0])
            | dict(zip(("jsd_difference", "jsd_ci_low", "jsd_ci_high"), mean_difference(*jsd, place.seed), strict=True))
            | {"superiority": superiority(*jsd)}
            | dict(zip(("tvd_difference", "tvd_ci_low", "tvd_ci_high"), mean_difference(*tvd, place.seed), strict=True))
            | {"adversary_seeds": len(adversaries), "seeds": len(seeds) + 1}
            | {"warning": f"poorly estimated from {' and '.join(few)}" if few else ""}
        )
    write_summary(place.path, rows)


def attack_instances(place: Place, epsilons) -> None:
    """The largest shift of attention the frozen base's output admits, text by text; by search, so a lower bound, where
    there are more than two labels."""
    base = place.frozen_base()
    method = "exact" if len(base.features["label"].names) == 2 else "gradient"
    instances = instance_attack.instance_attack(base, epsilons, method, seed=place.seed)
    write_summary(place.path, instance_attack.summarise(instances), instances)


def transplant_adversaries(place: Place, names) -> None:
    """What adversaries' attention does to the frozen base: what did their other parameters compensate?"""
    base, groups = place.frozen_base(), {}
    for name in names:
        instances = transplant.transplant(base, place.predictions(name)).assign(model=name)
        groups.setdefault(name.rsplit("-", 1)[0], []).append(instances)
    rows = [
        adversary_facts(f"{name}-0") | transplant.summarise(pd.concat(group)) | {"seeds": len(group)}
        for name, group in groups.items()
    ]
    write_summary(place.path, rows, pd.concat(chain(*groups.values()), ignore_index=True))


def permute_attention(place: Place, permutations) -> None:
    """Jain & Wallace, section 4.2.1: the output under shuffled attention."""
    instances = permutation.permutation(place.frozen_base(), permutations, place.seed)
    write_summary(place.path, permutation.summarise(instances), instances)


def correlate_importance(place: Place) -> None:
    """Jain & Wallace, section 4.1: does attention agree with gradients and with leave-one-out?"""
    instances = importance.importance(place.model("base"), place.dataset("test"), progress=False)
    write_summary(place.path, importance.summarise(instances), instances)


def score_guides(place: Place, names, positive_label) -> None:
    """Wiegreffe & Pinter, section 3.4: what are the weights worth to a model that sees each token alone?"""
    rows = [
        {"guide": guide, **mean_and_std(sets, positive_label, "f1", "accuracy"), "seeds": len(sets)}
        for guide, sets in by_guide(place, names).items()
    ]
    write_summary(place.path, rows)


def compare_guides(place: Place, names, positive_label) -> None:
    """Every pair of guides: the difference of F1 with its interval."""
    guides = by_guide(place, names)
    rows = [
        {"guide_a": a, "guide_b": b, **_f1_difference(guides[a], guides[b], positive_label, place.seed)}
        for a, b in combinations(guides, 2)
    ]
    write_summary(place.path, rows)


def by_guide(place: Place, names) -> dict[str, list[datasets.Dataset]]:
    """The test prediction sets of the guided MLPs, grouped by their guide."""
    guides: dict[str, list] = {}
    for name in names:
        guides.setdefault(name.removeprefix("guided-").rsplit("-", 1)[0], []).append(place.predictions(name))
    return guides


def _f1_difference(sets_a: list, sets_b: list, positive_label: str | None, seed: int) -> dict:
    labels = np.array(sets_a[0]["label"][:])
    predicted = [np.array([np.array(s["probabilities"][:]).argmax(1) for s in sets]) for sets in (sets_a, sets_b)]
    difference = f1_difference(labels, *predicted, positive_index(sets_a[0], positive_label), seed)
    # One model shows nothing of how models of other seeds spread.
    warning = "one model alone" if min(len(sets_a), len(sets_b)) == 1 else ""
    return dict(zip(("f1_difference", "f1_ci_low", "f1_ci_high"), difference, strict=True)) | {"warning": warning}


def adversary_facts(name: str) -> dict:
    """kl_weight and start from a name such as `adversary-0.01-other-seed-0`."""
    _, kl_weight, start = name.rsplit("-", 1)[0].split("-", 2)
    return {"kl_weight": float(kl_weight), "start": start}


def distances(pair: pd.DataFrame) -> dict[str, float]:
    return {"jsd_mean": pair.jsd.mean(), "jsd_median": pair.jsd.median(), "tvd_mean": pair.tvd.mean()}


def mean_and_std(sets: list, positive_label: str | None, *names: str) -> dict[str, float]:
    """Mean and standard deviation (undefined for one model) of scores over models."""
    table = pd.DataFrame([scores(prediction_set, positive_label) for prediction_set in sets])
    return {f"{name}_{kind}": value for name in names for kind, value in table[name].agg(["mean", "std"]).items()}
