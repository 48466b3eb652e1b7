"""Which optimiser trains the best adversary? Every configuration, λ, start and seed against one base, on validation.

python scripts/study_adversary.py --embedding_size 100 --hidden_size 64 --base_epochs 4 --kl_weights 0.02
python scripts/study_adversary.py --dataset_name FOLDER --embedding_std 1 --base_epochs 3 --kl_weights 0.002 \
    --configurations default adam_epsilon=1e-15 "amsgrad adam_epsilon=1e-15" recipe_2019

A configuration is a list of `name=value` (any of `AdversarialTrainingArguments`) and of these words:

    amsgrad      AdamW divides by the largest second moment so far
    sum          the loss is the sum over the batch (Adam's epsilon counts as much less)
    coupled      Adam with the weight decay in its gradient (L2), instead of AdamW
    recipe_2019  all three: the optimiser of Wiegreffe & Pinter's code
    warmup=N     λ rises linearly over the first N steps; the validation objective has the whole λ always

Nothing stops early, so that one sees what an early stop would have lost, and test is never looked at. Finished runs
stay in `--output_dir`, and a second call goes on from there.
"""

import argparse
import itertools
import json
from pathlib import Path

import pandas as pd
import torch
from transformers import AutoModelForSequenceClassification
from transformers.trainer_callback import PrinterCallback

from hf_attn_faith import AdversarialTrainingArguments, ModelConsistentAdversarialTrainer, new_adversary
from hf_attn_faith.arguments import ClassifierArguments, DataArguments
from hf_attn_faith.data.preparation import prepare
from hf_attn_faith.data.word_vectors import read_word_vectors
from hf_attn_faith.training.classification import classifier_trainer

WORDS = ("amsgrad", "sum", "coupled", "warmup")
RECIPE_2019 = "amsgrad sum coupled"
KEY = ["start", "kl_weight", "configuration", "seed"]


class StudiedTrainer(ModelConsistentAdversarialTrainer):
    """The public trainer under another optimiser, or with λ rising at first."""

    def __init__(self, *args, words: dict[str, str], **kwargs):
        super().__init__(*args, **kwargs)
        self.words, self.kl_weight = words, self.args.kl_weight
        self.remove_callback(PrinterCallback)

    def create_optimizer(self, *args, **kwargs):
        optimizer = super().create_optimizer(*args, **kwargs)
        kind = torch.optim.Adam if "coupled" in self.words else torch.optim.AdamW
        groups = [{name: group[name] for name in ("params", "weight_decay")} for group in optimizer.param_groups]
        self.optimizer = kind(
            groups, self.args.learning_rate, eps=self.args.adam_epsilon, amsgrad="amsgrad" in self.words, fused=True
        )
        return self.optimizer

    def instance_losses(self, inputs, outputs):
        training = self.model.training
        steps = int(self.words.get("warmup", 0)) if training else 0
        self.args.kl_weight = self.kl_weight * (min(1, self.state.global_step / steps) if steps else 1)
        losses = super().instance_losses(inputs, outputs)
        return losses * len(losses) if training and "sum" in self.words else losses


def trained_base(options, data, tokenizer, vectors):
    """Made once: the last of `--base_epochs`, or, without that, the best epoch by the default recipe."""
    path = options.output_dir / "base"
    if not path.exists():
        settings = ClassifierArguments(
            embedding_size=options.embedding_size, embedding_std=options.embedding_std, hidden_size=options.hidden_size
        )
        last = {"load_best_model_at_end": False, "save_strategy": "no"} if options.base_epochs else {}
        settings.num_train_epochs = options.base_epochs or settings.num_train_epochs
        trainer = classifier_trainer(
            "lstm", "additive", data["train"], data["validation"], tokenizer, settings,
            str(options.output_dir / "checkpoints"), 42, vectors, disable_tqdm=True, **last,
        )  # fmt: skip
        trainer.train()
        trainer.model.save_pretrained(path)
    return AutoModelForSequenceClassification.from_pretrained(path)


def adversary(options, data, base, vectors, start: str, kl_weight: float, configuration: str, seed: int) -> dict:
    """One run: its configuration, and its objective, TVD, KL and JSD after every epoch."""
    items = configuration.replace("default", "").replace("recipe_2019", RECIPE_2019).split()
    given = dict(item.split("=") if "=" in item else (item, "") for item in items)
    words = {name: given.pop(name) for name in WORDS if name in given}
    arguments = AdversarialTrainingArguments(
        output_dir=str(options.output_dir / "checkpoints"),
        seed=seed,
        kl_weight=kl_weight,
        num_train_epochs=options.epochs,
        load_best_model_at_end=False,
        save_strategy="no",
        disable_tqdm=True,
        **{name: float(value) for name, value in given.items()},
    )
    model = new_adversary(base, start, seed, vectors)
    trainer = StudiedTrainer(model, base, arguments, data["train"], data["validation"], words=words)
    trainer.train()
    run = dict(zip(KEY, (start, kl_weight, configuration, seed), strict=True))
    for part, prefix in (("train", ""), ("validation", "eval_")):
        logs = [log for log in trainer.state.log_history if f"{prefix}tvd" in log]
        run[part] = [
            {"objective": log[f"{prefix}tvd"] - kl_weight * log[f"{prefix}kl"]}
            | {name: log[prefix + name] for name in ("tvd", "kl", "jsd")}
            for log in logs
        ]
    return run


def table(runs: list[dict]) -> pd.DataFrame:
    """Over the seeds of a configuration, the mean of: the least objective on validation, TVD, JSD and number of its
    epoch, the epochs, and the objective on train after the last; how many seeds are at a TVD under .05 there."""
    rows = []
    for run in runs:
        validation = pd.DataFrame(run["validation"])
        best = validation.loc[validation.objective.idxmin()]
        rows.append(
            {name: run[name] for name in KEY}
            | dict(best[["objective", "tvd", "jsd"]])
            | {"epoch": best.name + 1, "of": len(validation), "objective (train)": run["train"][-1]["objective"]}
            | {"TVD < .05": int(best.tvd < 0.05), "seeds": 1}
        )
    groups = pd.DataFrame(rows).drop(columns="seed").groupby(KEY[:-1], sort=False)
    counted = ["TVD < .05", "seeds"]
    return groups.mean().drop(columns=counted).join(groups[counted].sum()).reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_name", default="planted")
    parser.add_argument("--word_vectors")
    parser.add_argument("--embedding_size", type=int, default=300)
    parser.add_argument("--embedding_std", type=float, default=0.1)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--base_epochs", type=int, help="of the base, its last one kept (default: as of `train`)")
    parser.add_argument("--epochs", type=int, default=15, help="of every adversary")
    parser.add_argument("--starts", nargs="+", default=["other-seed"])
    parser.add_argument("--kl_weights", nargs="+", type=float, default=[0.005, 0.01, 0.02])
    parser.add_argument("--configurations", nargs="+", default=["default", "adam_epsilon=1e-15", "recipe_2019"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--output_dir", type=Path, default=Path("runs/study_adversary"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    data, tokenizer = prepare(DataArguments(dataset_name=options.dataset_name))[:2]
    vectors = read_word_vectors(options.word_vectors, tokenizer.get_vocab()) if options.word_vectors else None
    base = trained_base(options, data, tokenizer, vectors)
    output = options.output_dir / "runs.jsonl"
    runs = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    finished = {tuple(run[name] for name in KEY) for run in runs}
    wanted = itertools.product(options.starts, options.kl_weights, options.configurations, options.seeds)
    for key in wanted:
        if key not in finished:
            runs.append(adversary(options, data, base, vectors, *key))
            with output.open("a") as file:
                file.write(json.dumps(runs[-1]) + "\n")
    print(table(runs).to_markdown(index=False, floatfmt=".3f"))


if __name__ == "__main__":
    main()
