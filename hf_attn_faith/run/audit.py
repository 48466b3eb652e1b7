"""From the settings of an audit to its stages, and these made: the whole protocol, resumable and extendable."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import product
from pathlib import Path

import joblib
import psutil
import torch
import yaml

from ..analyses import power, protocol
from ..analyses.scores import positive_index
from ..analyses.verdicts import Margins
from ..arguments import (
    AdversaryArguments,
    AuditArguments,
    ClassifierArguments,
    DataArguments,
    FineTunedAdversaryArguments,
    FineTuningArguments,
)
from ..data.read import data_files
from ..errors import InputError
from ..guides import GUIDES, Guide
from ..process import set_up
from ..specs import ModelSpec
from . import estimate, stages, store
from .executors import Executor, InProcess, Local, run_stages
from .layout import Data, PredictionSets, Run, SavedModel
from .progress import Progress
from .stage import Stage

# Bytes that the training of a model on texts of some hundred words takes at its height.
WORKER_MEMORY = 1.5e9
# Of a transformer, beside that of an LSTM: what an epoch costs.
FINE_TUNED = 15.0
MARGINS = ("margin_f1", "margin_tvd", "margin_jsd")
# What audits that are made together have in common.
SHARED = ("ray", "num_workers", "num_threads")
ALL_SPLITS = ("train", "validation", "test")
NO_OTHERS = (
    "It is not known what the given model was fine-tuned from, so that no others of its kind were trained beside it: "
    "give that as `base_model`."
)


def contents(config: AuditArguments) -> dict[str, str]:
    """SHA-256 of the user's own files, by the option that names them: who corrects them and gives the same command
    means the corrected ones. What is not local has none."""
    files = {} if config.dataset_name == "planted" else {"dataset_name": data_files(config.dataset_name)}
    for name in ("tokenizer", "word_vectors", "base_model", "model"):
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


def plan(config: AuditArguments) -> list[Stage]:
    """The stages of an audit, each behind those that it reads."""
    classifier, adversary, fine_tuning, fine_tuning_of_adversaries = (
        {f.name: getattr(config, f.name) for f in fields(arguments) if f.name != "num_threads"}
        for arguments in (ClassifierArguments, AdversaryArguments, FineTuningArguments, FineTunedAdversaryArguments)
    )
    transformer = config.model or config.base_model
    # The positive label changes scores, never a model; and the data are the same under every seed.
    no_matter = ("positive_label", "seed")
    data_settings = {
        "data": {f.name: getattr(config, f.name) for f in fields(DataArguments) if f.name not in no_matter},
        "word_vectors": classifier.pop("word_vectors"),
        "contents": contents(config),
    }
    if transformer:
        data_settings["data"]["tokenizer"] = transformer
        data_settings["model"] = config.model
    data = Stage("data", stages.prepare_data, Data, {}, data_settings, config.split_seed)
    made = [data]
    attention_type = classifier.pop("attention_type")
    predicted: dict[ModelSpec, Stage] = {}

    def add(name, function, open, inputs, settings, cost, version=1) -> Stage:
        told = {"version": version, "cost": cost, "report_to": config.report_to}
        made.append(Stage(name, function, open, inputs, settings, config.seed, **told))
        return made[-1]

    def train(spec: ModelSpec, function, inputs: dict, cost: float, **settings) -> Stage:
        """The stage that trains a model, and the one of its prediction sets."""
        settings = {"spec": asdict(spec), **settings}
        model = add(
            f"models/{spec.name}", function, partial(SavedModel, spec=spec), {"data": data, **inputs}, settings, cost
        )
        # What guides and adversaries learn from is needed of every text.
        splits = ALL_SPLITS if spec.role in ("base", "adversary") else ("test",)
        predicted[spec] = add(
            f"predictions/{spec.name}",
            stages.predict_model,
            partial(PredictionSets, spec=spec),
            {"data": data, "model": model, **{name: stage for name, stage in inputs.items() if name == "guide"}},
            {"splits": list(splits), "token_logits": spec.role == "base" and not transformer},
            0.2 * len(splits),
        )
        return model

    def lstm(spec: ModelSpec) -> Stage:
        settings = {"attention_type": "uniform" if spec.role == "uniform" else attention_type, "classifier": classifier}
        return train(spec, stages.train_model, {}, config.num_train_epochs, architecture="lstm", **settings)

    def lstm_adversary(spec: ModelSpec) -> None:
        cost = config.adversary_epochs * 0.6  # it stops early
        train(spec, stages.train_adversary, {"base": base_model}, cost, adversary=adversary)

    def fine_tuned(spec: ModelSpec) -> Stage:
        cost = FINE_TUNED * config.fine_tuning_epochs
        return train(spec, stages.fine_tune, {}, cost, base_model=config.base_model, fine_tuning=fine_tuning)

    def fine_tuned_adversary(spec: ModelSpec) -> None:
        cost = FINE_TUNED * config.fine_tuned_adversary_epochs
        settings = {"base_model": config.base_model, "fine_tuning": fine_tuning_of_adversaries}
        train(spec, stages.fine_tune_adversary, {"base": base_model}, cost, **settings)

    def mlp(guide: Guide, spec: ModelSpec, guided_by: ModelSpec | None) -> None:
        train(
            spec,
            stages.train_model,
            ({} if guided_by is None else {"guide": predicted[guided_by]})
            | ({"embeddings": base_model} if transformer else {}),
            config.num_train_epochs * 0.3,
            architecture="mlp",
            attention_type=attention_type if guide.attention_type == "trained" else guide.attention_type,
            classifier=classifier,
        )

    train_classifier, train_adversary = (fine_tuned, fine_tuned_adversary) if transformer else (lstm, lstm_adversary)
    base = ModelSpec("base")
    base_model = train(base, stages.take_model, {}, 0.1, model=config.model) if config.model else train_classifier(base)
    # Of a model that is given as it is, there are others only where it is known what it was fine-tuned from.
    alone = config.model and not config.base_model
    if not alone:
        for seed in range(1, config.num_seeds):
            train_classifier(ModelSpec("seed", seed))
        for seed in range(config.num_seeds):
            train_classifier(ModelSpec("uniform", seed))
    adversaries = []
    for kl_weight, start in product(sorted(set(config.kl_weights)), dict.fromkeys(config.adversary_start)):
        # From the base's own initial weights there is one adversary only.
        for seed in range(1 if start == "same-seed" else config.adversary_seeds):
            adversaries.append(ModelSpec("adversary", seed, kl_weight, start))
            train_adversary(adversaries[-1])
    *guides, of_adversary = (guide for guide in GUIDES if not guide.planted or config.dataset_name == "planted")
    for seed, guide in product(range(config.num_seeds), guides):
        mlp(guide, ModelSpec("guided", seed, guide=guide.name), base if guide.of == "base" else None)
    for spec in adversaries:
        mlp(of_adversary, replace(spec, role="guided", guide=of_adversary.name), spec)

    roles = {spec.role for spec in predicted} | {"imposed"} | ({"readout"} if transformer else set())
    for analysis in protocol.PROTOCOL:
        name = f"analyses/{analysis.name}"
        if analysis.possible(roles):
            wanted = {*analysis.requires, *analysis.uses}
            inputs = {"predictions": tuple(stage for spec, stage in predicted.items() if spec.role in wanted)}
            if "model" in wanted or (transformer and "imposed" in wanted):
                inputs |= {"model": base_model, "data": data}
            settings = {
                "analysis": analysis.name,
                "settings": {name: _canonical(getattr(config, name)) for name in analysis.settings},
            }
            add(name, stages.analyse, _nothing, inputs, settings, analysis.cost, analysis.version)
        elif alone:
            add(name, stages.not_applicable, _nothing, {}, {"reason": NO_OTHERS}, 0.01)
    return made


def _canonical(value):
    return sorted(set(value)) if isinstance(value, list) else value


def _nothing(path: Path) -> None:
    """No stage reads an analysis."""


def run_audit(config: AuditArguments, overwrite: bool = False, progress: bool = True) -> Run:
    """Makes every stage that is not finished. `report.build` renders what they found.

    Raises:
        InputError: a mistake in the settings or the data; nothing half-written stays. Also where finished stages
            were made with other settings, unless `overwrite`, and where another process works in the directory.
        StageError: a stage failed.
    """
    ((run, error),) = run_audits([config], overwrite, progress).items()
    if error is not None:
        raise error
    return run


def run_audits(
    configs: list[AuditArguments], overwrite: bool = False, progress: bool = True
) -> dict[Run, Exception | None]:
    """The same for several audits, with all their stages in one queue. What ends one of them leaves the others alone.

    Returns:
        What `run_audit` would raise for each run; None where it is finished.

    Raises:
        InputError: the audits cannot be made together.
    """
    _refuse_clashes(configs)
    set_up(configs[0].num_threads)
    ended: dict[Run, Exception | None] = {Run(Path(config.output_dir)): None for config in configs}
    planned: dict[Run, list[Stage]] = {}
    with ExitStack() as held:
        for run, config in zip(ended, configs, strict=True):
            try:
                stages = plan(config)
                held.enter_context(_held(run, ended))
                store.remove_damaged(stages, run)
                if store.finished_hash(stages[0], run) == stages[0].hash:
                    _check(config, run)  # before anything is taken away
                store.remove_outdated(stages, run, overwrite)
                _write_protocol(config, run)
                planned[run] = stages
            except InputError as error:
                ended[run] = error
        if planned:
            ended |= _make(planned, dict(zip(ended, configs, strict=True)), progress)
    return ended


def _refuse_clashes(configs: list[AuditArguments]) -> None:
    places = [Path(config.output_dir).resolve() for config in configs]
    if twice := next((place for place in places if places.count(place) > 1), None):
        raise InputError(f"`output_dir` {twice} is that of two audits: give each its own.")
    for name in SHARED:
        if len({getattr(config, name) for config in configs}) > 1:
            raise InputError(f"`{name}` differs from audit to audit, which share their workers: give it once, for all.")


@contextmanager
def _held(run: Run, ended: dict[Run, Exception | None]) -> Iterator[None]:
    """The directory of a run, locked. If it was empty, it is so again after a mistake has ended the run."""
    existed = run.path.exists()
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        entries = {path.name for path in run.path.iterdir()}
    except OSError as error:
        raise InputError(f"`output_dir` {run.path} cannot be made: {error.strerror}.") from error
    if entries and not entries & {run.settings_path.name, store.LOCK}:
        raise InputError(f"`output_dir` {run.path} is not empty and holds no audit: name a new directory.")
    with store.locked(run):
        yield
        # Under the lock: who is refused it must not take away what its holder has begun.
        if isinstance(ended[run], InputError) and not entries:
            shutil.rmtree(run.path)
            if existed:
                run.path.mkdir()


def _make(planned: dict[Run, list[Stage]], configs: dict[Run, AuditArguments], progress: bool) -> dict[Run, Exception]:
    runs = {stage: run for run, stages in planned.items() for stage in stages}
    unfinished = {stage: run for stage, run in runs.items() if store.finished_hash(stage, run) is None}
    for run, (data, *_) in planned.items():
        if data not in unfinished:
            _write_settings(configs[run], run)
    executor = _executor(next(iter(configs.values())), len(unfinished))
    bar = Progress(unfinished, executor.slots, progress)

    def done(stage: Stage) -> None:
        bar.done(stage)
        run = runs[stage]
        if stage is planned[run][0]:
            _check(configs[run], run)
            _write_settings(configs[run], run)

    try:
        return run_stages(runs, executor, bar.begun, done, bar.failed)
    finally:
        executor.close()
        bar.close()


def _executor(config: AuditArguments, stages: int) -> Executor:
    if config.ray and stages:
        try:
            from .ray_executor import Ray
        except ModuleNotFoundError as error:
            raise InputError("`ray` needs the package of that name: pip install 'hf-attn-faith[ray]'.") from error
        return Ray(config.ray, config.num_workers, config.num_threads)
    slots = min(config.num_workers or default_workers(), stages)
    return Local(slots, config.num_threads) if slots > 1 else InProcess()


def default_workers() -> int:
    """One for each GPU, or for each CPU that this process may use, if there is memory for so many."""
    cpus = joblib.cpu_count()  # as cgroup and affinity allow
    room = int(psutil.virtual_memory().available / WORKER_MEMORY)
    return max(1, min(torch.cuda.device_count() or cpus, room))


def _write_protocol(config: AuditArguments, run: Run) -> None:
    """Once and for all."""
    margins = {name: getattr(config, name) for name in MARGINS}
    if not run.protocol_path.exists():
        run.protocol_path.write_text(yaml.safe_dump({"margins": margins}, sort_keys=False), encoding="utf-8")


def _write_settings(config: AuditArguments, run: Run) -> None:
    run.settings_path.write_text(yaml.safe_dump(asdict(config), sort_keys=False), encoding="utf-8")


def _check(config: AuditArguments, run: Run) -> None:
    """What can be known only from the data, before anything is trained."""
    positive_index(run.data.split("test"), config.positive_label)
    vectors = run.data.word_vectors()
    if vectors is not None and (width := vectors.matrix.shape[1]) != config.embedding_size:
        raise InputError(f"`word_vectors` have {width} dimensions: give `embedding_size` {width}.")


def describe(*configs: AuditArguments) -> str:
    """The stages of audits that are made together, which are done, and about how long the rest takes: judged by those
    that are done or, where none is, measured on few texts in a temporary folder, which takes about a minute."""
    _refuse_clashes(list(configs))
    told, left = [], {}
    for config in configs:
        run = Run(Path(config.output_dir))
        planned = plan(config)
        seconds = estimate.from_finished(planned, run) or estimate.by_pilots(planned, config, plan)
        left |= {s: seconds[s] for s in planned if store.finished_hash(s, run) != s.hash}
        told += [*_states(planned, run), f"{len(planned)} stages.", _power(config, planned, run), ""]
    slots = configs[0].num_workers or default_workers()
    return "\n".join([*told, f"Time left: {estimate.told(left, slots)}."])


def _states(planned: list[Stage], run: Run) -> list[str]:
    """A line a stage."""
    lines = []
    for stage in planned:
        match store.finished_hash(stage, run):
            case None:
                state = "to do"
            case stage.hash:
                state = "done"
            case "damaged":
                state = "damaged: to do again"
            case _:
                state = "to do again" if stage.derived else "made with other settings"
        lines.append(f"{state:>24}  {stage.name}")
    return lines


def _power(config: AuditArguments, planned: list[Stage], run: Run) -> str:
    texts = len(run.data.split("test")) if store.finished_hash(planned[0], run) else None
    groups = len(set(config.kl_weights)) * len(set(config.adversary_start))
    margins = Margins(config.margin_f1, config.margin_tvd, config.margin_jsd)
    said = power.told(config.num_seeds, config.adversary_seeds, groups, texts or 1000, margins)
    assumed = "" if texts else " (1,000 test texts are assumed before the data are read.)"
    return said + assumed
