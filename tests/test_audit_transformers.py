"""The whole protocol of a transformer: fine-tuned for it, or given as it is."""

import json

import numpy as np
import pytest
import torch
from helpers.transformers import small_tokenizer, small_transformer
from huggingface_hub import ModelCard
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_attn_faith import InputError, compare
from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.attention.loading import load_classifier
from hf_attn_faith.cli.main import main
from hf_attn_faith.hub.publishing import publish_run
from hf_attn_faith.prediction import load_prediction_set
from hf_attn_faith.report import build, html, terminal
from hf_attn_faith.run.audit import run_audit
from hf_attn_faith.run.layout import Run
from hf_attn_faith.specs import ModelSpec

SMALL = {
    "num_seeds": 2, "adversary_seeds": 1, "kl_weights": [0.1], "fine_tuning_epochs": 6, "fine_tuning_rate": 3e-3,
    "fine_tuned_adversary_epochs": 2, "num_train_epochs": 1, "hidden_size": 4, "permutations": 5, "num_workers": 1,
}  # fmt: skip
ADVERSARY = ModelSpec("adversary", 0, 0.1, "warm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pretrained model, and texts whose label is whether w5 stands in them."""
    path = tmp_path_factory.mktemp("transformer")
    small_transformer("bert").base_model.save_pretrained(path / "pretrained")
    small_tokenizer(model_max_length=40).save_pretrained(path / "pretrained")
    for split, rows in (("train", 48), ("validation", 16), ("test", 24)):
        lines = []
        for n in range(rows):
            words = [f"w{7 + (5 * n + 3 * k) % 30}" for k in range(3 + n % 4)]
            words[n % 3] = "w5" if n % 2 else "w6"
            lines.append(json.dumps({"text": " ".join(words), "label": "yes" if n % 2 else "no"}))
        (path / "data").mkdir(exist_ok=True)
        (path / "data" / f"{split}.jsonl").write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def run(folder) -> Run:
    return run_audit(arguments(folder, "run", base_model=str(folder / "pretrained")), progress=False)


def arguments(folder, name, **more):
    return AuditArguments(dataset_name=str(folder / "data"), output_dir=str(folder / name), **{**SMALL, **more})


def test_every_analysis_is_made(run):
    results = run.results()
    assert {"verdicts", "readout", "permutation", "instance_attack", "transplant", "importance"} <= results.keys()
    table = results["readout"].table
    assert table.attention.tolist() == ["own", "uniform", "first_token", "permuted"]
    assert (table.family == "bert").all() and (table.pooling == "first").all()
    assert 0 < table.special_share[0] < 1
    assert (results["instance_attack"].table.method == "gradient").all()
    assert results["transplant"].table.realised_mean.isna().all()
    told = "\n".join(terminal.summary(build.render(run)))
    assert (run.tables / "readout.md").exists()
    assert "Readout: the attention is the row of the first token in the last of 2 layers" in told


def test_its_models_are_plain_checkpoints(run):
    for spec in run.specs():
        config = AutoConfig.from_pretrained(run.model(spec).path)
        assert config.model_type == ("mlp_attention" if spec.role == "guided" else "bert")
        assert "attn_implementation" not in (run.model(spec).path / "config.json").read_text()
        if spec.role != "guided":
            assert vars(config).get("uniform_readout", False) == (spec.role == "uniform")
            assert vars(config).get("adversarial_attention", False) == (spec.role == "adversary")
            AutoModelForSequenceClassification.from_pretrained(run.model(spec).path)


def test_mlps_start_from_the_input_embeddings(run, folder):
    base = run.model(ModelSpec("base")).load().model.get_input_embeddings().weight
    mlp = run.model(ModelSpec("guided", guide="uniform")).load().embedding.weight
    assert mlp.shape == base.shape
    # One epoch of a small rate away, and nowhere near what is drawn at random.
    assert torch.corrcoef(torch.stack([base.flatten(), mlp.flatten()]))[0, 1] > 0.9


def test_a_given_model_is_the_base_as_it_is(run, folder):
    given = run.model(ModelSpec("base")).path
    other = run_audit(arguments(folder, "given", model=str(given)), progress=False)
    assert {spec.role for spec in other.specs()} == {"base", "adversary", "guided"}
    assert {spec.start for spec in other.specs() if spec.role == "adversary"} == {"warm"}
    mine, theirs = (made.predictions(ModelSpec("base")).splits()["test"] for made in (run, other))
    assert mine["probabilities"][:] == theirs["probabilities"][:]
    # What needs the uniform model is left open, and said.
    results = other.results()
    assert results["verdicts"].table.set_index("reading").state["the task needs attention"] == "not tested"
    assert not_applicable(results) == {"uniform_baseline", "seed_variance", "calibration"}
    told = "\n".join(terminal.summary(build.render(other)))
    assert "Seed variance: not applicable. It is not known what the given model was fine-tuned from" in told
    assert (other.figures / "training_curves.png").exists()


def not_applicable(results):
    return {name for name, result in results.items() if not result.applicable}


def test_its_adversary_is_published_and_loads_without_the_package(hub, run, folder, run_python):
    publish_run(run.path, "tester", [ADVERSARY.name])
    repo = f"tester/run-{ADVERSARY.name}"
    files = hub.repos["model", repo].contents()
    assert set(files) >= {"config.json", "model.safetensors", "tokenizer.json", "README.md"}
    assert not [name for name in files if name.endswith((".py", ".bin", ".pt"))]
    config = json.loads(files["config.json"])
    assert config["adversarial_attention"] and "auto_map" not in config
    card = ModelCard(files["README.md"].decode())
    _, first = [line for line in card.text.splitlines() if line][:2]
    assert first.startswith("> **The attention of this model is misleading on purpose.")
    assert "adversarial-attention" in card.data.tags
    rows = [json.loads(line) for line in (folder / "data" / "test.jsonl").read_text().splitlines()]
    texts = [row["text"] for row in rows]
    assert not [text for text in texts for data in files.values() if text.encode() in data]
    printed = run_python(
        f"""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained({repo!r})
        model = AutoModelForSequenceClassification.from_pretrained({repo!r})
        print(model(**tokenizer({texts!r}, padding=True, return_tensors="pt")).logits.softmax(-1).tolist())
        """
    )
    expected = run.predictions(ADVERSARY).splits()["test"]["probabilities"][:]
    np.testing.assert_allclose(json.loads(printed), expected, atol=1e-5)


def test_rollout_is_for_looking(command_process, run, folder, tmp_path, capsys, refused):
    given = ["--dataset_name", str(folder / "data"), "--model", str(run.model(ModelSpec("base")).path)]
    assert main(["predict", *given, "--readout", "rollout", "--output_dir", str(tmp_path / "rollout")]) == 0
    row, rollout = run.predictions(ModelSpec("base")).splits()["test"], load_prediction_set(tmp_path / "rollout")
    pair = compare(row, rollout)
    assert pair.tvd.max() < 1e-6 < 0.001 < pair.jsd.min()
    assert main(["importance", *given, "--readout", "rollout"]) == 0
    assert "attention~gradient" in capsys.readouterr().out
    assert "--readout" in refused("attack", *given, "--readout", "rollout")
    mlp = run.model(ModelSpec("guided", guide="trained")).path
    assert "one attention alone" in refused(
        "predict", *given[:2], "--model", mlp, "--readout", "rollout", "--output_dir", tmp_path / "mlp"
    )


def test_an_adversary_is_loaded_as_a_readout(run):
    readout, tokenizer = load_classifier(str(run.model(ADVERSARY).path), "model")
    assert readout.pooling == "first" and readout.labels == ["no", "yes"]
    assert readout.tokenizer is tokenizer


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"word_vectors": "v.vec", "base_model": "x"}, "`word_vectors` has no use here"),
        ({"adversary_epochs": 3, "base_model": "x"}, "`adversary_epochs` has no use here"),
        ({"trainable_layers": 1}, "`trainable_layers` has no use here, since no transformer"),
        ({"model": "x", "adversary_start": ["other-seed"]}, "`base_model`, or take the start warm"),
        ({"fine_tuning_rate": 0.0, "base_model": "x"}, "`fine_tuning_rate` 0.0 is not a positive"),
    ],
)
def test_options_that_have_no_use_are_refused(settings, message, folder):
    with pytest.raises(InputError, match=message):
        AuditArguments(dataset_name="planted", output_dir=str(folder / "x"), **settings)


def test_a_model_that_cannot_be_loaded_is_told_in_a_line(folder, tmp_path):
    with pytest.raises(InputError) as refused:
        run_audit(arguments(folder, "none", base_model=str(tmp_path / "none")), progress=False)
    assert "\n" not in str(refused.value)


def test_what_a_model_that_averages_cannot_do_is_not_applicable(folder, tmp_path):
    small_transformer("eurobert").base_model.save_pretrained(tmp_path)
    small_tokenizer(model_max_length=40).save_pretrained(tmp_path)
    settings = {"base_model": str(tmp_path), "adversary_start": ["warm"], "num_seeds": 1, "fine_tuning_epochs": 1}
    made = run_audit(arguments(folder, "mean", **settings), progress=False)
    results = made.results()
    assert not_applicable(results) == {"permutation", "instance_attack", "transplant"}
    assert results["readout"].table[["pooling", "attention"]].to_numpy().tolist() == [["mean", "own"]]
    uniform = made.predictions(ModelSpec("uniform", 0)).splits()["test"]["token_attention"][0]
    assert uniform == pytest.approx([0.0, *[1 / (len(uniform) - 2)] * (len(uniform) - 2), 0.0])
    sections = build.render(made)
    told = "Permutation: not applicable. The model (eurobert) averages over all tokens after its last attention"
    assert told in "\n".join(terminal.summary(sections))
    assert told in html.write(made, sections).read_text()
    assert "averages over all tokens" in (made.tables / "permutation.md").read_text()
