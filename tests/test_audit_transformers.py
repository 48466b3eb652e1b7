"""The whole protocol of a transformer: fine-tuned for it, or given as it is."""

import json

import pytest
import torch
from helpers.transformers import small_tokenizer, small_transformer
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_attn_faith import InputError
from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.attention.loading import load_classifier
from hf_attn_faith.hub.publishing import publish_run
from hf_attn_faith.report import build, terminal
from hf_attn_faith.run.audit import run_audit
from hf_attn_faith.run.layout import Run
from hf_attn_faith.specs import ModelSpec

SMALL = {
    "num_seeds": 2, "adversary_seeds": 1, "kl_weights": [0.1], "fine_tuning_epochs": 6, "fine_tuning_rate": 3e-3,
    "fine_tuned_adversary_epochs": 2, "num_train_epochs": 1, "hidden_size": 4, "permutations": 5, "num_workers": 1,
}  # fmt: skip


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
    states = other.results()["verdicts"].table.set_index("reading").state
    assert states["the task needs attention"] == "not tested"
    build.render(other)
    assert (other.figures / "training_curves.png").exists()


def test_it_is_published_with_cards_that_warn(run, folder, capsys):
    publish_run(run.path, "me", dry_run=True)
    printed = capsys.readouterr().out
    assert "me/run-adversary-0.1-warm-0" in printed
    assert "config.json" in printed or "files" in printed


def test_an_adversary_is_loaded_as_a_readout(run):
    readout, tokenizer = load_classifier(str(run.model(ModelSpec("adversary", 0, 0.1, "warm")).path), "model")
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


def test_a_model_that_averages_is_refused_before_it_is_trained(folder, tmp_path):
    small_transformer("eurobert").base_model.save_pretrained(tmp_path)
    small_tokenizer(model_max_length=40).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="averages over all tokens"):
        run_audit(arguments(folder, "mean", base_model=str(tmp_path)), progress=False)
