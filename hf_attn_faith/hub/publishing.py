"""Publishes an audit on the Hub: models with cards, tables and figures, prediction sets, report or app; and the metrics
as Spaces."""

import importlib.metadata
import json
import logging
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import datasets
import yaml
from huggingface_hub import DatasetCardData, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from ..errors import InputError
from ..metrics import metric_folders
from ..run.layout import Run
from ..run.store import damaged_file
from ..specs import ModelSpec
from .model_cards import facts_from_run, write_card

logger = logging.getLogger(__name__)

# Nothing else ever goes up, least of all a pickle.
SUFFIXES = {".csv", ".json", ".md", ".parquet", ".png", ".py", ".safetensors", ".svg", ".tex", ".txt"}
COLUMNS = ["row", "label", "probabilities", "token_attention"]
# What report.html says where it holds texts.
REPORT_WITH_TEXT = "holds texts of the data"
WEBSITE = "https://huggingface.co"
PACKAGE = Path(__file__).parent.parent
# Of the Hub's machines; a Space names one version of each.
GRADIO = {"sdk_version": "6.31.0", "python_version": "3.11", "app_file": "app.py"}
APP = '''"""The models that models.json pins, side by side on a text that one types."""

from pathlib import Path

from hf_attn_faith.report.app import app_of_published

app = app_of_published(Path(__file__).with_name("models.json"))

if __name__ == "__main__":
    app.launch(ssr_mode=False, footer_links=[])
'''


@dataclass(frozen=True)
class Repo:
    """What one repo is to hold: paths in it, and the local files that go there."""

    id: str
    type: Literal["model", "dataset", "space"]
    files: dict[str, Path]
    sdk: Literal["gradio", "static"] | None = None

    def __str__(self):
        size = sum(path.stat().st_size for path in self.files.values())
        return f"{_url(self.id, self.type)}: {len(self.files)} files, {_kilobytes(size)}"


def publish_run(
    run_dir: Path,
    namespace: str,
    models: list[str] | None = None,
    private: bool = False,
    with_predictions: bool = False,
    with_text: bool = False,
    space: Literal["static", "gradio"] | None = None,
    dry_run: bool = False,
) -> list[str]:
    """Publishes a finished audit as the repos `namespace/RUN-MODEL`, RUN being the name of its directory, and
    `namespace/RUN-predictions`. The run itself is only read. Given again, it uploads what changed.

    The base goes first, since the cards of all others name its commit. Tables and figures lie in its repo.

    Args:
        models: names of models, or what they begin with, such as `adversary-0.01`. By default `uniform-0` and the
            first adversary of every λ and start; for an app the seeds too. The base is always among them.
        private: make the repos private.
        with_predictions: the models' prediction sets too, a configuration a model, a split a split.
        with_text: the texts with them, as the tokens that the models read; or a report that holds them.
        space: `static` for the report as the Space `namespace/RUN-report`; `gradio` for a live app of the models as
            `namespace/RUN-app`, which never holds a text of the data.
        dry_run: print the repos and their files, and contact nobody.

    Returns:
        The addresses of the repos.

    Raises:
        InputError: the run is not finished or damaged, has no such model, or the Hub refuses.
    """
    run = Run.open(Path(run_dir).resolve())
    if with_text and not with_predictions and space != "static":
        raise InputError("`with_text` adds texts to the prediction sets: give `with_predictions` too.")
    if space == "static":
        _check_report(run, with_text)
    specs = select_models(run, models, with_seeds=space == "gradio")
    ids = {spec.name: f"{namespace}/{run.path.name}-{spec.name}" for spec in specs}
    dataset_id = f"{namespace}/{run.path.name}-predictions" if with_predictions else None
    space_id = f"{namespace}/{run.path.name}-{'report' if space == 'static' else 'app'}" if space else None
    for repo_id in filter(None, [*ids.values(), dataset_id, space_id]):
        try:
            validate_repo_id(repo_id)
        except HFValidationError as error:
            raise InputError(
                f"{repo_id} is no name for a repo ({error}): check `namespace`, and give a run directory with a "
                "short name of letters, digits and hyphens."
            ) from error
    model_files = {spec: _model_files(run, spec) for spec in specs}
    if not dry_run:
        _require_token()
    if run.settings["tokenizer"] is None and not run.of_transformer:
        _warn_of_vocabulary()
    addresses = []
    with TemporaryDirectory() as scratch:
        scratch, base_revision, commits = Path(scratch), None, {}
        for number, (spec, files) in enumerate(model_files.items(), start=1):
            files |= _card(run, spec, ids, dataset_id, base_revision, scratch / spec.name)
            if spec.role == "base":
                files |= _tables_and_figures(run)
            commit = _upload(Repo(ids[spec.name], "model", files), f"{number}/{len(ids)}", private, dry_run)
            commits[spec.name] = commit
            if spec.role == "base":
                base_revision = commit
            addresses.append(_url(ids[spec.name], "model"))
        if dataset_id is not None:
            files = _prediction_files(run, specs, ids, with_text, scratch / "predictions")
            _upload(Repo(dataset_id, "dataset", files), "prediction sets", private, dry_run)
            addresses.append(_url(dataset_id, "dataset"))
        if space_id is not None:
            files = _space_files(run, space, specs, ids, commits, scratch / "space")
            _upload(Repo(space_id, "space", files, space), "Space", private, dry_run)
            addresses.append(_url(space_id, "space"))
    return addresses


def new_model_repo(name: str, own_vocabulary: bool) -> str:
    """Makes a repo for a model where there is none, and warns of a vocabulary of its own.

    Returns:
        Its full name, with the namespace.

    Raises:
        InputError: there is no token, or the Hub refuses.
    """
    _require_token()
    if own_vocabulary:
        _warn_of_vocabulary()
    with _told_in_one_line(name):
        return HfApi().create_repo(name, exist_ok=True).repo_id


def publish_metrics(namespace: str) -> list[str]:
    """Publishes the metrics as the Spaces `namespace/jsd` and `namespace/tvd`, for `evaluate.load`.

    Returns:
        Their addresses.
    """
    _require_token()
    folders = metric_folders()
    for number, (name, folder) in enumerate(folders.items(), start=1):
        files = {path.name: path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}
        _upload(Repo(f"{namespace}/{name}", "space", files, "gradio"), f"{number}/{len(folders)}")
    return [_url(f"{namespace}/{name}", "space") for name in folders]


def select_models(run: Run, wanted: list[str] | None, with_seeds: bool = False) -> list[ModelSpec]:
    """The models of a run that are asked for, the base first; `with_seeds`, where none is, the seeds too."""
    there = {spec.name: spec for spec in run.specs()}
    if "base" not in there:
        raise InputError(f"{run.path} has no base yet: run the audit to its end.")
    if wanted is None:
        names = [s.name for s in there.values() if s.role in ("uniform", "adversary") and s.seed == 0]
        names += [s.name for s in there.values() if s.role == "seed" and with_seeds]
    else:
        names = []
        for given in wanted:
            # "adversary-0.01" is not the beginning of "adversary-0.015-warm-0".
            found = [name for name in there if name == given or name.startswith(f"{given}-")]
            if not found:
                raise InputError(f"`models` {given} is no model of {run.path}: there are {', '.join(there)}.")
            names += found
    return [there[name] for name in dict.fromkeys(["base", *names])]


def _model_files(run: Run, spec: ModelSpec) -> dict[str, Path]:
    """The files that the audit made, as it made them: nothing that was put beside them later."""
    directory = run.model(spec).path
    if (file := damaged_file(directory)) is not None:
        raise InputError(f"{directory} is damaged ({file}): give the audit's command again, which mends it.")
    recorded = run.record(f"models/{spec.name}")["sha256"]
    return {file: directory / file for file in sorted(recorded) if Path(file).suffix in SUFFIXES}


def _card(
    run: Run, spec: ModelSpec, ids: dict[str, str], dataset_id: str | None, base_revision: str | None, directory: Path
) -> dict[str, Path]:
    """The card of a model, written into a directory of its own; the base's leads to all that is published with it."""
    directory.mkdir()
    repo_id = ids[spec.name]
    facts = replace(facts_from_run(run, spec), name=repo_id.split("/")[1], repo_id=repo_id)
    base_model = None
    if spec.role != "base":
        facts = replace(facts, base_repo=ids["base"], base_revision=base_revision)
        base_model = run.model(ModelSpec("base")).load()
    model = run.model(spec)
    write_card(directory, facts, model.load(), model.tokenizer(), base_model)
    if spec.role == "base":
        with open(directory / "README.md", "a", encoding="utf-8") as card:
            if (run.figures / "summary.png").exists():
                card.write("\n![The audit on one page](figures/summary.png)\n")
            card.write(_published_together(ids, dataset_id))
    return {path.name: path for path in sorted(directory.iterdir())}


def _published_together(ids: dict[str, str], dataset_id: str | None) -> str:
    links = [f"- [{name}]({_url(repo_id, 'model')})" for name, repo_id in ids.items() if name != "base"]
    if dataset_id is not None:
        links.append(f"- [prediction sets]({_url(dataset_id, 'dataset')})")
    files = f"{_url(ids['base'], 'model')}/tree/main"
    links.append(f"- [tables]({files}/tables) and [figures]({files}/figures) of the audit")
    return "\n## Published with it\n\n" + "\n".join(links) + "\n"


def _tables_and_figures(run: Run) -> dict[str, Path]:
    paths = sorted(path for directory in (run.tables, run.figures) for path in directory.glob("*"))
    return {str(path.relative_to(run.path)): path for path in paths if path.suffix in SUFFIXES}


def _check_report(run: Run, with_text: bool) -> None:
    if not run.report.exists():
        raise InputError(f"{run.report} does not exist: make it by `hf-attn-faith report {run.path}`.")
    if not with_text and REPORT_WITH_TEXT in run.report.read_text(encoding="utf-8"):
        raise InputError(f"{run.report} holds texts of the data: make it again without them, or give `with_text`.")


def _space_files(
    run: Run,
    space: Literal["static", "gradio"],
    specs: list[ModelSpec],
    ids: dict[str, str],
    commits: dict[str, str | None],
    directory: Path,
) -> dict[str, Path]:
    """The report as the Space's page, or the app and its code; and the commits of the models that it speaks of."""
    directory.mkdir()
    metadata = {"title": run.path.name, "sdk": space, "models": list(ids.values()), "tags": ["hf-attn-faith"]}
    rows = [f"- {_url(ids[spec.name], 'model')}/tree/{commits[spec.name] or 'main'}" for spec in specs]
    text = "The report of an audit by `hf_attn_faith`, of these models:"
    written = {}
    if space == "gradio":
        metadata |= GRADIO
        text = (
            "A live app of an audit by `hf_attn_faith`: what its base, seeds, uniform models and adversaries say of a "
            "text that one types, and where they attend. One text is an illustration; the verdict is the audit's. To "
            "read private models the Space needs a secret `HF_TOKEN` that may. It loads these:"
        )
        models = [{"repo": ids[s.name], "commit": commits[s.name], "spec": asdict(s)} for s in specs]
        manifest = {"title": f"Attention of {run.path.name}", "models": models}
        needed = [line for line in importlib.metadata.requires("hf-attn-faith") if "extra ==" not in line]
        written = {"app.py": APP, "models.json": json.dumps(manifest, indent=2), "requirements.txt": "\n".join(needed)}
    card = "\n".join(["---", yaml.safe_dump(metadata, sort_keys=False), "---", "", text, "", *rows, ""])
    for name, content in {"README.md": card, **written}.items():
        (directory / name).write_text(content, encoding="utf-8")
    files = {path.name: path for path in directory.iterdir()}
    if space == "static":
        return files | {"index.html": run.report}
    # It is on no index, and the app is to be that of the version that published it.
    return files | {f"{PACKAGE.name}/{path.relative_to(PACKAGE)}": path for path in sorted(PACKAGE.rglob("*.py"))}


def _prediction_files(
    run: Run, specs: list[ModelSpec], ids: dict[str, str], with_text: bool, directory: Path
) -> dict[str, Path]:
    """The prediction sets as parquet files, and the card from which `datasets` knows them."""
    files, configurations = {}, []
    for spec in specs:
        splits = []
        (directory / spec.name).mkdir(parents=True)
        for split, prediction_set in run.predictions(spec).splits().items():
            prediction_set = prediction_set.select_columns(COLUMNS)
            if with_text:
                feature = datasets.List(datasets.Value("string"))
                prediction_set = prediction_set.add_column("tokens", _tokens(run, split), feature=feature)
            file = f"{spec.name}/{split}.parquet"
            prediction_set.to_parquet(directory / file)
            files[file] = directory / file
            splits.append({"split": split, "path": file})
        configurations.append({"config_name": spec.name, "data_files": splits})
    metadata = DatasetCardData(configs=configurations, tags=["hf-attn-faith"], task_categories=["text-classification"])
    (directory / "README.md").write_text(
        f"""---
{metadata.to_yaml()}
---

# Prediction sets

What [a classifier]({_url(ids["base"], "model")}) and the models of its audit by `hf_attn_faith` say of every text, and
where their attention lies. A configuration is a model.

| column | content |
|:--|:--|
| `row` | position of the text in its split |
| `label` | its label in the dataset |
| `probabilities` | the model's output, one for each label |
| `token_attention` | the weight of each token, sums to 1; empty for a text without tokens |
"""
        + "| `tokens` | the text as the models read it |\n" * with_text
        + "\nThe attention of an `adversary` is misleading on purpose: do not show it to anybody as an explanation.\n"
    )
    return {"README.md": directory / "README.md"} | files


def _tokens(run: Run, split: str) -> list[list[str]]:
    tokenizer = run.data.tokenizer()
    words = tokenizer.batch_decode([[number] for number in range(len(tokenizer))])
    return [[words[number] for number in row] for row in run.data.split(split)["input_ids"][:]]


def _warn_of_vocabulary() -> None:
    logger.warning(
        "The vocabulary is that of the training texts: whoever may read what is published reads in tokenizer.json "
        "every word of these texts that was frequent enough, such as names in clinical notes. A higher "
        "`min_frequency` leaves rare words out, a `tokenizer` takes none from the texts."
    )


def _require_token() -> None:
    if get_token() is None:
        raise InputError("There is no token for the Hub: run `hf auth login`, or set HF_TOKEN.")


def _upload(repo: Repo, place: str, private: bool = False, dry_run: bool = False) -> str | None:
    """Makes the repo where it does not exist, and commits to it what has changed. Returns the name of its commit."""
    if dry_run:
        print(f"{repo}{', private' if private else ''}")
        for name, path in repo.files.items():
            print(f"{_kilobytes(path.stat().st_size):>12}  {name}")
        return None
    logger.info("[%s] %s", place, repo)
    api = HfApi()
    # Of links only: a file of the run is neither copied nor touched.
    with TemporaryDirectory() as folder, _told_in_one_line(repo.id):
        for name, path in repo.files.items():
            link = Path(folder, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        # `None` leaves the choice to the organisation's default.
        api.create_repo(repo.id, repo_type=repo.type, private=private or None, space_sdk=repo.sdk, exist_ok=True)
        if private and not api.repo_info(repo.id, repo_type=repo.type).private:
            raise InputError(f"{_url(repo.id, repo.type)} exists and is public: make it private, or drop `private`.")
        message = "Publish with hf-attn-faith"
        return api.upload_folder(repo_id=repo.id, repo_type=repo.type, folder_path=folder, commit_message=message).oid


@contextmanager
def _told_in_one_line(repo_id: str):
    """Turns what the Hub's client raises into an `InputError`, without the token, which no message of it holds."""
    again = "What is published stays, and the same command goes on from there."
    try:
        yield
    except HfHubHTTPError as error:
        status, reason = error.response.status_code, " ".join((error.server_message or "").split())
        match status:
            case 401:
                told = "the token is not valid: run `hf auth login`, or set HF_TOKEN."
            case 403:
                told = "give a token with write permission, and a namespace that it may write to."
            case 404:
                told = "there is no such place, or it is not yours: check the namespace."
            case 429:
                seconds = error.response.headers.get("retry-after")
                told = f"wait {f'{seconds} seconds' if seconds else 'some minutes'}. {again}"
            case _:
                told = again
        raise InputError(f"The Hub refuses {repo_id} ({status}: {reason}): {told}") from error
    except HFValidationError as error:
        raise InputError(f"{repo_id} is no name for a repo ({error}).") from error
    except (HTTPError, ConnectionError) as error:
        raise InputError(f"{constants.ENDPOINT} does not answer ({error}): see to the connection. {again}") from error


def _url(repo_id: str, type: str) -> str:
    return "/".join([WEBSITE, *([] if type == "model" else [f"{type}s"]), repo_id])


def _kilobytes(size: int) -> str:
    return f"{size / 1e3:,.1f} kB"
