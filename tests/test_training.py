import copy
import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from accelerate import PartialState
from helpers.toy import adversarial_arguments, classification_arguments, toy_dataset, toy_model
from transformers import AutoModelForSequenceClassification, EvalPrediction, TrainerCallback, TrainingArguments

from hf_attn_faith import divergences
from hf_attn_faith.data.tokenizer import train_word_tokenizer
from hf_attn_faith.errors import InputError
from hf_attn_faith.models import LstmAttentionConfig, LstmAttentionForSequenceClassification
from hf_attn_faith.prediction import predict, with_base_outputs
from hf_attn_faith.recipes import reference_class_weights
from hf_attn_faith.training import classification
from hf_attn_faith.training.adversarial import (
    ModelConsistentAdversarialTrainer,
    new_adversary,
)
from hf_attn_faith.training.classification import (
    ClassificationTrainer,
    accuracy_and_f1,
    train_and_save,
)


@pytest.fixture(scope="module")
def trained_base(tmp_path_factory):
    arguments = classification_arguments(tmp_path_factory.mktemp("base"), num_train_epochs=15, learning_rate=2e-2)
    trainer = ClassificationTrainer(toy_model(), arguments, toy_dataset(200), toy_dataset(60, seed=1))
    trainer.train()
    return trainer


def test_a_classifier_learns_and_keeps_its_best_epoch(trained_base):
    history = [entry for entry in trained_base.state.log_history if "eval_loss" in entry]
    assert len(history) == 15
    best = min(entry["eval_loss"] for entry in history)
    assert trained_base.evaluate()["eval_loss"] == pytest.approx(best, abs=1e-5)
    assert trained_base.evaluate()["eval_f1"] > 0.95


def test_f1_is_of_label_1_or_macro():
    labels = np.array([0, 1, 1, 1])
    two, three = np.eye(2)[[0, 0, 1, 1]], np.eye(3)[[0, 0, 1, 2]]
    assert accuracy_and_f1(EvalPrediction(two, labels)) == {"accuracy": 0.75, "f1": pytest.approx(0.8)}
    # 2/3 of label 0, 1/2 of label 1, nothing of label 2.
    assert accuracy_and_f1(EvalPrediction(three, labels)) == {"accuracy": 0.5, "f1": pytest.approx(7 / 18)}


def test_denormal_numbers_are_flushed_in_training_alone_and_memory_is_kept(tmp_path, monkeypatch):
    flushed, kept = [], []
    monkeypatch.setattr(classification, "keep_freed_memory", lambda: kept.append(True))

    class Spy(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            flushed.append((torch.tensor([1e-40]) * 0.5).item() == 0)

    arguments = classification_arguments(tmp_path, num_train_epochs=1)
    trainer = ClassificationTrainer(toy_model(), arguments, toy_dataset(), toy_dataset(), callbacks=[Spy()])
    trainer.train()
    assert flushed and all(flushed) and kept
    assert (torch.tensor([1e-40]) * 0.5).item() > 0


def test_killed_while_it_takes_its_checkpoints_away_it_trains_again(tmp_path, monkeypatch):
    def killed(path):
        next(Path(path).glob("checkpoint-*/model.safetensors")).unlink()
        raise KeyboardInterrupt

    def train():
        arguments = classification_arguments(tmp_path / "checkpoints", num_train_epochs=1)
        tokenizer = train_word_tokenizer(["good film"])
        data = toy_dataset(), toy_dataset(20, seed=1)
        train_and_save(ClassificationTrainer(toy_model(), arguments, *data, processing_class=tokenizer), tmp_path)

    with monkeypatch.context() as context:
        context.setattr(classification.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            train()
    train()
    assert (tmp_path / "model.safetensors").exists() and not (tmp_path / "checkpoints").exists()


def test_training_is_built_under_the_seed():
    assert torch.equal(toy_model(3).embedding.weight, toy_model(3).embedding.weight)
    assert not torch.equal(toy_model(3).embedding.weight, toy_model(4).embedding.weight)
    assert toy_model(3).config.init_seed == 3


class GradientAtFirstStep(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if state.global_step == 0:
            self.gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def first_gradient(make_trainer, tmp_path, rows, batch_size, steps, arguments, **settings):
    spy = GradientAtFirstStep()
    trainer = make_trainer(
        arguments(
            tmp_path,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=steps,
            num_train_epochs=1,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            train_sampling_strategy="sequential",
            **settings,
        )
    )
    trainer.add_callback(spy)
    trainer.train()
    return spy.gradient


@pytest.mark.parametrize("kind", ["classification", "adversarial"])
@pytest.mark.parametrize(("rows", "batch_size", "steps"), [(8, 4, 2), (10, 4, 3)])
def test_gradient_accumulation_is_exact(kind, rows, batch_size, steps, tmp_path, trained_base):
    data = toy_dataset(rows)
    if kind == "classification":
        arguments = classification_arguments
        settings = {"class_weights": [1.0, 3.0]}

        def make(args):
            return ClassificationTrainer(toy_model(), args, data)
    else:
        arguments = adversarial_arguments
        settings = {"kl_weight": 0.1}

        def make(args):
            return ModelConsistentAdversarialTrainer(toy_model(5), trained_base.model, args, data)

    whole = first_gradient(make, tmp_path, rows, rows, 1, arguments, **settings)
    parts = first_gradient(make, tmp_path, rows, batch_size, steps, arguments, **settings)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-5)


def test_batches_are_grouped_by_length(tmp_path):
    data = toy_dataset(1000, max_length=60)
    arguments = classification_arguments(tmp_path, per_device_train_batch_size=8)
    trainer = ClassificationTrainer(toy_model(), arguments, data, data)
    real = padded = 0
    for batch in trainer.get_train_dataloader():
        real += batch["attention_mask"].sum().item()
        padded += batch["attention_mask"].numel()
    assert 1 - real / padded < 0.1


def test_class_weights():
    assert reference_class_weights([0, 0, 0, 1], 2) == [1.0, 3.0]
    assert reference_class_weights([0, 0, 1, 2], 3) == pytest.approx([2 / 3, 4 / 3, 4 / 3])


def test_class_weights_scale_each_texts_loss(tmp_path):
    arguments = classification_arguments(tmp_path, class_weights=[0.0, 2.0])
    trainer = ClassificationTrainer(toy_model(), arguments, toy_dataset(), toy_dataset())
    logits, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    losses = trainer.instance_losses({"labels": labels}, type("Output", (), {"logits": logits}))
    expected = -logits.log_softmax(-1)[torch.arange(4), labels] * torch.tensor([0.0, 2, 2, 0])
    torch.testing.assert_close(losses, expected)
    with pytest.raises(InputError, match="`class_weights` has 3 weights for 2 labels"):
        arguments = classification_arguments(tmp_path, class_weights=[1.0, 1, 1])
        ClassificationTrainer(toy_model(), arguments, eval_dataset=toy_dataset())
    with pytest.raises(InputError, match="one finite weight"):
        classification_arguments(tmp_path, class_weights=[-1.0, 1])


def test_bf16_trains_on_a_cpu(tmp_path):
    arguments = classification_arguments(tmp_path, bf16=True, use_cpu=False, learning_rate=1e-2)
    trainer = ClassificationTrainer(toy_model(), arguments, toy_dataset(200), toy_dataset(60, seed=1))
    trainer.train()
    assert arguments.use_cpu != torch.accelerator.is_available()
    assert trainer.evaluate()["eval_f1"] > 0.9


def test_weight_decay_spares_biases_and_attention(tmp_path):
    model = toy_model()
    trainer = ClassificationTrainer(model, classification_arguments(tmp_path), eval_dataset=toy_dataset())
    decayed = trainer.get_decay_parameter_names(model)
    assert "embedding.weight" in decayed and "classifier.weight" in decayed
    assert not any("bias" in name or "attention" in name for name in decayed)


def adversary_trainer(tmp_path, base, kl_weight, start="other-seed", epochs=30, **settings):
    arguments = adversarial_arguments(
        tmp_path, num_train_epochs=epochs, kl_weight=kl_weight, learning_rate=1e-2, **settings
    )
    data = toy_dataset(200).remove_columns("label"), toy_dataset(60, seed=1).remove_columns("label")
    return ModelConsistentAdversarialTrainer(new_adversary(base, start, seed=7), base, arguments, *data)


def test_an_adversary_agrees_in_output_and_differs_in_attention(tmp_path, trained_base):
    """Without labels, and against an imitation (λ = 0) of the same base."""
    base = trained_base.model
    metrics = {}
    for kl_weight in (0.0, 0.1):
        trainer = adversary_trainer(tmp_path / str(kl_weight), base, kl_weight)
        trainer.train()
        metrics[kl_weight] = trainer.evaluate()
    assert metrics[0.0]["eval_tvd"] < 0.1
    assert metrics[0.1]["eval_tvd"] < 0.15
    assert metrics[0.1]["eval_jsd"] > metrics[0.0]["eval_jsd"] + 0.2
    for kl_weight, values in metrics.items():
        assert values["eval_loss"] == pytest.approx(values["eval_tvd"] - kl_weight * values["eval_kl"], abs=1e-5)


def test_what_the_adversarial_trainer_logs_is_what_prediction_sets_say(tmp_path, trained_base):
    base = trained_base.model
    # 200 texts in batches of 40: the logged loss is a mean over steps, the divergences are means over texts.
    trainer = adversary_trainer(tmp_path, base, 0.05, epochs=2, per_device_train_batch_size=40)
    trainer.train()
    logged = trainer.evaluate()
    data = toy_dataset(60, seed=1)
    a, b = predict(trainer.model, data, progress=False), predict(base, data, progress=False)
    tvd = [np.abs(np.subtract(x, y)).sum() / 2 for x, y in zip(a["probabilities"], b["probabilities"], strict=True)]
    jsd = [
        divergences.jsd(torch.tensor(x).double(), torch.tensor(y).double()).item()
        for x, y in zip(a["token_attention"], b["token_attention"], strict=True)
    ]
    assert logged["eval_tvd"] == pytest.approx(np.mean(tvd), abs=1e-5)
    assert logged["eval_jsd"] == pytest.approx(np.mean(jsd), abs=1e-5)
    training_entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    for entry in training_entries:
        assert entry["loss"] == pytest.approx(entry["tvd"] - 0.05 * entry["kl"], abs=1e-3)
        assert 0 <= entry["jsd"] <= np.log(2)


def test_selection_and_early_stopping_go_by_the_validation_objective(tmp_path, trained_base):
    trainer = adversary_trainer(tmp_path, trained_base.model, 0.05, epochs=60, early_stopping_patience=2)
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(losses) < 60
    assert int(np.argmin(losses)) == len(losses) - 3
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses), abs=1e-5)


def test_the_base_is_run_once_for_each_dataset(tmp_path, trained_base, monkeypatch):
    base = copy.deepcopy(trained_base.model)
    rows_seen = []
    forward = base.forward
    monkeypatch.setattr(base, "forward", lambda *a, **k: rows_seen.append(len(k["input_ids"])) or forward(*a, **k))
    adversary_trainer(tmp_path, base, 0.05, epochs=3).train()
    assert sum(rows_seen) == 200 + 60


def test_an_adversary_is_evaluated_on_other_datasets_too(tmp_path, trained_base):
    arguments = adversarial_arguments(tmp_path, num_train_epochs=1)
    parts = {"a": toy_dataset(20, seed=1), "b": toy_dataset(30, seed=2)}
    adversary = new_adversary(trained_base.model, seed=7)
    trainer = ModelConsistentAdversarialTrainer(adversary, trained_base.model, arguments, None, parts)
    both = trainer.evaluate()
    for name, part in parts.items():
        alone, predicted = trainer.evaluate(part), trainer.predict(part).metrics
        for metric in ("loss", "tvd", "kl", "jsd"):
            values = alone[f"eval_{metric}"], predicted[f"test_{metric}"]
            assert values == pytest.approx((both[f"eval_{name}_{metric}"],) * 2, abs=1e-6)


def test_base_outputs_stand_beside_their_rows(trained_base):
    data = toy_dataset(50)
    columns = with_base_outputs(data, trained_base.model, batch_size=7, progress=False)
    again = with_base_outputs(columns, trained_base.model, progress=False)
    assert again.column_names == columns.column_names
    for row in columns.select([0, 13, 49]):
        output = trained_base.model(torch.tensor([row["input_ids"]]))
        np.testing.assert_allclose(row["base_probabilities"], output.logits.softmax(-1)[0].detach(), atol=1e-6)
        np.testing.assert_allclose(row["base_token_log_attention"], output.token_log_attention[0].detach(), atol=1e-5)


def test_starts():
    base = toy_model(0)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(0.1)  # "training"
    same, other, warm = (new_adversary(base, start, seed=7) for start in ("same-seed", "other-seed", "warm"))
    assert torch.equal(same.embedding.weight, toy_model(0).embedding.weight)
    assert torch.equal(other.embedding.weight, toy_model(7).embedding.weight)
    assert torch.equal(warm.embedding.weight, base.embedding.weight)
    assert not torch.equal(warm.attention_query.weight, base.attention_query.weight)
    assert not torch.equal(warm.attention_projection.weight, base.attention_projection.weight)
    assert warm is not base and base.config.init_seed == 0
    with pytest.raises(InputError, match="`seed` 0 is the base's own"):
        new_adversary(base, "other-seed", seed=0)
    base.config.init_seed = None
    with pytest.raises(InputError, match="no `init_seed`"):
        new_adversary(base, "same-seed")
    with pytest.raises(InputError, match="attention type is `uniform`"):
        new_adversary(toy_model(attention_type="uniform"))


@pytest.mark.parametrize("start", ["other-seed", "same-seed", "warm"])
@pytest.mark.parametrize("change", ["float16", "bfloat16", "frozen", "frozen embedding", "evaluation mode"])
def test_an_adversary_is_float32_and_trainable_whatever_its_base(change, start):
    plain = toy_model(0).eval()
    base = copy.deepcopy(plain)
    match change:
        case "float16" | "bfloat16":
            base.to(getattr(torch, change))
        case "frozen":
            base.requires_grad_(False)
        case "frozen embedding":
            base.embedding.requires_grad_(False)
    adversary, expected = new_adversary(base, start, seed=7), new_adversary(plain, start, seed=7)
    for name, parameter in adversary.named_parameters():
        assert parameter.dtype == torch.float32 and parameter.requires_grad, name
        # What is drawn anew does not depend on it, what is taken over is what the base has.
        atol = 0.02 if change == "bfloat16" else 2e-3 if change == "float16" else 0
        torch.testing.assert_close(parameter, expected.get_parameter(name), atol=atol, rtol=0)
    assert adversary.training and {p.dtype for p in base.parameters()} == {next(base.parameters()).dtype}


@pytest.mark.parametrize("change", ["float16", "frozen"])
def test_a_warm_adversary_of_such_a_base_agrees_with_it(change, tmp_path, trained_base):
    base = copy.deepcopy(trained_base.model)
    base = base.half() if change == "float16" else base.requires_grad_(False)
    trainer = adversary_trainer(tmp_path, base, 0.05, "warm", epochs=8)
    trainer.train()
    assert trainer.evaluate()["eval_tvd"] < 0.05
    trainer.model.save_pretrained(tmp_path / "saved")
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").dtype == torch.float32
    assert not base.training or change == "float16"


def test_a_quantised_base_is_refused():
    base = toy_model()
    with pytest.warns(DeprecationWarning):
        quantised = torch.ao.quantization.quantize_dynamic(base, {torch.nn.Linear}, dtype=torch.qint8)
    with pytest.raises(InputError, match="base that is not quantised"):
        new_adversary(quantised, "warm")
    base.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    with pytest.raises(InputError, match="The base model is quantised"):
        new_adversary(base, "other-seed")


def test_the_adversarial_trainer_refuses_what_cannot_be(tmp_path):
    base, arguments = toy_model(), adversarial_arguments(tmp_path)
    with pytest.raises(InputError, match="base_model is model"):
        ModelConsistentAdversarialTrainer(base, base, arguments)
    with pytest.raises(InputError, match="vocab_size is 31, the base's 30"):
        config = LstmAttentionConfig(vocab_size=31, embedding_size=8, hidden_size=6)
        ModelConsistentAdversarialTrainer(LstmAttentionForSequenceClassification(config), base, arguments)
    with pytest.raises(InputError, match="id2label"):
        ModelConsistentAdversarialTrainer(toy_model(num_labels=3), base, arguments)
    with pytest.raises(InputError, match=r"excluded_token_ids is \[5\], the base's \[\]: make it with new_adversary"):
        ModelConsistentAdversarialTrainer(toy_model(excluded_token_ids=[5]), base, arguments)
    with pytest.raises(InputError, match=r"`kl_weight` -0\.1"):
        adversarial_arguments(tmp_path, kl_weight=-0.1)


def test_texts_of_length_zero_and_one_train(tmp_path, trained_base):
    data = datasets.concatenate_datasets([toy_dataset(20).select_columns(["input_ids", "label", "length"])] * 2)
    data = data.map(lambda row, i: {"input_ids": row["input_ids"][: i % 2], "length": i % 2}, with_indices=True)
    arguments = classification_arguments(tmp_path / "c", num_train_epochs=1)
    trainer = ClassificationTrainer(toy_model(), arguments, data, data)
    trainer.train()
    assert np.isfinite(trainer.evaluate()["eval_loss"])
    arguments = adversarial_arguments(tmp_path / "a", num_train_epochs=1)
    trainer = ModelConsistentAdversarialTrainer(toy_model(3), trained_base.model, arguments, data, data)
    trainer.train()
    assert np.isfinite(trainer.evaluate()["eval_loss"])


# What Trainer takes


class Rows(torch.utils.data.Dataset):
    """A dataset of PyTorch."""

    def __init__(self, dataset):
        self.rows = [{"input_ids": row["input_ids"], "labels": row["label"]} for row in dataset]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def in_order(path, arguments=classification_arguments, **settings):
    """Arguments of a short training that takes the rows as they come."""
    settings = {"max_steps": 6, "per_device_train_batch_size": 10, "train_sampling_strategy": "sequential"} | settings
    return arguments(path, **settings)


def kinds_of_dataset():
    data = toy_dataset()
    yield "labels", data.rename_column("label", "labels")
    yield "torch format", data.with_format("torch")
    yield "numpy format", data.with_format("numpy")
    yield "bool", data.cast_column("label", datasets.Value("bool"))
    yield "streaming", data.to_iterable_dataset()
    yield "of PyTorch", Rows(data)
    yield "subset", torch.utils.data.Subset(data, range(60))
    yield "list", list(data)


KINDS = dict(kinds_of_dataset())


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


@pytest.fixture(scope="module")
def expected(trained_base, tmp_path_factory):
    """Trainers of both kinds after a short training, and their evaluation."""
    path, data = tmp_path_factory.mktemp("expected"), toy_dataset()
    base, adversary = trained_base.model, new_adversary(trained_base.model, seed=7)
    trainers = {
        "classification": ClassificationTrainer(toy_model(), in_order(path / "c"), data, data),
        "adversarial": ModelConsistentAdversarialTrainer(
            adversary, base, in_order(path / "a", adversarial_arguments), data, data
        ),
    }
    for trainer in trainers.values():
        trainer.train()
    return {kind: (weights(trainer), trainer.evaluate()) for kind, trainer in trainers.items()}


@pytest.mark.parametrize("objective", ["classification", "adversarial"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_dataset_trains_alike(kind, objective, tmp_path, trained_base, expected):
    data = KINDS[kind]
    if objective == "classification":
        trainer = ClassificationTrainer(toy_model(), in_order(tmp_path), data, data)
    else:
        adversary = new_adversary(trained_base.model, seed=7)
        arguments = in_order(tmp_path, adversarial_arguments)
        trainer = ModelConsistentAdversarialTrainer(adversary, trained_base.model, arguments, data, data)
    trainer.train()
    after, metrics = expected[objective]
    torch.testing.assert_close(weights(trainer), after, atol=1e-5, rtol=0)
    found = trainer.evaluate()
    for name in ("loss", "f1", "tvd", "kl", "jsd"):
        assert found.get(f"eval_{name}") == pytest.approx(metrics.get(f"eval_{name}"), abs=1e-5)


@pytest.mark.parametrize("objective", ["classification", "adversarial"])
def test_a_function_instead_of_a_model(objective, tmp_path, trained_base, expected):
    data = toy_dataset()
    if objective == "classification":
        trainer = ClassificationTrainer(
            args=in_order(tmp_path), train_dataset=data, eval_dataset=data, model_init=lambda: toy_model()
        )
    else:
        trainer = ModelConsistentAdversarialTrainer(
            base_model=trained_base.model,
            args=in_order(tmp_path, adversarial_arguments),
            train_dataset=data,
            eval_dataset=data,
            model_init=lambda trial: new_adversary(trained_base.model, seed=7),
        )
    for _ in range(2):  # each time from the beginning
        trainer.train()
        torch.testing.assert_close(weights(trainer), expected[objective][0], atol=1e-5, rtol=0)
        assert trainer.model.config.adversarial_attention == (objective == "adversarial")


def test_plain_arguments_of_transformers(tmp_path):
    arguments = TrainingArguments(
        str(tmp_path), num_train_epochs=5, learning_rate=2e-2, use_cpu=True, disable_tqdm=True
    )
    trainer = ClassificationTrainer(toy_model(), arguments, toy_dataset(200), toy_dataset(60, seed=1))
    trainer.train()
    assert trainer.evaluate()["eval_f1"] > 0.9
    with pytest.raises(InputError, match="`args` is TrainingArguments, which has no `kl_weight`"):
        ModelConsistentAdversarialTrainer(toy_model(1), toy_model(), arguments)


def test_columns_that_transformers_would_remove_are_kept(tmp_path, trained_base, expected):
    arguments = in_order(tmp_path, adversarial_arguments, remove_unused_columns=True)
    data, adversary = toy_dataset(), new_adversary(trained_base.model, seed=7)
    trainer = ModelConsistentAdversarialTrainer(adversary, trained_base.model, arguments, data, data)
    trainer.train()
    torch.testing.assert_close(weights(trainer), expected["adversarial"][0], atol=1e-5, rtol=0)


def test_label_smoothing(tmp_path):
    arguments = classification_arguments(tmp_path, label_smoothing_factor=0.3, class_weights=[1.0, 2.0])
    trainer = ClassificationTrainer(toy_model(), arguments, toy_dataset(), toy_dataset())
    logits, labels = torch.randn(3, 2), torch.tensor([0, 1, 1])
    losses = trainer.instance_losses({"labels": labels}, type("Output", (), {"logits": logits}))
    target = torch.tensor([[0.85, 0.15], [0.15, 0.85], [0.15, 0.85]])
    torch.testing.assert_close(losses, -(target * logits.log_softmax(-1)).sum(1) * torch.tensor([1.0, 2, 2]))


def test_a_loss_function_of_ones_own(tmp_path, expected):
    data, calls = toy_dataset(), []

    def loss(outputs, labels, num_items_in_batch=None):
        calls.append(num_items_in_batch)
        return torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="sum") / num_items_in_batch

    trainer = ClassificationTrainer(toy_model(), in_order(tmp_path), data, data, compute_loss_func=loss)
    trainer.train()
    assert len(calls) >= 6
    torch.testing.assert_close(weights(trainer), expected["classification"][0], atol=1e-5, rtol=0)
    for settings in ({"class_weights": [1.0, 2.0]}, {"label_smoothing_factor": 0.1}):
        with pytest.raises(InputError, match="`compute_loss_func` replaces the loss"):
            ClassificationTrainer(
                toy_model(), classification_arguments(tmp_path, **settings), data, data, compute_loss_func=loss
            )
    with pytest.raises(InputError, match="`compute_loss_func`: an adversary's loss is its objective"):
        ModelConsistentAdversarialTrainer(
            toy_model(1), toy_model(), adversarial_arguments(tmp_path), compute_loss_func=loss
        )


def test_optimizers_metrics_and_parts_are_used(tmp_path):
    model, seen = toy_model(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    parts = {"a": toy_dataset(20, seed=1), "b": toy_dataset(20, seed=2)}
    arguments = classification_arguments(tmp_path, num_train_epochs=1, metric_for_best_model="b_loss")
    before = torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).clone()
    trainer = ClassificationTrainer(
        model,
        arguments,
        toy_dataset(),
        parts,
        optimizers=(optimizer, None),
        compute_metrics=lambda prediction: seen.append(prediction) or {"mine": 1.0},
    )
    trainer.train()
    assert torch.equal(weights(trainer), before) and len(seen) == 2
    assert trainer.evaluate()["eval_b_mine"] == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_names": ["gold"]}, "`label_names`: an adversary"),
        ({"class_weights": [1.0, 2.0]}, "`class_weights`: an adversary is trained without labels"),
        ({"label_smoothing_factor": 0.1}, "`label_smoothing_factor`: an adversary is trained without labels"),
    ],
)
def test_an_adversary_has_no_use_for_labels(settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        adversarial_arguments(tmp_path, **settings)


def test_label_names_are_those_of_the_collator(tmp_path):
    assert classification_arguments(tmp_path, label_names=["labels"]).label_names == ["labels"]
    with pytest.raises(InputError, match=r"`label_names` .'gold'.: call the column of the labels label"):
        classification_arguments(tmp_path, label_names=["gold"])


def test_datasets_that_cannot_be_trained_on_are_named(tmp_path):
    data, arguments = toy_dataset(20), classification_arguments(tmp_path)
    strings = data.remove_columns("label").add_column("label", ["yes", "no"] * 10)
    for unfit, message in (
        (data.to_pandas(), "is a DataFrame: give a datasets.Dataset"),
        (datasets.DatasetDict(train=data, test=data), "has the splits train, test: give one of them"),
        (data.remove_columns("input_ids"), "has no column input_ids, only attention_mask, label"),
        (data.remove_columns("label"), "has no column label, only"),
        (data.add_column("labels", [0] * 20), "a column label and a column labels: remove one"),
        (strings, "column label of the dataset holds string values, such as .'yes'."),
        (data.remove_columns("label").add_column("labels", [0, 2] * 10), "Row 1 of the dataset has the labels 2"),
        (data.remove_columns("label").add_column("label", [0, None] * 10), "Row 1 of the dataset has the label None"),
    ):
        with pytest.raises(InputError, match=message):
            ClassificationTrainer(toy_model(), arguments, unfit, data)
    with pytest.raises(InputError, match=r"has the parts a, and `metric_for_best_model` loss is of none: .* a_loss"):
        ClassificationTrainer(toy_model(), arguments, data, {"a": data})
    with pytest.raises(InputError, match="`finetuned_from` has no place"):
        ClassificationTrainer(toy_model(), arguments, data, data).create_model_card(finetuned_from="bert")


def in_processes(number, folder):
    """This file as a script in so many processes on the CPU, which talk to each other: what each has to say."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(number), __file__, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    said = sorted(folder.glob("said-*.json"))
    assert len(said) == number
    return [json.loads(path.read_text()) for path in said]


def train_in_this_process_of_many(folder):
    """A first gradient, then a base and its adversary, in batches of 16 texts over all processes."""
    state = PartialState(cpu=True)
    size = 16 // state.num_processes

    def make(arguments):
        return ClassificationTrainer(toy_model(), arguments, toy_dataset(16))

    gradient = first_gradient(make, folder, 16, size, 1, classification_arguments)
    data = toy_dataset(101), toy_dataset(37, seed=1)  # the last batch is not full
    settings = {"learning_rate": 2e-2, "per_device_train_batch_size": size, "report_to": []}
    arguments = classification_arguments(f"{folder}/base", num_train_epochs=3, **settings)
    base = ClassificationTrainer(toy_model(), arguments, *data)
    base.train()
    arguments = adversarial_arguments(f"{folder}/adversary", num_train_epochs=4, kl_weight=0.05, **settings)
    adversary = ModelConsistentAdversarialTrainer(new_adversary(base.model, seed=5), base.model, arguments, *data)
    adversary.train()
    evaluated = adversary.evaluate()
    # In this process alone.
    probabilities = [torch.tensor(predict(m, data[1])["probabilities"]) for m in (adversary.model, base.model)]
    said = {
        "gradient": gradient.double().square().sum().item(),
        "history": [
            {name: log[name] for name in ("loss", "eval_loss", "tvd", "eval_tvd", "eval_f1") if name in log}
            for trainer in (base, adversary)
            for log in trainer.state.log_history
        ],
        "weights": [parameter.double().sum().item() for parameter in adversary.model.parameters()],
        "tvd": [evaluated["eval_tvd"], divergences.tvd(*probabilities).mean().item()],
    }
    Path(folder, f"said-{state.process_index}.json").write_text(json.dumps(said))


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    """As `accelerate launch` starts them, one for each GPU."""
    (one,) = in_processes(1, tmp_path / "one")
    two, other = in_processes(2, tmp_path / "two")
    assert two == other
    assert two["gradient"] == pytest.approx(one["gradient"], rel=1e-5)
    assert two["tvd"][0] == pytest.approx(two["tvd"][1], abs=1e-6)
    # The texts are dealt out in another order.
    assert two["tvd"][0] == pytest.approx(one["tvd"][0], abs=0.1)


def test_one_process_takes_one_gpu(tmp_path):
    arguments = classification_arguments(tmp_path)
    arguments._n_gpu = 2
    assert arguments.n_gpu == 1 and arguments.train_batch_size == 32


if __name__ == "__main__":
    train_in_this_process_of_many(sys.argv[1])
