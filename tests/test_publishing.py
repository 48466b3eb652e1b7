"""Audits on their way to the Hub and back: complete, unchanged, and never more than was asked for."""

import importlib.util
import inspect
import itertools
import json
import logging
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import datasets
import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.utils import get_session
from huggingface_hub.utils import logging as hub_logging
from loopback_hub import FAILURE, Fault, too_many_requests
from safetensors.torch import load_file, save_file
from test_hub_round_trip import TEXTS, outputs
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from hf_attn_faith import metrics
from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.attention.loading import load_classifier
from hf_attn_faith.cli.main import main
from hf_attn_faith.errors import InputError
from hf_attn_faith.hub import publishing
from hf_attn_faith.hub.model_cards import render_card
from hf_attn_faith.hub.publishing import publish_run, select_models
from hf_attn_faith.run.audit import run_audit
from hf_attn_faith.run.layout import Run
from hf_attn_faith.specs import ModelSpec

ADVERSARY = "adversary-0.02-warm-0"
AUDIT = {
    "dataset_name": "planted",
    "max_train_samples": 32,
    "embedding_size": 4,
    "hidden_size": 4,
    "num_train_epochs": 1,
    "num_seeds": 1,
    "kl_weights": [0.02],
    "adversary_seeds": 1,
    "adversary_start": ["warm"],
    "adversary_epochs": 1,
    "epsilons": [0.05],
    "permutations": 2,
    "num_workers": 1,
}


@pytest.fixture(autouse=True, scope="module")
def process():
    """What the command sets for its whole process, as it was before."""
    verbosity, level = transformers_logging.get_verbosity(), logging.getLogger("hf_attn_faith").level
    yield
    transformers_logging.set_verbosity(verbosity)
    datasets.enable_progress_bars()
    hub_logging.enable_propagation()
    logging.getLogger("hf_attn_faith").setLevel(level)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished audit, with a figure."""
    run_dir = tmp_path_factory.mktemp("runs") / "tiny"
    run_audit(AuditArguments(**AUDIT, output_dir=str(run_dir)), progress=False)
    for kind, name in (("tables", "adversaries.csv"), ("figures", "tvd_jsd.svg")):
        (run_dir / kind).mkdir()
        (run_dir / kind / name).write_text("a file of the report")
    return run_dir


@pytest.fixture
def without_pictures(monkeypatch):
    """Cards of text alone, for tests that publish again and again."""

    def write_card(directory, facts, *models):
        (directory / "README.md").write_text(render_card(facts))

    monkeypatch.setattr(publishing, "write_card", write_card)


def snapshot(folder):
    return {path: path.is_file() and (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*")}


def published(hub, base="tiny-base"):
    """What lies in every repo, but for the name of the base's commit, which is another on every Hub."""
    contents = {(repo.kind, repo.id): repo.contents() for repo in hub.repos.values()}
    names = [commit.oid.encode() for repo in hub.repos.values() if repo.id.endswith(base) for commit in repo.commits]
    for files in contents.values():
        for name in names:
            files["README.md"] = files["README.md"].replace(name, b"COMMIT")
    return contents


# The round trip


def test_what_was_published_loads_anywhere(hub, run, run_python, capsys):
    """Out of regular files and large file storage, in a process without the package: bit for bit what is in the run.
    And the pulled adversary can be trained further and pushed."""
    for storage, namespace in (("regular", "tester"), ("lfs", "testers")):
        hub.storage = lambda path, size, storage=storage: (
            storage if path.endswith((".safetensors", ".parquet")) else "regular"
        )
        assert main(["publish", str(run), "--namespace", namespace, "--models", "adversary", "--with_predictions"]) == 0
        lfs = {file.lfs for file in hub.repos["model", f"{namespace}/tiny-{ADVERSARY}"].find("main").files.values()}
        assert lfs == ({False} if storage == "regular" else {False, True})
    hub.storage = "auto"
    assert main(["publish-metrics", "--namespace", "tester"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        *(
            f"https://huggingface.co/{repo}"
            for name in ("tester", "testers")
            for repo in (
                f"{name}/tiny-base",
                f"{name}/tiny-{ADVERSARY}",
                f"datasets/{name}/tiny-predictions",
            )
        ),
        "https://huggingface.co/spaces/tester/jsd",
        "https://huggingface.co/spaces/tester/tvd",
    ]
    names = ["base", ADVERSARY]
    printed = run_python(
        f"""
import json

{inspect.getsource(outputs)}

import datasets
import evaluate
from transformers import (
    AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments
)

datasets.disable_progress_bars()
for namespace in ("tester", "testers"):
    for name in {names}:
        print("JSON", json.dumps(outputs(f"{{namespace}}/tiny-{{name}}", {TEXTS!r}, trust_remote_code=True)))
        print("JSON", json.dumps(datasets.load_dataset(f"{{namespace}}/tiny-predictions", name, split="test")[:]))
base, adversary = (
    datasets.load_dataset("testers/tiny-predictions", name, split="test")["token_attention"][:]
    for name in ("base", {ADVERSARY!r})
)
jsd = evaluate.load("tester/jsd").compute(predictions=adversary, references=base, per_instance=True)
print("JSON", json.dumps(jsd))
print("JSON", json.dumps(evaluate.load("tester/tvd").compute(predictions=[[1, 0]], references=[[0, 1]])))

repo = "tester/tiny-{ADVERSARY}"
tokenizer = AutoTokenizer.from_pretrained(repo, trust_remote_code=True)
model = AutoModelForSequenceClassification.from_pretrained(repo, trust_remote_code=True)
rows = datasets.Dataset.from_dict({{"input_ids": tokenizer({TEXTS[:1] * 8})["input_ids"], "labels": [0, 1] * 4}})
arguments = TrainingArguments(
    "tuned", max_steps=1, learning_rate=0.1, use_cpu=True, hub_model_id="tester/tuned", report_to=[]
)
trainer = Trainer(
    model, arguments, DataCollatorWithPadding(tokenizer), train_dataset=rows, processing_class=tokenizer
)
trainer.train()
trainer.push_to_hub()
print("JSON", json.dumps(outputs("tester/tuned", {TEXTS!r}, trust_remote_code=True)))
try:
    import hf_attn_faith
except ModuleNotFoundError:
    print("missing")
"""
    )
    *found, jsd, tvd, tuned = [
        json.loads(line.removeprefix("JSON")) for line in printed.splitlines() if line.startswith("JSON")
    ]
    assert printed.splitlines()[-1] == "missing"
    assert len(found) == 2 * 2 * len(names)
    published_columns = ["row", "label", "probabilities", "token_attention"]
    predictions = {
        name: datasets.load_from_disk(run / "predictions" / name / "test").select_columns(published_columns)
        for name in names
    }
    for number, name in enumerate([*names, *names]):
        assert found[2 * number] == outputs(str(run / "models" / name), TEXTS)
        assert found[2 * number + 1] == predictions[name][:]
    sets = {"predictions": predictions[ADVERSARY], "references": predictions["base"]}
    ours = metrics.load("jsd").compute(
        **{role: prediction_set["token_attention"][:] for role, prediction_set in sets.items()}, per_instance=True
    )
    assert jsd == ours and tvd == {"tvd": 1.0}
    # With the package, for the same numbers.
    assert tuned == outputs("tester/tuned", TEXTS) != found[2]
    features = datasets.load_dataset("tester/tiny-predictions", "base", split="train").features
    assert features == datasets.load_from_disk(run / "predictions" / "base" / "train").features


def test_the_repos_of_a_run(hub, run, tmp_path, caplog):
    copy = Path(shutil.copytree(run, tmp_path / "tiny"))
    for place in (copy, copy / "models" / "base", copy / "tables"):
        (place / "training_args.bin").write_bytes(pickle.dumps("settings"))
        (place / "weights.pkl").write_bytes(pickle.dumps("weights"))
    (copy / "models" / "base" / "notes.txt").write_text("Mrs Miller, 41, has a cough")
    before = snapshot(copy)
    assert main(["publish", str(copy), "--namespace", "tester", "--models", "adversary-0.02", "uniform"]) == 0
    assert snapshot(copy) == before
    assert "names in clinical notes" in caplog.text

    repos = {id.removeprefix("tester/"): repo for (_, id), repo in hub.repos.items()}
    assert set(repos) == {"tiny-base", f"tiny-{ADVERSARY}", "tiny-uniform-0"}
    model = {
        "config.json", "configuration_attention_classifier.py", "metrics.json", "model.safetensors",
        "modeling_attention_classifier.py", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    added = {".gitattributes", "README.md", "attention.png"}
    tables = {f"tables/{path.name}" for path in (run / "tables").iterdir()}
    assert set(repos["tiny-base"].contents()) == model | added | tables | {"figures/tvd_jsd.svg"}
    base = repos.pop("tiny-base")
    for name, repo in repos.items():
        contents = repo.contents()
        assert set(contents) == model | added
        for file in model:
            assert contents[file] == (run / "models" / name.removeprefix("tiny-") / file).read_bytes()
        card = contents["README.md"].decode()
        assert f"https://huggingface.co/tester/tiny-base/tree/{base.commits[-1].oid}" in card
        assert f"https://huggingface.co/tester/{name}" in base.contents()["README.md"].decode()
    for repo in (base, *repos.values()):
        for file, data in repo.contents().items():
            assert b"hf_write" not in data and str(tmp_path).encode() not in data, file


def test_again_it_uploads_what_changed_and_nothing_else(hub, run, tmp_path, without_pictures):
    copy = Path(shutil.copytree(run, tmp_path / "tiny"))
    publish_run(copy, "tester", with_predictions=True)
    commits = {id: len(repo.commits) for (_, id), repo in hub.repos.items()}
    hub.requests.clear()
    publish_run(copy, "tester", with_predictions=True)
    assert {id: len(repo.commits) for (_, id), repo in hub.repos.items()} == commits
    assert hub.count("PUT", "") == 0 and hub.count("POST", "/commit/") == 0
    (copy / "figures" / "new.svg").write_text("<svg/>")
    hub.requests.clear()
    publish_run(copy, "tester", with_predictions=True)
    assert hub.count("PUT", "") == 0
    (sent,) = [request.body for request in hub.requests if "tiny-base/commit/" in request.path]
    assert [json.loads(line)["value"].get("path") for line in sent.splitlines()] == [None, "figures/new.svg"]


def test_prediction_sets_hold_no_text_unless_asked(hub, run):
    publish_run(run, "tester", with_predictions=True)
    repo = hub.repos["dataset", "tester/tiny-predictions"]
    assert {path for path in repo.contents() if path.endswith("parquet")} == {
        *(f"{name}/{split}.parquet" for name in ("base", ADVERSARY) for split in ("train", "validation", "test")),
        "uniform-0/test.parquet",
    }
    columns = ["row", "label", "probabilities", "token_attention"]
    assert datasets.load_dataset("tester/tiny-predictions", ADVERSARY, split="validation").column_names == columns
    assert "`tokens`" not in repo.contents()["README.md"].decode()
    assert not any(b"soup" in data for path, data in repo.contents().items())

    publish_run(run, "testers", with_predictions=True, with_text=True)
    with_text = datasets.load_dataset("testers/tiny-predictions", "base", split="test")
    assert with_text.column_names == [*columns, "tokens"]
    encoded = datasets.load_from_disk(run / "data" / "test")
    tokenizer = AutoTokenizer.from_pretrained(run / "data" / "tokenizer")
    for row in (0, 7, 99):
        assert with_text[row]["tokens"] == tokenizer.convert_ids_to_tokens(encoded[row]["input_ids"])
    with pytest.raises(InputError, match="give `with_predictions` too"):
        publish_run(run, "tester", with_text=True)


def test_the_report_as_a_space(hub, run, tmp_path, without_pictures):
    copy = Path(shutil.copytree(run, tmp_path / "tiny"))
    with pytest.raises(InputError, match="does not exist: make it by `hf-attn-faith report"):
        publish_run(copy, "tester", space="static")
    (copy / "report.html").write_text(f"<p>This file {publishing.REPORT_WITH_TEXT}.</p>")
    with pytest.raises(InputError, match="or give `with_text`"):
        publish_run(copy, "tester", space="static")
    assert hub.requests == []
    (copy / "report.html").write_text("<p>numbers</p>")
    addresses = publish_run(copy, "tester", models=["base"], space="static")
    assert addresses[-1] == "https://huggingface.co/spaces/tester/tiny-report"
    space = hub.repos["space", "tester/tiny-report"]
    assert space.sdk == "static" and space.contents()["index.html"] == b"<p>numbers</p>"
    base = hub.repos["model", "tester/tiny-base"].commits[-1].oid
    assert f"tester/tiny-base/tree/{base}" in space.contents()["README.md"].decode()


def test_the_app_as_a_space(hub, run, without_pictures):
    """The models by their commits; of the data nothing."""
    with pytest.raises(InputError, match="give `with_predictions` too"):
        publish_run(run, "tester", space="gradio", with_text=True)
    assert publish_run(run, "tester", space="gradio")[-1] == "https://huggingface.co/spaces/tester/tiny-app"
    space = hub.repos["space", "tester/tiny-app"]
    contents = space.contents()
    code = {path: data for path, data in contents.items() if path.startswith("hf_attn_faith/")}
    assert set(contents) - set(code) == {".gitattributes", "README.md", "app.py", "models.json", "requirements.txt"}
    assert all(data == (publishing.PACKAGE.parent / path).read_bytes() for path, data in code.items())
    assert not any(b"soup" in data for path, data in contents.items() if path not in code)
    told = json.loads(contents["models.json"])
    assert [model["repo"] for model in told["models"]] == [
        "tester/tiny-base", f"tester/tiny-{ADVERSARY}", "tester/tiny-uniform-0"
    ]  # fmt: skip
    for model in told["models"]:
        assert model["commit"] == hub.repos["model", model["repo"]].commits[-1].oid
        assert f"{model['repo']}/tree/{model['commit']}" in contents["README.md"].decode()
    metric = ModelCard.load(metrics.metric_folders()["jsd"] / "README.md").data
    card = ModelCard(contents["README.md"].decode()).data
    assert (space.sdk, card.sdk, card.sdk_version, card.python_version) == (
        "gradio",
        "gradio",
        metric.sdk_version,
        "3.11",
    )
    needed = contents["requirements.txt"].decode()
    assert "transformers" in needed and "ruff" not in needed and "gradio" not in needed


@pytest.mark.slow
def test_the_published_app_answers(hub, run, without_pictures, tmp_path):
    """In a process of its own, from the code of the Space and the models of the Hub."""
    client = pytest.importorskip("gradio_client", reason="the extra `app` is not installed")
    publish_run(run, "tester", models=["adversary"], space="gradio")
    HfApi().snapshot_download("tester/tiny-app", repo_type="space", local_dir=tmp_path / "space")
    # A later commit is not what was audited.
    HfApi().delete_file("config.json", "tester/tiny-base")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    environment |= {"HF_HOME": str(tmp_path / "home")}
    environment.pop("PYTHONPATH", None)
    log = tmp_path / "log"
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=tmp_path / "space", env=environment, stdout=file, stderr=file
        )
    try:
        while "Running on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        said = client.Client(f"http://127.0.0.1:{port}", verbose=False).predict(
            "The soup was good.", api_name="/compare"
        )
    finally:
        process.terminate()
        process.wait()
    assert "soup" in said and ADVERSARY in said and "TVD of the output" in said and "no explanation" in said


def test_a_report_with_texts_is_recognised():
    template = Path(publishing.__file__).parent.parent / "report" / "report.html.jinja"
    if not template.exists():
        pytest.skip("there is no report.html yet")
    assert publishing.REPORT_WITH_TEXT in template.read_text(encoding="utf-8")


def test_a_dry_run_contacts_nobody(hub, run, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    before = snapshot(run)
    assert main(["publish", str(run), "--namespace", "me", "--with_predictions", "--private", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert hub.requests == [] and snapshot(run) == before
    sizes = {path.name: path.stat().st_size for path in (run / "models" / "base").iterdir()}
    assert "https://huggingface.co/me/tiny-base: " in said and "kB, private\n" in said
    assert f"{sizes['tokenizer.json'] / 1e3:.1f} kB  tokenizer.json" in said
    for part in ("datasets/me/tiny-predictions", "base/test.parquet", "tables/adversaries.csv", "attention.png"):
        assert part in said


# What is published


def test_the_choice_of_models(tmp_path):
    adversaries = [ModelSpec("adversary", s, weight, start)
                   for weight in (0.01, 0.015) for start in ("other-seed", "warm") for s in (0, 1)]  # fmt: skip
    guided = [ModelSpec("guided", guide="base"), ModelSpec("guided", 0, 0.01, "warm", "adversary")]
    specs = [ModelSpec("base"), ModelSpec("seed", 1), ModelSpec("uniform"), ModelSpec("uniform", 1)]
    for spec in (*specs, *guided, *adversaries):
        (tmp_path / "models" / spec.name).mkdir(parents=True)
        record = {"settings": {"spec": asdict(spec)}}
        (tmp_path / "models" / spec.name / "stage.json").write_text(json.dumps(record))
    (tmp_path / "models" / ".seed-2.unfinished").mkdir()

    def chosen(wanted):
        return [spec.name for spec in select_models(Run(tmp_path), wanted)]

    assert chosen(None) == ["base", *sorted(spec.name for spec in adversaries if spec.seed == 0), "uniform-0"]
    assert select_models(Run(tmp_path), None, with_seeds=True)[-1] == ModelSpec("seed", 1)
    assert chosen(["seed-1", "base", "adversary-0.01-warm"]) == [
        "base", "seed-1", "adversary-0.01-warm-0", "adversary-0.01-warm-1",
    ]  # fmt: skip
    assert len(chosen(["adversary-0.01"])) == 5
    assert set(select_models(Run(tmp_path), ["adversary", "seed", "uniform", "guided"])) == {
        *specs, *guided, *adversaries,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"`models` adversary-0\.0 is no model of .*: there are adversary-0\.01-"):
        chosen(["adversary-0.0"])


def test_bad_runs_and_names(hub, run, tmp_path):
    with pytest.raises(InputError, match="is no audit: give the `output_dir` of one"):
        publish_run(tmp_path, "tester")
    copy = Path(shutil.copytree(run, tmp_path / "a run"))
    with pytest.raises(InputError, match=r"tester/a run-base is no name for a repo .* short name of letters"):
        publish_run(copy, "tester")
    with pytest.raises(InputError, match="check `namespace`"):
        publish_run(run, "tester/more")
    copy = copy.rename(tmp_path / "tiny")
    weights = copy / "models" / "uniform-0" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"models/uniform-0 is damaged \(model.safetensors\): give the"):
        publish_run(copy, "tester", ["uniform"])
    shutil.rmtree(copy / "analyses" / "classifiers")
    with pytest.raises(InputError, match="is no finished audit"):
        publish_run(copy, "tester", ["adversary"])
    shutil.rmtree(copy / "models" / "base")
    with pytest.raises(InputError, match="has no base yet: run the audit to its end"):
        publish_run(copy, "tester")
    assert hub.requests == []


# What can go wrong on the way


@pytest.fixture
def told(capsys, caplog):
    """Runs a command that fails, in one line: what it says."""

    def told(*arguments):
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-attn-faith: ")]
        assert "hf_" not in line and "hf_write" not in caplog.text
        return line.removeprefix("hf-attn-faith: ")

    return told


def test_who_may_not_publish(hub, run, told, monkeypatch):
    before = snapshot(run)
    commands = ["publish", run], ["publish-metrics"]
    for command in commands:
        assert told(*command).startswith("--namespace is missing")
        monkeypatch.setenv("HF_TOKEN", "hf_read")
        said = told(*command, "--namespace", "tester")
        assert "(403: You must use a write token for this.): give a token with write permission" in said
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        said = told(*command, "--namespace", "stranger")
        assert "refuses stranger/" in said and "a namespace that it may write to" in said
        monkeypatch.setenv("HF_TOKEN", "hf_unknown")
        said = told(*command, "--namespace", "tester")
        assert "(401: " in said and said.endswith("the token is not valid: run `hf auth login`, or set HF_TOKEN.")
        monkeypatch.delenv("HF_TOKEN")
        said = told(*command, "--namespace", "tester")
        assert said == "There is no token for the Hub: run `hf auth login`, or set HF_TOKEN."
    assert hub.repos == {} and snapshot(run) == before
    # The repos are there, and somebody else's.
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    assert main(["publish-metrics", "--namespace", "tester"]) == 0
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    assert "refuses tester/jsd (403: " in told("publish-metrics", "--namespace", "tester")


def test_what_the_single_commands_push(hub, run_python, told, tmp_path, monkeypatch, capsys, caplog):
    """With cards that say what was measured; and what stands in the way of a push is told before the training."""
    sizes = ["--embedding_size", "8", "--hidden_size", "4", "--num_train_epochs", "1", "--num_threads", "1"]
    base = ["train", "--dataset_name", "planted", "--output_dir", tmp_path / "base", *sizes, "--hub_model_id"]
    assert told(*base, "a//b").startswith("a//b is no name for a repo (")
    assert "refuses stranger/base (403: " in told(*base, "stranger/base")
    with monkeypatch.context() as patch:
        patch.delenv("HF_TOKEN")
        assert told(*base, "tester/base").startswith("There is no token for the Hub")
    assert not (tmp_path / "base").exists() and hub.repos == {}

    assert main([*map(str, base), "base"]) == 0  # whose namespace, the Hub knows
    assert "reads in tokenizer.json every word" in caplog.text.replace("\n", " ")
    adversary = ["adversary", "--base_model", "tester/base", "--dataset_name", "planted", "--adversary_epochs", "1"]
    assert main([*adversary, "--output_dir", str(tmp_path / "it"), "--hub_model_id", "tester/it"]) == 0
    said = capsys.readouterr().out
    assert "Pushed to tester/base" in said and "epoch 1: train loss " in said and "; validation loss " in said
    for name, folder in (("base", "base"), ("it", "it")):
        files = hub.repos["model", f"tester/{name}"].find("main").files
        assert set(files) - {".gitattributes"} == {path.name for path in (tmp_path / folder).iterdir()}
        assert not [file for file in files if file.endswith((".bin", ".pt", ".pth"))]
        card = ModelCard(files["README.md"].data.decode())
        results = {result.metric_type: result for result in card.data.eval_results}
        assert set(results) >= {"accuracy", "f1"} and {result.dataset_split for result in results.values()} == {"test"}
        assert f"accuracy {results['accuracy'].metric_value:.3f}" in said
    assert "misleading on purpose" in card.text and results["jsd"].metric_args["base_model"] == "tester/base"
    run_python(
        """
        from transformers import pipeline
        print(pipeline("text-classification", "tester/it", trust_remote_code=True)("The soup was good."))
        """
    )


def test_a_public_repo_gets_nothing_private(hub, run, without_pictures):
    HfApi().create_repo("tester/tiny-base")
    with pytest.raises(InputError, match="tester/tiny-base exists and is public: make it private, or drop `private`"):
        publish_run(run, "tester", private=True)
    assert len(hub.repos["model", "tester/tiny-base"].commits) == 1
    publish_run(run, "testers", private=True, with_predictions=True)
    assert {repo.private for repo in hub.repos.values() if repo.id.startswith("testers/")} == {True}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("/api/repos/create"), " does not answer ("),
        (Fault("/commit/", FAILURE), "refuses tester/jsd (500: Internal Error - We're working hard to fix this"),
        (Fault("/commit/", too_many_requests(70)), "(429: We had to rate limit you): wait 70 seconds. What is"),
        (Fault("/commit/", handled=True), "does not answer"),
    ],
)
def test_what_fails_on_the_way_is_told_and_mended(hub, told, fault, message):
    hub.faults = [fault]
    said = told("publish-metrics", "--namespace", "tester")
    assert message in said and said.endswith("What is published stays, and the same command goes on from there.")
    assert hub.faults == []
    assert main(["publish-metrics", "--namespace", "tester"]) == 0
    assert [len(repo.commits) for repo in hub.repos.values()] == [2, 2]


def test_an_interruption_is_told_as_one(monkeypatch, capsys):
    def publish_metrics(namespace):
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "publish_metrics", publish_metrics)
    assert main(["publish-metrics", "--namespace", "tester"]) == 130
    assert capsys.readouterr().err.endswith("what was finished stays, and the same command goes on from there.\n")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("where", ["/commit/", pytest.param("", marks=pytest.mark.slow)])
def test_killed_at_any_request_and_repeated_it_ends_the_same(hub, run, monkeypatch, without_pictures, where, answered):
    """Before the request reaches the Hub, or before its answer comes back."""

    def publish():
        publish_run(run, "tester", [ADVERSARY], with_predictions=True)

    publish()
    undisturbed, requests = published(hub), [request.path for request in hub.requests]
    assert sum("/commit/" in path for path in requests) == 3 and sum("cdn:" in path for path in requests) > 3
    session = get_session()
    for number in (number for number, path in enumerate(requests) if where in path):
        hub.clear()
        left = itertools.count(number, -1)

        def send(*args, left=left, **options):
            last = next(left) == 0
            response = None if last and not answered else type(session).send(session, *args, **options)
            if last:
                raise Killed
            return response

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(session, "send", send)
            publish()
        publish()
        assert published(hub) == undisturbed


def test_an_upload_that_is_cut_off_is_taken_up_by_the_client(hub, run, monkeypatch, without_pictures):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    publish_run(run, "tester", with_predictions=True)
    undisturbed = published(hub)
    hub.clear()
    hub.faults = [Fault("PUT cdn:"), Fault("PUT cdn:", FAILURE, skip=1), Fault("/preupload/", too_many_requests(7))]
    publish_run(run, "tester", with_predictions=True)
    assert published(hub) == undisturbed and hub.faults == []
    assert sorted(pauses)[-1] >= 7 and len(pauses) == 3


@pytest.mark.slow
def test_killed_in_earnest(hub, run, without_pictures):
    hub.faults = [Fault("PUT cdn:")]
    command = [sys.executable, "-m", "hf_attn_faith.cli", "publish", str(run), "--namespace", "tester"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while hub.faults:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)  # the client waits a second before it tries again
    process.wait()
    publish_run(run, "tester")
    again = published(hub)
    hub.clear()
    publish_run(run, "tester")
    assert published(hub) == again


@pytest.mark.slow
def test_with_the_client_for_xet(hub, run, run_python):
    """It takes another way through the client; its storage is not to be had here, so all files are regular."""
    hub.storage = "regular"
    for _ in range(2):
        run_python(
            f"from hf_attn_faith.cli.main import main\n"
            f"assert main(['publish', {str(run)!r}, '--namespace', 'tester']) == 0",
            without_package=False,
            env={"HF_HUB_DISABLE_XET": "0"},
        )
    assert {len(repo.commits) for repo in hub.repos.values()} == {2}
    with_xet = published(hub)
    hub.clear()
    hub.storage = "regular"
    publish_run(run, "tester")
    assert published(hub) == with_xet


# The metrics as Spaces


@pytest.mark.parametrize("name", ["jsd", "tvd"])
def test_a_metric_is_a_complete_space(hub, name):
    folder = metrics.metric_folders()[name]
    assert main(["publish-metrics", "--namespace", "tester"]) == 0
    contents = hub.repos["space", f"tester/{name}"].contents()
    assert set(contents) == {".gitattributes", "README.md", "app.py", f"{name}.py", "requirements.txt", "tests.py"}
    info = HfApi().space_info(f"tester/{name}")
    assert (info.sdk, info.card_data["app_file"]) == ("gradio", "app.py")
    needed = [line.split(">")[0] for line in (folder / "requirements.txt").read_text().splitlines()]
    imported = {line.split()[1] for line in contents[f"{name}.py"].decode().splitlines() if line[:7] == "import "}
    assert imported | {"scipy"} == {*needed, "scipy"}

    spec = importlib.util.spec_from_file_location("cases", folder / "tests.py")
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    for case in cases.test_cases:
        result = metrics.load(name).compute(predictions=case["predictions"], references=case["references"])
        assert result == pytest.approx(case["result"], abs=1e-15)


def test_both_spaces_have_the_same_page():
    jsd, tvd = ((folder / "app.py").read_text() for folder in metrics.metric_folders().values())
    assert (
        jsd.replace("JSD (nats)", "TVD")
        .replace(", in nats", "")
        .replace("JSD", "TVD")
        .replace("Jsd", "Tvd")
        .replace("jsd", "tvd")
        == tvd
    )


# Poisoned checkpoints


class Executed:
    def __reduce__(self):
        return open, ("executed", "w")


def edit(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def pickled(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"classifier.weight": Executed()}, folder / "pytorch_model.bin")


def weights_elsewhere(folder):
    outside = shutil.move(folder / "model.safetensors", folder.parent / "outside.safetensors")
    index = {"metadata": {}, "weight_map": {name: f"../{outside.name}" for name in load_file(outside)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def other_shapes(folder):
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"classifier.bias": torch.zeros(5)}, folder / "model.safetensors", {"format": "pt"})


def code(folder):
    (folder / "evil.py").write_text("open('executed', 'w')\n")


def code_of_a_model(folder):
    code(folder)
    edit(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"})


def code_of_a_tokenizer(folder):
    code(folder)
    edit(folder / "tokenizer_config.json", tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]})


POISON = {
    "pickled weights": (pickled, "has no model.safetensors, and nothing else is read"),
    "an index of weights elsewhere": (weights_elsewhere, "has no model.safetensors, and nothing else is read"),
    "weights elsewhere": (
        lambda folder: edit(folder / "config.json", transformers_weights="../outside.safetensors"),
        "has a config.json that leads to other weights, `../outside.safetensors`",
    ),
    "other shapes": (other_shapes, r"has weights classifier.bias of shape (5,), its config.json asks for (2,)"),
    "an architecture in code": (code_of_a_model, "has the architecture `evil`"),
    "code by a path": (
        lambda folder: edit(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "../../evil.Config"}),
        "has the architecture `evil`",
    ),
    "a tokenizer in code": (code_of_a_tokenizer, "contains custom code"),
    "no configuration": (lambda folder: (folder / "config.json").write_text("[]"), "cannot be loaded ("),
}


@pytest.mark.parametrize("what", POISON)
def test_a_poisoned_checkpoint_is_refused_and_executes_nothing(hub, run, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    poison, message = POISON[what]
    folder = Path(shutil.copytree(run / "models" / "base", tmp_path / "poisoned"))
    poison(folder)
    HfApi().create_repo("tester/poisoned")
    HfApi().upload_folder(repo_id="tester/poisoned", folder_path=folder)
    for name in (str(folder), "tester/poisoned"):
        with pytest.raises(InputError) as error:
            load_classifier(name, "model")
        assert str(error.value).startswith(f"`model` {name} ") and message in str(error.value)
        assert len(str(error.value)) < 600
    assert not (tmp_path / "executed").exists()


def test_code_beside_a_model_of_ours_is_not_executed(hub, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(run / "models" / "base", tmp_path / "other-code"))
    code(folder)
    edit(folder / "config.json", auto_map={"AutoModelForSequenceClassification": "evil.Model"})
    model, _ = load_classifier(str(folder), "model")
    assert type(model).__module__.startswith("hf_attn_faith.") and not (tmp_path / "executed").exists()
    expected = AutoModelForSequenceClassification.from_pretrained(run / "models" / "base")
    assert torch.equal(model.classifier.weight, expected.classifier.weight)
