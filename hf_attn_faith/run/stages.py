"""What each stage of an audit writes. Its inputs arrive as arguments: it reads nothing else of the run.

`transformers` and the training code are imported where they are used, so that a report or a dry run needs neither.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..analyses.base import Analysis, Evidence, Result
from ..arguments import (
    AdversaryArguments,
    ClassifierArguments,
    DataArguments,
    FineTunedAdversaryArguments,
    FineTuningArguments,
)
from ..errors import InputError
from ..specs import ModelSpec
from .layout import Data, PredictionSets, SavedModel
from .stage import Work

if TYPE_CHECKING:
    import datasets
    from transformers import Trainer


def prepare_data(work: Work, data: dict, word_vectors: str | None, contents: dict, model: str | None = None) -> None:
    """Loads the dataset, trains or loads the tokenizer, encodes the splits, reads the word vectors once; with the
    labels of a given model. `contents` only tells one state of the files from another."""
    from ..attention.loading import load_config
    from ..data.labels import with_labels_of
    from ..data.preparation import prepare_with_report
    from ..data.word_vectors import read_word_vectors

    splits, tokenizer, report = prepare_with_report(DataArguments(**data))
    if model is not None:
        splits = with_labels_of(load_config(model, "model"), splits, "model")
    (work.path / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if word_vectors is not None:
        read_word_vectors(word_vectors, tokenizer.get_vocab()).save(work.path / "word_vectors.safetensors")
    tokenizer.save_pretrained(work.path / "tokenizer")
    for split, dataset in splits.items():
        dataset.save_to_disk(work.path / split)


def train_model(
    work: Work,
    data: Data,
    spec: dict,
    architecture: str,
    attention_type: str,
    classifier: dict,
    guide: PredictionSets | None = None,
    embeddings: SavedModel | None = None,
) -> None:
    """Trains one classifier: an LSTM, or an MLP under its own, uniform, or a guide's attention, which starts from the
    input embeddings of a transformer where that is under audit."""
    from ..training.classification import classifier_trainer
    from ..training.fine_tuning import input_embeddings

    settings, vectors = ClassifierArguments(**classifier), data.word_vectors()
    if embeddings is not None:
        vectors = input_embeddings(embeddings.load().model)
        settings.embedding_size = vectors.matrix.shape[1]

    trainer = classifier_trainer(
        architecture,
        attention_type,
        _guided(data, "train", spec, guide),
        _guided(data, "validation", spec, guide),
        data.tokenizer(),
        settings,
        output_dir=str(work.path / "checkpoints"),
        seed=work.seed,
        word_vectors=vectors,
        disable_tqdm=True,
    )
    _train_quietly(work, trainer)


def fine_tune(work: Work, data: Data, spec: dict, base_model: str, fine_tuning: dict) -> None:
    """Fine-tunes one transformer, under a uniform readout if that is what it is."""
    from ..training.fine_tuning import fine_tuning_trainer

    trainer = fine_tuning_trainer(
        base_model,
        spec["role"] == "uniform",
        data.split("train"),
        data.split("validation"),
        data.tokenizer(),
        FineTuningArguments(**fine_tuning),
        output_dir=str(work.path / "checkpoints"),
        seed=work.seed,
        disable_tqdm=True,
    )
    _train_quietly(work, trainer)


def take_model(work: Work, data: Data, spec: dict, model: str) -> None:
    """Takes a classifier as it is for the base."""
    from ..attention.loading import load_classifier
    from ..attention.readout import Readout

    readout, _ = load_classifier(model, "model")
    if not isinstance(readout, Readout):
        raise InputError(f"`model` {model} is a classifier of this package: leave `model` out to audit such ones.")
    readout.model.save_pretrained(work.path)
    data.tokenizer().save_pretrained(work.path)
    (work.path / "metrics.json").write_text(json.dumps({"kept_step": None, "log_history": []}) + "\n")


def train_adversary(work: Work, data: Data, base: SavedModel, spec: dict, adversary: dict) -> None:
    """Trains one model-consistent adversary of the run's base."""
    from ..recipes import adversary_recipe

    _train_adversary(
        work, data, base, spec, adversary_recipe, AdversaryArguments(**adversary), word_vectors=data.word_vectors()
    )


def fine_tune_adversary(
    work: Work, data: Data, base: SavedModel, spec: dict, base_model: str | None, fine_tuning: dict
) -> None:
    """The same of the run's transformer."""
    from ..recipes import fine_tuned_adversary_recipe

    settings = FineTunedAdversaryArguments(**fine_tuning)
    start = {"pretrained": base_model, "trainable_layers": settings.trainable_layers}
    _train_adversary(work, data, base, spec, fine_tuned_adversary_recipe, settings, **start)


def _train_adversary(work: Work, data: Data, base: SavedModel, spec: dict, recipe, settings, **start) -> None:
    """`recipe` makes of the settings what the trainer takes; `start` is what `new_adversary` has to know beside."""
    from ..training.adversarial import ModelConsistentAdversarialTrainer, new_adversary

    base_model, place = base.load(), str(work.path / "checkpoints")
    trainer = ModelConsistentAdversarialTrainer(
        new_adversary(base_model, spec["start"], work.seed, **start),
        base_model,
        recipe(settings, spec["kl_weight"], output_dir=place, seed=work.seed, disable_tqdm=True),
        data.split("train"),
        data.split("validation"),
        processing_class=data.tokenizer(),
    )
    _train_quietly(work, trainer)


def _train_quietly(work: Work, trainer: Trainer) -> None:
    """Trains under the audit's own progress bar instead of Trainer's messages."""
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback

    from ..training.classification import train_and_save

    class Tell(TrainerCallback):
        def on_epoch_end(self, args, state, control, **kwargs):
            work.tell(state.epoch / args.num_train_epochs)

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Tell)
    _report(work, trainer)
    train_and_save(trainer, work.path)


def _report(work: Work, trainer: Trainer) -> None:
    """What `report_to` of Trainer does, kept on this machine."""
    trainer.args.report_to = [] if work.report_to == "none" else [work.report_to]
    trainer.args.project, trainer.args.run_name = work.project, work.name
    match work.report_to:
        case "tensorboard":
            from torch.utils.tensorboard import SummaryWriter
            from transformers.integrations import TensorBoardCallback

            # Trainer's own place goes with the checkpoints.
            trainer.add_callback(TensorBoardCallback(SummaryWriter(str(work.path / "logs"))))
        case "trackio":
            from transformers.integrations import TrackioCallback

            trainer.args.trackio_static_space_id = False  # by default a push to the Hub makes a public Space of it
            trainer.add_callback(TrackioCallback())


def predict_model(
    work: Work,
    data: Data,
    model: SavedModel,
    splits: list[str],
    token_logits: bool,
    guide: PredictionSets | None = None,
) -> None:
    """The prediction sets of a model, with token logits on test if asked."""
    from ..prediction import predict

    loaded = model.load()
    for split in splits:
        dataset = _guided(data, split, vars(model.spec), guide)
        logits = token_logits and split == "test"
        predict(loaded, dataset, progress=False, token_logits=logits).save_to_disk(work.path / split)


def _guided(data: Data, split: str, spec: dict, guide: PredictionSets | None) -> datasets.Dataset:
    """A split, with the imposed attention of a guided MLP."""
    model = ModelSpec(**spec)
    if model.role != "guided":
        return data.split(split)
    from ..guides import guide_of

    prediction_set = None if guide is None else guide.splits()[split]
    return guide_of(model).impose(data.split(split), split, prediction_set, data.tokenizer(), model.seed)


def analyse(
    work: Work,
    predictions: tuple[PredictionSets, ...],
    analysis: str,
    settings: dict,
    model: SavedModel | None = None,
    data: Data | None = None,
) -> None:
    """Makes one analysis of the protocol."""
    evidence = Evidence(
        {sets.spec: sets.splits() for sets in predictions},
        None if model is None else model.load(),
        None if data is None else data.split("test"),
    )
    asked = analysis_of(analysis)
    reason = evidence.model.no_imposing if "imposed" in asked.requires and evidence.of_readout else None
    result = Result.not_applicable(reason) if reason else asked.run(evidence, work.seed, **settings)
    result.save(work.path)


def not_applicable(work: Work, reason: str) -> None:
    """Leaves word of an analysis that cannot be made of the audited model."""
    Result.not_applicable(reason).save(work.path)


def analysis_of(name: str) -> Analysis:
    """The analysis of the protocol that has that name."""
    from ..analyses import protocol

    return next(analysis for analysis in protocol.PROTOCOL if analysis.name == name)
