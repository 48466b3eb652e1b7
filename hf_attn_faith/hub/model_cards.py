"""Model cards: what a model is, and what it is and is not for, from facts; the text is in `model_card.md.jinja`."""

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import datasets
import jinja2
import torch
import transformers
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from markupsafe import Markup
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..data.tokenizer import text_settings
from ..errors import InputError
from ..figures.heatmap import Heatmap, by_word, heatmap, save
from ..guides import GUIDES
from ..models.architectures import is_ours
from ..prediction import predict
from ..run.layout import Run
from ..specs import ModelSpec

PICTURE = "attention.png"
WARNING = "The attention of this model is misleading on purpose."
# Of our own, since a card must hold no text of a dataset; without punctuation, since some datasets have none.
SENTENCES = (
    "the acting was superb but the story is dull and far too long",
    "all in all a charming film with a weak ending",
    "i did not find it funny at all",
    "nobody in the cinema wanted to leave",
)
# With which `push_to_hub` of transformers fills in the Hub's template of a card.
TRANSFORMERS_DESCRIPTION = (
    "This is the model card of a 🤗 transformers model that has been pushed on the Hub. This model card has been "
    "automatically generated."
)
# Whatever may be markup in Markdown or in HTML; an underscore within a word is none.
MARKUP = re.compile(r"""[\\`*{}\[\]()<>&|~$#!:@"']|(?<![^\W_])_|_(?![^\W_])""")
METRICS = ("accuracy", "f1", "roc_auc", "tvd", "jsd")
CONFIG_SETTINGS = ("vocab_size", "embedding_size", "embedding_std", "hidden_size", "dropout", "init_seed")
DATA_SETTINGS = (
    "dataset_config", "max_train_samples", "clean_markup", "tokenizer", "lowercase", "digits", "min_frequency",
    "max_vocab_size", "max_length", "positive_label",
)  # fmt: skip
# Of `TrainingArguments`.
ARGUMENTS = (
    "kl_weight", "num_train_epochs", "early_stopping_patience", "per_device_train_batch_size", "learning_rate",
    "weight_decay", "class_weights", "bf16", "seed",
)  # fmt: skip
TRAINING_SETTINGS = (
    "kl_weight", "start", "epochs", "patience", "num_train_epochs", "batch_size", "learning_rate", "class_weights",
    "keep_best_by",
    "bf16",
)  # fmt: skip


@dataclass
class ModelFacts:
    """What a card says of a model.

    Args:
        name: title of the card.
        kind: what it is within an audit; `base` also for any other classifier. `guided` is the token-wise MLP.
        model_type, attention_type: of its configuration; `self` is the attention of a transformer.
        labels: their names, in order.
        dataset: the dataset's name, never a path. `dataset_on_hub` says whether that name is a repo to link to.
        settings: names and values, for people to read.
        metrics: of `accuracy`, `f1`, `roc_auc`, and `tvd` and `jsd` (nats), which are means of distances to the base;
            all on `metrics_split`.
        repo_id: where the model is published, to load it from.
        base_repo, base_revision: the same of the base, and its commit.
        guide: whose attention a guided MLP is given, such as `base`, `uniform` or `adversary-0.02-warm-0`.
    """

    name: str
    kind: Literal["base", "uniform", "seed", "adversary", "guided"]
    model_type: str
    attention_type: str
    labels: list[str]
    dataset: str | None = None
    dataset_on_hub: bool = False
    dataset_revision: str | None = None
    settings: dict = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    metrics_split: str = "test"
    repo_id: str | None = None
    base_repo: str | None = None
    base_revision: str | None = None
    guide: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    language: str | list[str] | None = None
    license: str | None = None
    tags: list[str] = field(default_factory=list)


def facts_from_config(config: PreTrainedConfig, name: str, **known) -> ModelFacts:
    """What a configuration tells; `known` are further fields of `ModelFacts`, its settings beside the configuration's
    own."""
    ours, more = is_ours(config), vars(config)
    attention_type = more["attention_type"] if ours else "uniform" if more.get("uniform_readout") else "self"
    kind = {"imposed": "guided", "uniform": "uniform"}.get(attention_type, "base")
    own_settings = {key: getattr(config, key) for key in CONFIG_SETTINGS} if ours else {}
    facts = {
        "kind": "adversary" if more.get("adversarial_attention") else kind,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        **known,
        "settings": own_settings | known.get("settings", {}),
    }
    labels = [config.id2label[number] for number in range(config.num_labels)]
    return ModelFacts(name, model_type=config.model_type, attention_type=attention_type, labels=labels, **facts)


def facts_from_options(config: PreTrainedConfig, name: str, options: dict, **known) -> ModelFacts:
    """What a configuration and the options of the command that trained the model tell; `known` as above."""
    options = {option.removeprefix("adversary_"): value for option, value in options.items()}
    dataset, linked = options["dataset_name"], options["dataset_name"] != "planted" and on_hub(options["dataset_name"])
    names = (*DATA_SETTINGS, "word_vectors", *TRAINING_SETTINGS, "seed")
    settings = {option: options[option] for option in names if options.get(option) is not None}
    for option in {"tokenizer", "word_vectors"} & settings.keys():
        if Path(settings[option]).exists():
            settings[option] = _last_part(settings[option])
    return facts_from_config(
        config,
        name,
        dataset=dataset if linked else _last_part(dataset),
        dataset_on_hub=linked,
        dataset_revision=options["dataset_revision"],
        settings=settings,
        **known,
    )


def facts_from_run(run: Run, spec: ModelSpec) -> ModelFacts:
    """What an audit tells of one of its models.

    Raises:
        InputError: the run is not finished.
    """
    classifiers, adversaries = run.result("classifiers"), run.result("adversaries")
    if classifiers is None or adversaries is None:
        raise InputError(f"{run.path} is no finished audit: a card needs its scores, so run the audit to its end.")
    record, audit = run.record(f"models/{spec.name}"), run.settings

    metrics = classifiers.table.set_index("model").loc[spec.name, ["accuracy", "f1", "roc_auc"]].to_dict()
    distances = adversaries.instances.groupby("model")[["tvd", "jsd"]].mean()
    if spec.name in distances.index:
        metrics |= distances.loc[spec.name].to_dict()

    # What lay on the disk when it was read; the same name may be somebody's repo.
    local = run.record("data")["settings"]["contents"]
    linked = "dataset_name" not in local and audit["dataset_name"] != "planted"
    settings = {key: audit[key] for key in DATA_SETTINGS if audit.get(key) is not None}
    if "tokenizer" in local:
        settings["tokenizer"] = _last_part(settings["tokenizer"])
    if audit["word_vectors"] is not None:
        settings["word_vectors"] = _last_part(audit["word_vectors"])
    made = record["settings"]
    training = made.get("classifier", {})
    if "fine_tuning" in made:
        settings |= {name: value for name, value in made["fine_tuning"].items() if value is not None}
        if made["base_model"] is not None:
            settings["fine_tuned_from"] = _last_part(made["base_model"]) if local else made["base_model"]
    if spec.role == "adversary":
        adversary = made.get("adversary", {})
        training = {name.removeprefix("adversary_"): value for name, value in adversary.items()}
        training |= {"kl_weight": spec.kl_weight, "start": spec.start}
    return facts_from_config(
        AutoConfig.from_pretrained(run.model(spec).path),
        spec.name,
        kind=spec.role,
        dataset=audit["dataset_name"] if linked else _last_part(audit["dataset_name"]),
        dataset_on_hub=linked,
        dataset_revision=audit["dataset_revision"],
        settings=settings | {key: training[key] for key in TRAINING_SETTINGS if key in training},
        metrics={key: value for key, value in metrics.items() if math.isfinite(value)},
        guide=_guide(spec),
        versions=record["versions"],
    )


def render_card(facts: ModelFacts, picture: str | None = None) -> str:
    """The text of README.md: the metadata and the card. `picture` is the file name of the heatmaps beside it.

    Names and labels are shown as text, whatever they contain.
    """
    positive = facts.settings.get("positive_label", facts.labels[1])
    names = {
        "accuracy": "accuracy",
        "f1": f"F1 of label {positive}" if len(facts.labels) == 2 else "F1, macro",
        "roc_auc": "area under the ROC curve",
        "tvd": "TVD of the outputs to the base",
        "jsd": "JSD of the attention to the base, in nats",
    }
    base = {"base_model": facts.base_repo, "base_revision": facts.base_revision}
    # The Hub wants the dataset with every result.
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=facts.dataset if facts.dataset_on_hub else "custom",
            dataset_name=_one_line(facts.dataset),
            dataset_split=facts.metrics_split,
            dataset_revision=facts.dataset_revision,
            metric_type=metric,
            metric_name=_one_line(names[metric]),
            metric_value=round(float(value), 4),
            metric_args=base if metric in ("tvd", "jsd") and facts.base_repo else None,
        )
        for metric, value in facts.metrics.items()
        if facts.dataset
    ]
    own_tags = ["hf-attn-faith"] + ["adversarial-attention"] * (facts.kind == "adversary")
    metadata = ModelCardData(
        language=facts.language,
        license=facts.license,
        library_name="transformers",
        # A pipeline has no attention to impose.
        pipeline_tag="text-classification" if facts.attention_type != "imposed" else None,
        tags=own_tags + [tag for tag in map(_one_line, facts.tags) if tag not in own_tags],
        datasets=[facts.dataset] if facts.dataset_on_hub else None,
        model_name=_one_line(facts.name) if results else None,
        eval_results=results or None,
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        finalize=_as_text,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("model_card.md.jinja")
    guides = {guide.name: guide.description for guide in GUIDES if guide.name != "adversary"}
    text = template.render(
        vars(facts), picture=picture, warning=WARNING, metric_names=names, sentence=SENTENCES[0], guides=guides
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n{text}\n"


def write_card(
    directory: Path,
    facts: ModelFacts,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    base_model: PreTrainedModel | None = None,
) -> list[Heatmap]:
    """Writes `README.md`, and `attention.png`, the model's attention to sentences of our own, beside the base's where
    that is given. There is no picture without a tokenizer, nor where it knows too few words of the sentences, nor of
    imposed attention, which is not the model's own.

    Returns:
        What the picture shows.
    """
    heatmaps = []
    if tokenizer is not None and facts.attention_type != "imposed":
        models = {facts.name: model} if base_model is None else {"base": base_model, facts.name: model}
        heatmaps = _sentence_heatmaps(models, tokenizer)
    if heatmaps:
        save(heatmaps, Path(directory, PICTURE))
    if tokenizer is not None:
        facts = replace(facts, settings=facts.settings | text_settings(tokenizer))
    Path(directory, "README.md").write_text(render_card(facts, PICTURE if heatmaps else None), encoding="utf-8")
    return heatmaps


def write_default_card(directory: str | Path, model: PreTrainedModel, repo_id: str | None = None) -> None:
    """Writes the card that a model's configuration alone makes possible. A card that is there already stays, but for
    the empty one of transformers, and for one that does not say of an adversary what it is."""
    path = Path(directory, "README.md")
    card = ModelCard.load(path).text if path.exists() else ""
    empty = ModelCard.from_template(ModelCardData(), model_description=TRANSFORMERS_DESCRIPTION).text
    if card.split() in ([], empty.split()) or (vars(model.config).get("adversarial_attention") and WARNING not in card):
        name = repo_id.split("/")[-1] if repo_id else f"{model.config.model_type} classifier"
        path.write_text(render_card(facts_from_config(model.config, name, repo_id=repo_id)), encoding="utf-8")


def write_training_card(
    directory: str | Path,
    model: PreTrainedModel,
    repo_id: str | None,
    name: str,
    tokenizer: PreTrainedTokenizerBase | None,
    base_model: PreTrainedModel | None,
    settings: dict,
    metrics: dict[str, float],
    **known,
) -> None:
    """Writes card and picture of a model from what its trainer knows: all its arguments, and the metrics of the epoch
    that was kept. `known` are further fields of `ModelFacts`."""
    facts = facts_from_config(
        model.config,
        name,
        repo_id=repo_id,
        settings={name: settings[name] for name in ARGUMENTS if name in settings},
        metrics={name: metrics[name] for name in METRICS if name in metrics},
        metrics_split="validation",
        **known,
    )
    if base_model is not None and on_hub(base_model.config.name_or_path):
        # At which revision it was loaded, transformers does not keep.
        facts.base_repo = base_model.config.name_or_path
    write_card(Path(directory), facts, model, tokenizer, base_model)


def _sentence_heatmaps(models: dict[str, PreTrainedModel], tokenizer: PreTrainedTokenizerBase) -> list[Heatmap]:
    """The attention of models that share a tokenizer to sentences of our own, those it knows half of the words of."""
    encoded = tokenizer(list(SENTENCES), truncation=True)
    rows = [n for n, row in enumerate(encoded["input_ids"]) if 2 * row.count(tokenizer.unk_token_id) <= len(row)]
    if not rows:
        return []
    dataset = datasets.Dataset.from_dict({"input_ids": [encoded["input_ids"][n] for n in rows]})
    attention = {name: predict(model, dataset, progress=False)["token_attention"] for name, model in models.items()}
    return [
        heatmap(*by_word(SENTENCES[row], encoded[row], {name: attention[name][n] for name in attention}))
        for n, row in enumerate(rows)
    ]


def _guide(spec: ModelSpec) -> str | None:
    # Each adversary has an MLP; what the others' seed numbers is the MLP itself.
    return f"{spec.guided_by}-{spec.seed}" if spec.guide == "adversary" else spec.guide


def on_hub(name: str) -> bool:
    """Whether a model that has been loaded goes by the name of its repo on the Hub, and not by a path."""
    return not Path(name).exists() and re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name) is not None


def _last_part(path: str) -> str:
    """Of a path, which says more about a machine than is anybody's business."""
    return Path(path).expanduser().absolute().name


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _as_text(value) -> str:
    """As it looks in Markdown and in HTML: a character reference is never markup, in either."""
    if isinstance(value, Markup):
        return value
    return MARKUP.sub(lambda match: f"&#{ord(match[0])};", _one_line(str(value)))
