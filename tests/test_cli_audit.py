"""The command `audit`, and `report`: one small run, looked at from all sides."""

import contextlib
import gc
import io
import json
import os
import re
import shutil
import subprocess
import sys

import datasets
import numpy as np
import pandas as pd
import pytest
from helpers.commands import SIZES, frame, snapshot, write
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_attn_faith.analyses import protocol
from hf_attn_faith.analyses.verdicts import SHAPES
from hf_attn_faith.cli.main import main
from hf_attn_faith.run import stages

pytestmark = pytest.mark.usefixtures("command_process")

AUDIT = ["--dataset_name", "planted", "--max_train_samples", "64", "--num_seeds", "2", "--adversary_seeds", "2"]
AUDIT += ["--adversary_start", "other-seed"]
AUDIT += ["--adversary_epochs", "2", "--num_workers", "1", *SIZES]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished audit: its directory and what it printed."""
    gc.freeze()  # Trainer collects garbage every time, in a test session a lot of it
    folder = tmp_path_factory.mktemp("runs") / "planted"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["audit", *AUDIT, "--kl_weights", "0.01", "--output_dir", str(folder), "--tables"]) == 0
    yield folder, said.getvalue()
    gc.unfreeze()


def stage_files(folder):
    return {str(path.parent.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("stage.json")}


TABLES = {
    "classifiers": (["model", "accuracy", "f1", "roc_auc", "n"], 2 + 2 + 2 + 14),
    "uniform_baseline": (["model", "f1_mean", "f1_std", "accuracy_mean", "accuracy_std", "seeds"], 2),
    "seed_variance": (["seed_a", "seed_b", "jsd_mean", "jsd_median", "tvd_mean"], 1),
    "adversaries": (
        ["kl_weight", "start"]
        + [f"{score}_{kind}" for score in ("f1", "tvd", "jsd") for kind in ("mean", "std")]
        + ["seeds", "kl_weight_in_paper_code", "trained", "failed"],
        1,
    ),
    # The adversaries of this run, trained for two epochs on 64 texts, failed: no guide, nothing to transplant.
    "guided_mlp": (["guide", "f1_mean", "f1_std", "accuracy_mean"], 6),
    "instance_attack": (
        ["epsilon", "method", "jsd_mean", "jsd_median", "share_above_0.4", "single_token_share"],
        3,
    ),
    "importance": (
        ["pair", "label", "tau_mean", "tau_std", "significant_share", "significant_share_bh", "undefined", "n"],
        6,  # the base, trained for an epoch on 64 texts, predicts one label alone
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(run, name):
    folder, said = run
    columns, rows = TABLES[name]
    table = pd.read_csv(folder / "tables" / f"{name}.csv")
    assert list(table.columns)[: len(columns)] == columns
    assert len(table) == rows
    markdown = (folder / "tables" / f"{name}.md").read_text()
    assert len(markdown.splitlines()) == rows + 2
    assert markdown in said
    latex = (folder / "tables" / f"{name}.tex").read_text()
    assert latex.count(r"\\") == rows + 1


def test_what_the_tables_say(run):
    tables = {name: pd.read_csv(run[0] / "tables" / f"{name}.csv") for name in TABLES}
    assert set(tables["classifiers"].n) == {800}
    assert list(tables["classifiers"].model[:6]) == [
        "base", "seed-1", "uniform-0", "uniform-1", "adversary-0.01-other-seed-0", "adversary-0.01-other-seed-1",
    ]  # fmt: skip
    uniform = tables["uniform_baseline"]
    assert list(uniform.model) == ["base", "uniform"] and list(uniform.seeds) == [2, 2]
    assert uniform.f1_difference[0] == pytest.approx(uniform.f1_mean[0] - uniform.f1_mean[1])
    assert -1 <= uniform.f1_ci_low[0] <= uniform.f1_difference[0] <= uniform.f1_ci_high[0] <= 1
    assert tables["classifiers"].f1[:2].mean() == pytest.approx(uniform.f1_mean[0])
    adversary = tables["adversaries"].iloc[0]
    assert (adversary.kl_weight, adversary.start, adversary.trained, adversary.failed) == (0.01, "other-seed", 0, 2)
    assert adversary.kl_weight_in_paper_code == 0.005
    assert list(tables["guided_mlp"].guide) == [
        "uniform", "trained", "base", "permuted", "rationale", "off_rationale",
    ]  # fmt: skip
    assert set(tables["guided_mlp"].seeds) == {2}


def test_the_picture_of_the_protocol(run):
    told = re.findall("<!-- (.*?) -->", (run[0] / "figures" / "summary.svg").read_text(encoding="utf-8"))
    verdicts = pd.read_csv(run[0] / "tables" / "verdicts.csv")
    assert [line for line in told if line[:1] in list(SHAPES.values())] == [f"{SHAPES[s]} {s}" for s in verdicts.state]
    uniform = pd.read_csv(run[0] / "tables" / "uniform_baseline.csv").f1_mean[1]
    assert any(line.startswith(f"F1 {uniform:.3f}") for line in told)


def test_every_model_of_the_run_loads(run):
    for name in ("base", "guided-permuted-1"):
        model = AutoModelForSequenceClassification.from_pretrained(run[0] / "models" / name)
        tokenizer = AutoTokenizer.from_pretrained(run[0] / "models" / name)
        assert model.config.vocab_size == len(tokenizer)
    predicted = datasets.load_from_disk(run[0] / "predictions" / "base" / "test")
    assert np.isclose([sum(row) for row in predicted["token_attention"]], 1, atol=1e-5).all()


@pytest.fixture
def without_figures(monkeypatch):
    """They take seconds, and what they show is tested elsewhere."""
    for analysis in protocol.PROTOCOL:
        monkeypatch.setattr(type(analysis), "figures", lambda self, results: {})


def no_training(*args, **kwargs):
    raise AssertionError("a finished run trains something")


def test_a_finished_run_given_back_as_config_trains_nothing(run, monkeypatch, capsys):
    monkeypatch.setattr(stages, "train_model", no_training)
    monkeypatch.setattr(stages, "predict_model", no_training)
    before = stage_files(run[0])
    assert main(["audit", "--config", str(run[0] / "audit.yaml"), "--tables"]) == 0
    assert stage_files(run[0]) == before
    assert capsys.readouterr().out == run[1]


def test_the_report_of_a_run_again(run, capsys, without_figures):
    assert main(["report", str(run[0]), "--tables"]) == 0
    assert capsys.readouterr().out == run[1]


def test_a_screen_holds_what_is_printed(run, capsys, monkeypatch, without_figures):
    """The verdicts and where the rest lies, in the words of the long form, and no table."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["report", str(run[0])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40 and all(len(line) <= 80 for line in lines if str(run[0]) not in line)
    assert not any(line.startswith("|") for line in lines)
    said = " ".join(" ".join(lines).split())
    for line in run[1].splitlines():
        if line[:4] in [f"- {shape} " for shape in SHAPES.values()]:
            assert " ".join(line.removeprefix("- ").split()) in said
    assert f"Figures: {run[0] / 'figures'}" in lines


def test_a_report_of_nothing(tmp_path, refused):
    assert "RUN_DIR" in refused("report")
    assert "is no audit: give the --output_dir" in refused("report", tmp_path)
    (tmp_path / "audit.yaml").touch()
    assert "holds no finished analysis" in refused("report", tmp_path)


@pytest.mark.parametrize("command", [["report"], ["publish", "--namespace", "me"]])
def test_a_run_of_another_version(tmp_path, refused, command):
    base = tmp_path / "models" / "base"
    base.mkdir(parents=True)
    (tmp_path / "audit.yaml").touch()
    for named in ({}, {"hf_attn_faith": "0.1.0"}):
        (base / "stage.json").write_text(json.dumps({"versions": {"torch": "2"} | named}))
        said = refused(command[0], tmp_path, *command[1:])
        assert "was made by version 0.1.0 of hf_attn_faith" in said and "with another" in said


def test_another_kl_weight_extends_the_run(run, tmp_path, without_figures):
    folder = tmp_path / "extended"
    shutil.copytree(run[0], folder)
    before = stage_files(folder)
    arguments = ["audit", *AUDIT, "--kl_weights", "0.01", "0.5", "--output_dir", str(folder)]
    assert main(arguments) == 0
    after = stage_files(folder)
    fresh = {name for name in after if after[name] != before.get(name) and not name.startswith("analyses/")}
    new = {f"{model}-{s}" for model in ("adversary-0.5-other-seed", "guided-adversary-0.5-other-seed") for s in (0, 1)}
    assert fresh == {f"{kind}/{name}" for kind in ("models", "predictions") for name in new}
    table = pd.read_csv(folder / "tables" / "adversaries.csv")
    assert list(table.kl_weight) == [0.01, 0.5]
    old = pd.read_csv(run[0] / "tables" / "adversaries.csv")
    pd.testing.assert_frame_equal(table[:1], old)


def test_the_smallest_audit_of_texts_some_of_which_are_empty(tmp_path, caplog, capsys):
    """Three labels of which test lacks one, one model of each kind, and the only pairs of seeds are none."""
    table = frame(24, labels=["bad", "good", "so-so"])
    table.loc[[3, 4], "text"] = ["", " \n"]
    folder = write(tmp_path / "data", train=table, validation=table, test=table[table.label != "so-so"])
    arguments = ["--dataset_name", str(folder), "--output_dir", str(tmp_path / "out"), *SIZES, "--num_seeds", "1"]
    arguments += ["--adversary_seeds", "1", "--adversary_epochs", "1", "--kl_weights", "0.1"]
    arguments += ["--adversary_start", "other-seed"]
    assert main(["audit", *arguments]) == 0
    for split, size in (("train", 24), ("validation", 24), ("test", 16)):
        assert f"{split}: 2 of {size} texts are empty after tokenisation." in caplog.messages
    tables = {path.stem: pd.read_csv(path) for path in (tmp_path / "out" / "tables").glob("*.csv")}
    assert {name: len(tables[name]) for name in TABLES if name in tables} == {
        "classifiers": 8, "uniform_baseline": 2, "adversaries": 1, "guided_mlp": 4, "instance_attack": 3,
        "importance": 6,
    }  # fmt: skip
    # Three labels: the attack is a search.
    assert set(tables["instance_attack"].method) == {"gradient"}
    assert set(tables["classifiers"].n) == {16} and tables["classifiers"].roc_auc.isna().all()
    assert tables["adversaries"].f1_std.isna().all() and tables["adversaries"].failed[0] == 1
    assert set(tables["verdicts"].state) == {"not tested"}
    assert "nan" not in capsys.readouterr().out


def test_a_changed_setting_is_refused(run, refused, capsys):
    before = snapshot(run[0])
    said = refused("audit", *AUDIT, "--kl_weights", "0.01", "--output_dir", run[0], "--learning_rate", "0.1")
    refusal = f"--output_dir {run[0]} holds stages made with other settings"
    assert said.startswith(f"{refusal} (learning_rate 0.001, now 0.1): models/base, ")
    another_seed = refused("audit", *AUDIT, "--kl_weights", "0.01", "--output_dir", run[0], "--seed", "7")
    assert another_seed.startswith(f"{refusal} (another seed): models/base, ")
    assert "--overwrite" in said
    assert snapshot(run[0]) == before
    # The positive label is read by the analyses alone.
    arguments = ["audit", *AUDIT, "--kl_weights", "0.01", "--output_dir", str(run[0]), "--positive_label", "negative"]
    assert main([*arguments, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "made with other settings" not in said and "to do again  analyses/classifiers" in said
    assert snapshot(run[0]) == before


def test_output_that_nobody_reads_to_its_end(run):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "hf_attn_faith.cli", "report", str(run[0])]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, "")
