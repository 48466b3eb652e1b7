"""From the settings of an audit to its stages, their inputs and their hashes."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np

from ..arguments import ClassifierArguments, DataArguments, option, require_at_least, require_epsilons
from ..data.read import data_files
from ..errors import InputError
from ..training.adversarial import Start
from . import stages


@dataclass
class AuditConfig(ClassifierArguments, DataArguments):
    """The settings of one audit; every field is an option of `hf-attn-faith audit`."""

    output_dir: str = option(None, "Directory of the run.")
    num_seeds: int = option(
        5, "LSTMs with attention, LSTMs with uniform attention, and MLPs a guide; the base included."
    )
    kl_weights: list[float] = option([0.005, 0.01, 0.02], "λ of the adversaries: what a nat of KL is worth in TVD.")
    adversary_seeds: int = option(3, "Adversaries for each λ.")
    adversary_start: list[str] = option(
        ["other-seed", "warm"],
        "What adversaries start from, one or several of: other-seed (weights of another seed), same-seed (the base's "
        "initial weights), warm (the trained base with a new attention layer).",
    )
    adversary_epochs: int = option(40, "Epochs of an adversary at most.")
    adversary_patience: int = option(10, "Epochs without a better validation objective after which one stops.")
    epsilons: list[float] = option([0.01, 0.05, 0.1], "TVD of the output that an instance attack may spend.")
    permutations: int = option(100, "Random permutations of each text's attention.")

    def __post_init__(self):
        DataArguments.__post_init__(self)
        ClassifierArguments.__post_init__(self)
        if not self.output_dir:
            raise InputError("--output_dir is missing: name a directory for the run.")
        counts = ("num_seeds", "adversary_seeds", "adversary_epochs", "adversary_patience", "permutations")
        require_at_least(self, 1, *counts)
        for start in self.adversary_start:
            if start not in get_args(Start):
                raise InputError(f"--adversary_start {start} is unknown: take of {', '.join(get_args(Start))}.")
        require_epsilons(self)
        if not self.kl_weights or not self.adversary_start:
            raise InputError("--kl_weights and --adversary_start need at least one value each.")
        for kl_weight in self.kl_weights:
            if not 0 <= kl_weight < float("inf"):
                raise InputError(
                    f"--kl_weights {kl_weight} is not a finite number ≥ 0: a negative λ would pull attentions together."
                )


@dataclass(frozen=True)
class Stage:
    """One step of the audit: `function` writes the directory `name` of the run.

    Args:
        name: the directory, such as `models/base`.
        function: of `audit.stages`; called with the `Place` to write and the settings.
        settings: what the result depends on beside the inputs; JSON.
        inputs: the stages whose directories it reads.
        seed: the run's seed; the stage's own derives from it and the name.
        cost: how long it takes beside other stages, for the time left.
    """

    name: str
    function: Callable
    settings: dict
    inputs: tuple["Stage", ...]
    run_seed: int
    cost: float = field(default=1.0, compare=False)

    @cached_property
    def hash(self) -> str:
        facts = [self.name, self.function.__name__, self.settings, self.seed, [stage.hash for stage in self.inputs]]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def seed(self) -> int:
        """From the run's seed and the stage's name: order and extension change nothing."""
        return int.from_bytes(hashlib.sha256(f"{self.run_seed}/{self.name}".encode()).digest()[:4])

    @property
    def derived(self) -> bool:
        """Analyses are made again whenever their inputs changed; nothing is lost by it."""
        return self.name.startswith("analyses/")


def contents(config: AuditConfig) -> dict[str, str]:
    """SHA-256 of the user's own files, by the option that names them: who corrects them and gives the same command
    means the corrected ones. What is not local has none."""
    files = {} if config.dataset_name == "planted" else {"dataset_name": data_files(config.dataset_name)}
    for name in ("tokenizer", "word_vectors"):
        if value := getattr(config, name):
            path = Path(value).expanduser()
            files[name] = [file for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.is_file()]
    found = {}
    for name, paths in files.items():
        digest = hashlib.sha256()
        for path in paths:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        if paths:
            found[name] = digest.hexdigest()
    return found


def plan(config: AuditConfig) -> list[Stage]:
    """The stages of an audit in an order in which they can run."""
    made: list[Stage] = []

    def add(name, function, inputs=(), cost=1.0, **settings) -> Stage:
        made.append(Stage(name, function, settings, tuple(inputs), config.seed, cost))
        return made[-1]

    classifier = {f.name: getattr(config, f.name) for f in fields(ClassifierArguments) if f.name != "num_threads"}
    # The positive label changes scores, never a model; and the data are the same under every seed.
    no_matter = ("positive_label", "seed")
    data_settings = {
        "data": {f.name: getattr(config, f.name) for f in fields(DataArguments) if f.name not in no_matter},
        "word_vectors": classifier.pop("word_vectors"),
        "contents": contents(config),
    }
    data = Stage("data", stages.prepare_data, data_settings, (), config.split_seed)
    made.append(data)
    attention_type = classifier.pop("attention_type")
    everything = ["train", "validation", "test"]

    def predictions(name, model, inputs=(), splits=("test",), **guide) -> Stage:
        inputs = [data, model, *inputs]
        return add(f"predictions/{name}", stages.predict_model, inputs, 0.2 * len(splits), splits=list(splits), **guide)

    def lstm(name, attention_type, splits=("test",)) -> Stage:
        model = add(
            f"models/{name}",
            stages.train_model,
            [data],
            config.num_train_epochs,
            architecture="lstm",
            attention_type=attention_type,
            classifier=classifier,
        )
        return predictions(name, model, splits=splits)

    def mlp(guide, s, attention_type="imposed", inputs=()) -> Stage:
        name = f"guided-{guide}-{s}"
        imposed = {"guide": guide, "guide_seed": s} if attention_type == "imposed" else {}
        model = add(
            f"models/{name}",
            stages.train_model,
            [data, *inputs],
            config.num_train_epochs * 0.3,
            architecture="mlp",
            attention_type=attention_type,
            classifier=classifier,
            **imposed,
        )
        return predictions(name, model, inputs, **imposed)

    base = lstm("base", attention_type, everything)
    base_model = made[-2]
    seeds = [base] + [lstm(f"seed-{s}", attention_type) for s in range(1, config.num_seeds)]
    uniform = [lstm(f"uniform-{s}", "uniform") for s in range(config.num_seeds)]

    adversaries, guides = [], []
    for kl_weight, start in product(sorted(set(config.kl_weights)), dict.fromkeys(config.adversary_start)):
        # From the base's own initial weights there is one adversary only.
        for s in range(1 if start == "same-seed" else config.adversary_seeds):
            # Never 1e-05: the name is taken apart at its hyphens.
            name = f"adversary-{np.format_float_positional(kl_weight, trim='-')}-{start}"
            model = add(
                f"models/{name}-{s}",
                stages.train_adversary,
                [data, base_model],
                config.adversary_epochs * 0.6,  # it stops early
                kl_weight=kl_weight,
                start=start,
                epochs=config.adversary_epochs,
                patience=config.adversary_patience,
                classifier=classifier,
            )
            adversaries.append(predictions(f"{name}-{s}", model, splits=everything))
            guides.append(mlp(name, s, inputs=[adversaries[-1]]))
    for s in range(config.num_seeds):
        guides.append(mlp("uniform", s, "uniform"))
        guides.append(mlp("trained", s, attention_type))
        guides.append(mlp("base", s, inputs=[base]))
        guides.append(mlp("permuted", s, inputs=[base]))
        if config.dataset_name == "planted":
            guides.append(mlp("rationale", s))
            guides.append(mlp("off_rationale", s))

    def analysis(name, function, sets, **settings) -> None:
        names = [stage.name.removeprefix("predictions/") for stage in sets]
        add(f"analyses/{name}", function, sets, 0.2, names=names, **settings)

    def base_analysis(name, function, sets=(), cost=0.2, **settings) -> None:
        """Of the frozen base, by Jain & Wallace's tests and ours in answer to them."""
        add(f"analyses/{name}", function, [data, base_model, *sets], cost, **settings)

    score = {"positive_label": config.positive_label}
    guides.sort(key=lambda stage: stage.name.startswith("predictions/guided-adversary"))
    analysis("classifiers", stages.score_classifiers, [*seeds, *uniform, *adversaries, *guides], **score)
    analysis("uniform_baseline", stages.compare_uniform, [*seeds, *uniform], **score)
    analysis("seed_variance", stages.compare_seeds, seeds)
    analysis("adversaries", stages.compare_adversaries, [*seeds, *uniform, *adversaries], **score)
    if config.num_seeds > 1:
        analysis("calibration", stages.calibrate, [*seeds, *adversaries])
    analysis("guided_mlp", stages.score_guides, guides, **score)
    analysis("guided_mlp_differences", stages.compare_guides, guides, **score)
    base_analysis("instance_attack", stages.attack_instances, epsilons=sorted(set(config.epsilons)))
    names = [stage.name.removeprefix("predictions/") for stage in adversaries]
    base_analysis("transplant", stages.transplant_adversaries, adversaries, names=names)
    base_analysis("permutation", stages.permute_attention, permutations=config.permutations)
    base_analysis("importance", stages.correlate_importance, cost=2.0)
    return made
