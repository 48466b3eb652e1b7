import sys

import datasets
import numpy as np
import pandas as pd
import pytest
import torch

from hf_attn_faith.analyses import importance as module
from hf_attn_faith.analyses.importance import (
    PAIRS,
    gradient_importance,
    importance,
    integrated_gradients,
    leave_one_out,
    summarise,
)
from hf_attn_faith.errors import InputError
from hf_attn_faith.models import (
    LstmAttentionConfig,
    LstmAttentionForSequenceClassification,
    MlpAttentionConfig,
    MlpAttentionForSequenceClassification,
)

CLASSES = {
    "lstm": (LstmAttentionConfig, LstmAttentionForSequenceClassification),
    "mlp": (MlpAttentionConfig, MlpAttentionForSequenceClassification),
}


def random_model(kind="lstm", **settings):
    """With weights so large that every token matters."""
    config_class, model_class = CLASSES[kind]
    model = model_class(config_class(vocab_size=30, embedding_size=5, hidden_size=4, **settings))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


def rows(*input_ids, **columns):
    return datasets.Dataset.from_dict({"input_ids": list(input_ids), **columns})


def texts(lengths=(3, 0, 7, 1, 2, 5, 1, 9, 4, 0, 2, 6)):
    rng = np.random.default_rng(0)
    return rows(*(rng.integers(1, 30, length).tolist() for length in lengths))


@torch.no_grad()
def without_each(model, ids):
    """Leave-one-out as it is defined: the model is run again for each token."""

    def output(ids):
        return model(torch.tensor([ids], dtype=torch.long)).logits[0].softmax(-1)

    whole = output(ids)
    return [(output(ids[:t] + ids[t + 1 :]) - whole).abs().sum().item() / 2 for t in range(len(ids))]


def assert_equal(values, expected, atol=1e-6):
    for row, other in zip(values, expected, strict=True):
        assert row.dtype == np.float32 and row.shape == (len(other),)
        np.testing.assert_allclose(row, other, atol=atol)


# A model of which all is known. A word has two features, A and B: attention is the softmax of SCALE · B, and the output
# the sigmoid of WEIGHT · mean of A under attention + BIAS.

WORDS = torch.tensor([[0.0, 0.0], [-0.8, -0.7], [0.1, -0.3], [0.9, -0.1], [0.5, 0.1]])
TEXT = [1, 2, 3, 4]
SCALE, WEIGHT, BIAS = 1.5, 2.0, 0.3


@pytest.fixture
def known():
    config = MlpAttentionConfig(vocab_size=5, embedding_size=2, hidden_size=2, attention_type="dot")
    model = MlpAttentionForSequenceClassification(config)
    with torch.no_grad():
        model.embedding.weight.copy_(WORDS)
        model.affine.weight.copy_(torch.eye(2))
        model.affine.bias.zero_()
        model.attention_query.weight.copy_(torch.tensor([[0, SCALE * 2**0.5]]))
        model.classifier.weight.copy_(torch.tensor([[0, 0], [WEIGHT, 0]]))
        model.classifier.bias.copy_(torch.tensor([0, BIAS]))
    return model


def by_hand(ids):
    """The features of a text's words, its attention and its output."""
    a, b = np.tanh(WORDS[ids].numpy()).T
    attention = np.exp(SCALE * b) / np.exp(SCALE * b).sum()
    return a, b, attention, 1 / (1 + np.exp(-(WEIGHT * attention @ a + BIAS)))


def test_gradient_of_a_known_model(known):
    a, b, attention, p = by_hand(TEXT)
    x, y = WORDS[TEXT].numpy().T
    fixed = p * (1 - p) * WEIGHT * attention * (1 - a**2) * x
    assert_equal(gradient_importance(known, rows(TEXT), progress=False), [np.abs(fixed)])
    # More attention to a word moves the mean of A by as far as the word is from it.
    moved = p * (1 - p) * WEIGHT * attention * (a - attention @ a) * SCALE * (1 - b**2) * y
    through = gradient_importance(known, rows(TEXT), through_attention=True, progress=False)
    assert_equal(through, [np.abs(fixed + moved)])


def test_leave_one_out_of_a_known_model(known):
    expected = [abs(by_hand(TEXT[:t] + TEXT[t + 1 :])[-1] - by_hand(TEXT)[-1]) for t in range(4)]
    # Without its only word, a text has the bias.
    alone = abs(by_hand([3])[-1] - 1 / (1 + np.exp(-BIAS)))
    assert_equal(leave_one_out(known, rows([3], TEXT, []), progress=False), [[alone], expected, []])


def test_taus_of_a_known_model(known):
    # Words from the least important on. Attention: 1 2 3 4. Gradient: 2 1 3 4, one of six pairs the other way round.
    # Leave-one-out: 2 4 1 3, three pairs, and two against the gradient. p: of the 24 orders of four words 8 have a |τ|
    # of 2/3 or more, 18 one of 1/3 or more.
    instances = importance(known, rows(TEXT, [4, 2, 1, 3], [2], [1, 1], []), progress=False)
    for row in (0, 1):
        assert instances.loc[row, [f"tau {pair}" for pair in PAIRS]].tolist() == pytest.approx([2 / 3, 0, 1 / 3])
        assert instances.loc[row, [f"p {pair}" for pair in PAIRS]].tolist() == pytest.approx([8 / 24, 1, 18 / 24])
    # One word, two that are the same, none.
    assert instances.loc[2:, [f"{name} {pair}" for name in ("tau", "p") for pair in PAIRS]].isna().all(axis=None)
    np.testing.assert_allclose(instances.attention[0], by_hand(TEXT)[2], atol=1e-6)


# Properties of any model


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("attention_type", ["additive", "dot", "uniform"])
@pytest.mark.parametrize("row_budget", [1, 4, 20, None])
def test_leave_one_out_equals_running_the_model_again(kind, attention_type, row_budget):
    model = random_model(kind, attention_type=attention_type, num_labels=3)
    dataset = texts()
    expected = [without_each(model, ids) for ids in dataset["input_ids"][:]]
    assert_equal(leave_one_out(model, dataset, row_budget, progress=False), expected)
    assert max(map(max, filter(None, expected))) > 0.1


@pytest.mark.parametrize("kind", CLASSES)
def test_excluded_tokens_are_read_but_take_no_part(kind):
    model = random_model(kind, excluded_token_ids=[1, 2])
    dataset = rows([1, 5, 6, 7, 8, 2], [1, 9, 2], [1, 2], [1, 9, 10, 2])
    expected = [without_each(model, ids) for ids in dataset["input_ids"][:]]
    assert_equal(leave_one_out(model, dataset, progress=False), expected)
    instances = importance(model, dataset, progress=False)
    for row, (gradient, left_out) in enumerate(zip(instances.gradient, instances.leave_one_out, strict=True)):
        tau = module._kendall(gradient[1:-1], left_out[1:-1])[0]
        assert instances["tau gradient~leave_one_out"][row] == pytest.approx(tau, nan_ok=True)
    assert instances["tau gradient~leave_one_out"].isna().tolist() == [False, True, True, False]
    if kind == "lstm":  # deleting them changes the output by way of the other states
        assert instances.leave_one_out[0][[0, -1]].min() > 1e-4


def test_leave_one_out_holds_no_more_than_its_budget(monkeypatch):
    held = []

    def lstm(model, batch, hidden, tokens, real=module.lstm_logits_without):
        held.append(len(hidden) * len(tokens))
        return real(model, batch, hidden, tokens)

    def rerun(model, batch, tokens, real=module._logits_without):
        held.append(len(batch["input_ids"]) * len(tokens))
        return real(model, batch, tokens)

    monkeypatch.setattr(module, "lstm_logits_without", lstm)
    monkeypatch.setattr(module, "_logits_without", rerun)
    for kind in CLASSES:
        for budget in (1, 5, 12):
            leave_one_out(random_model(kind), texts(), budget, progress=False)
            assert max(held) <= budget and min(held) >= 1
            held.clear()


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("through_attention", [False, True])
def test_gradient_is_the_slope_along_the_embedding(kind, through_attention):
    model = random_model(kind, num_labels=3).double()
    dataset = texts()
    values = gradient_importance(model, dataset, through_attention, batch_size=5, progress=False)
    for ids, row in zip(dataset["input_ids"][:], values, strict=True):
        if not ids:
            assert row.shape == (0,)
            continue
        embeddings = model.embed(torch.tensor([ids])).detach()
        mask = torch.ones(1, len(ids))
        imposed = None if through_attention else model(inputs_embeds=embeddings).token_log_attention.exp()
        whole = model(inputs_embeds=embeddings).logits.argmax()
        for t in range(len(ids)):
            step = torch.zeros_like(embeddings)
            step[0, t] = 1e-3 * embeddings[0, t]
            up, down = (
                model(inputs_embeds=embeddings + sign * step, attention_mask=mask, imposed_attention=imposed)
                .logits.softmax(-1)[0, whole]
                .item()
                for sign in (1, -1)
            )
            assert row[t] == pytest.approx(abs(up - down) / 2e-3, rel=1e-3, abs=1e-5)


def test_a_sure_model_is_told_from_a_constant_one():
    model = random_model()
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([-20.0, 20.0]))
    dataset = rows([3, 4, 5, 6, 7])
    (gradient,), (left_out,) = (f(model, dataset, progress=False) for f in (gradient_importance, leave_one_out))
    # All outputs are 1 in float32.
    assert 0 < gradient.min() < gradient.max() < 1e-8
    assert 0 < left_out.min() < left_out.max() < 1e-8


@pytest.mark.parametrize("kind", CLASSES)
def test_half_precision(kind):
    model, dataset = random_model(kind), texts()
    for measure in (gradient_importance, leave_one_out):
        expected = measure(model, dataset, progress=False)
        assert_equal(measure(random_model(kind).bfloat16(), dataset, progress=False), expected, atol=0.05)


def test_constant_measures_have_no_tau():
    model = random_model(attention_type="uniform")
    instances = importance(model, texts(), progress=False)
    assert instances[["tau attention~gradient", "tau attention~leave_one_out"]].isna().all(axis=None)
    assert instances["tau gradient~leave_one_out"].notna().sum() == 8  # of the texts of two tokens or more


def test_the_model_is_left_as_it_was():
    model, dataset = random_model(dropout=0.5), texts()
    expected = importance(model, dataset, progress=False)
    model.train()
    pd.testing.assert_frame_equal(importance(model, dataset, progress=False), expected)
    assert model.training and model.dropout.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_imposed_attention_is_not_the_models_own():
    model, dataset = random_model(), texts()
    imposed = [[1.0] + [0.0] * (len(ids) - 1) if ids else [] for ids in dataset["input_ids"][:]]
    expected = importance(model, dataset, progress=False)
    got = importance(model, dataset.add_column("imposed_attention", imposed), progress=False)
    pd.testing.assert_frame_equal(got, expected)


# The table


def test_instances_can_be_written(tmp_path):
    dataset = texts()
    dataset = dataset.add_column("label", [0, 1] * 6).cast_column("label", datasets.ClassLabel(names=["bad", "good"]))
    instances = importance(random_model(), dataset.add_column("row", list(range(100, 112))), progress=False)
    instances.to_parquet(tmp_path / "instances.parquet", index=False)
    read = pd.read_parquet(tmp_path / "instances.parquet")
    assert read.row.tolist() == list(range(100, 112)) and set(read.predicted_label) <= {"bad", "good"}
    for name in ("attention", "gradient", "leave_one_out"):
        assert [len(values) for values in read[name]] == [len(ids) for ids in dataset["input_ids"][:]]
    pd.testing.assert_frame_equal(summarise(read), summarise(instances))


def test_summary_by_hand():
    nan = float("nan")
    instances = pd.DataFrame({"predicted_label": ["no", "no", "yes", "yes", "yes"]})
    for pair in PAIRS:
        instances[f"tau {pair}"], instances[f"p {pair}"] = nan, nan
    instances["tau attention~gradient"] = [0.2, 0.4, nan, -0.6, 0.8]
    # Times the number of τ over the rank: .04, .053 (no more than the next one), .053, .5.
    instances["p attention~gradient"] = [0.01, 0.03, nan, 0.5, 0.04]
    table = summarise(instances).set_index(["pair", "label"])
    assert list(table.columns) == ["tau_mean", "tau_std", "significant_share", "significant_share_bh", "undefined", "n"]
    assert len(table) == 9
    assert table.loc[("attention~gradient", "no")].tolist() == pytest.approx([0.3, 0.02**0.5, 1, 0.5, 0, 2])
    assert table.loc[("attention~gradient", "yes")].tolist() == pytest.approx([0.1, 0.98**0.5, 0.5, 0, 1, 3])
    assert table.loc[("attention~gradient", "all")].tolist() == pytest.approx(
        [0.2, np.std([0.2, 0.4, -0.6, 0.8], ddof=1), 0.75, 0.25, 1, 5]
    )
    undefined = table.loc["gradient~leave_one_out"]
    assert undefined.undefined.tolist() == undefined.n.tolist() == [2, 3, 5]
    assert undefined[["tau_mean", "tau_std", "significant_share", "significant_share_bh"]].isna().all(axis=None)


# captum


def test_gradient_agrees_with_captum():
    attr = pytest.importorskip("captum.attr")
    for kind in CLASSES:
        model, dataset = random_model(kind), texts()
        values = gradient_importance(model, dataset, through_attention=True, progress=False)
        explain = attr.InputXGradient(
            lambda embeddings, model=model: model(inputs_embeds=embeddings).logits.softmax(-1)
        )
        for ids, row in zip(dataset["input_ids"][:], values, strict=True):
            if ids:
                embeddings = model.embed(torch.tensor([ids])).detach().requires_grad_()
                target = int(model(inputs_embeds=embeddings).logits.argmax())
                expected = explain.attribute(embeddings, target=target).sum(-1).abs()[0]
                np.testing.assert_allclose(row, expected.detach(), rtol=1e-4, atol=1e-6)


def test_integrated_gradients_of_one_token_are_the_whole_change():
    pytest.importorskip("captum")
    for kind in CLASSES:
        model = random_model(kind)
        dataset = rows([3], [], [7], [3, 7, 9])
        values = integrated_gradients(model, dataset, batch_size=3, progress=False)
        for ids, row in zip(dataset["input_ids"][:], values, strict=True):
            assert row.shape == (len(ids),)
            if len(ids) == 1:
                embeddings = model.embed(torch.tensor([ids])).detach()
                p, zero = (model(inputs_embeds=x).logits.softmax(-1)[0] for x in (embeddings, 0 * embeddings))
                assert row[0] == pytest.approx(abs(p.max() - zero[p.argmax()]).item(), abs=1e-3)


def test_integrated_gradients_without_captum(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputError, match="pip install"):
        integrated_gradients(random_model(), texts(), progress=False)


@pytest.mark.gpu
def test_cuda_equals_cpu():
    for kind in CLASSES:
        model, dataset = random_model(kind), texts()
        expected = importance(model, dataset, progress=False)
        got = importance(model.cuda(), dataset, progress=False)
        for name in ("gradient", "leave_one_out"):
            assert_equal(got[name], expected[name], atol=1e-4)
