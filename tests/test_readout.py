"""The readout of transformers: what is read equals eager attention, and what is imposed is what the output follows."""

import copy
import subprocess
import sys

import datasets
import numpy as np
import pytest
import torch
from helpers.transformers import FAMILIES, TEXTS, small_batch, small_tokenizer, small_transformer
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from hf_attn_faith import AdversarialTrainingArguments, InputError, ModelConsistentAdversarialTrainer, predict
from hf_attn_faith.analyses.instance_attack import exact_attack, readout_attack
from hf_attn_faith.analyses.permutation import readout_permutation, shuffles
from hf_attn_faith.attention.readout import IMPLEMENTATION, Readout
from hf_attn_faith.attention.weights import LOG_ZERO, tilted, token_log_attention

POOLING = {"eurobert": "mean"} | dict.fromkeys(("llama", "qwen2", "qwen3", "gpt2", "gemma2", "gemma3_text"), "last")
RUN_IN_FULL = ("albert", "gemma2", "deberta-v2", "mpnet")


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer()


def random_weights(log_weights, seed=0):
    """Distributions over what each head's row sees."""
    weights = torch.rand(log_weights.shape, generator=torch.Generator().manual_seed(seed)) * (log_weights > LOG_ZERO)
    return weights / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family, tokenizer):
    model = small_transformer(family, num_labels=3)
    model.set_attn_implementation("eager")
    batch = small_batch(tokenizer)
    with torch.no_grad():
        eager = model(**batch, output_attentions=True)
        readout = Readout(model, tokenizer)
        output = readout(**batch)
        rollout = Readout(model, tokenizer, rollout=True)(**batch)
    assert readout.pooling == POOLING.get(family, "first")
    assert (readout.layers, readout.heads) == (2, 4)
    torch.testing.assert_close(output.logits, eager.logits, atol=1e-5, rtol=1e-5)

    real = batch["attention_mask"]

    def pooled(weights):
        return {
            "first": lambda: weights[:, :, 0],
            "last": lambda: weights[torch.arange(len(weights)), :, real.sum(1) - 1],
            "mean": lambda: (weights * real[:, None, :, None]).sum(2) / real.sum(1)[:, None, None],
        }[readout.pooling]()

    first, last = (weights.mean(1, keepdim=True) / 2 + torch.eye(weights.shape[-1]) / 2 for weights in eager.attentions)
    torch.testing.assert_close(rollout.log_weights.exp(), pooled(last @ first), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(rollout.logits, eager.logits, atol=1e-5, rtol=1e-5)
    row = pooled(eager.attentions[-1])
    torch.testing.assert_close(output.log_weights.exp(), row, atol=1e-5, rtol=1e-4)
    attention = output.token_log_attention.exp()
    torch.testing.assert_close(attention.sum(1), torch.ones(len(attention)))
    assert not attention[(batch["input_ids"] < 3)].any()  # padding and special tokens
    content = readout.attendable(**batch)
    torch.testing.assert_close(output.special_share, 1 - (row.mean(1) * content).sum(1), atol=1e-5, rtol=1e-4)

    if readout.pooling == "mean":
        with pytest.raises(InputError, match="averages"):
            readout.encode(**batch)
        return
    own, other = output.log_weights.exp(), random_weights(output.log_weights)
    with torch.no_grad():
        torch.testing.assert_close(readout(**batch, imposed_weights=own).logits, eager.logits, atol=2e-5, rtol=1e-4)
        moved = readout(**batch, imposed_weights=other).logits
        assert (moved - eager.logits).abs().max() > 0.01
        assert readout.one_row == (family not in RUN_IN_FULL)
        states = readout.encode(**batch)
        several = readout.classify(states, torch.stack([own, other]))
    torch.testing.assert_close(several, torch.stack([eager.logits, moved]), atol=2e-5, rtol=1e-4)
    # Nothing is left in the model.
    assert model.config._attn_implementation == "eager"
    assert "hf_attn_faith" not in model.config.to_json_string()


def test_nothing_is_read_without_the_mask(tokenizer, monkeypatch):
    """transformers hands over no mask to an attention function whose mask it does not know: padding is read."""
    monkeypatch.delitem(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, IMPLEMENTATION)
    with pytest.raises(InputError, match="does more with its attention"):
        Readout(small_transformer("bert"), tokenizer)


def test_the_probe_finds_what_is_pooled(tokenizer):
    assert Readout(small_transformer("modernbert", classifier_pooling="mean"), tokenizer).pooling == "mean"
    assert Readout(small_transformer("modernbert", classifier_pooling="cls"), tokenizer).pooling == "first"
    # A pad token that is the end token, which texts contain: transformers pools what stands before it.
    readout = Readout(small_transformer("llama", pad_token_id=2), small_tokenizer(pad_token="<sep>"))
    batch = small_batch(readout.tokenizer)
    with torch.no_grad():
        eager = readout.model(**batch).logits
        own = readout(**batch)
        torch.testing.assert_close(own.logits, eager)
        imposed = readout(**batch, imposed_weights=own.log_weights.exp()).logits
    torch.testing.assert_close(imposed, eager, atol=2e-5, rtol=1e-4)


def test_rollout_by_hand(tokenizer):
    """The first layer attends uniformly, the last one to w30. From the first of five tokens, with half of each layer's
    weight staying where it is: ¼ e_first + ¼ e_w30 + ½ · ⅕."""
    model = small_transformer("bert", num_attention_heads=1)
    model.bert.embeddings.LayerNorm = torch.nn.Identity()
    below, last = model.bert.encoder.layer
    below.attention.output.LayerNorm = below.output.LayerNorm = torch.nn.Identity()
    with torch.no_grad():
        for linear in (
            below.attention.self.query, below.attention.output.dense, below.output.dense, last.attention.self.query,
            last.attention.self.key, model.bert.embeddings.position_embeddings,
            model.bert.embeddings.token_type_embeddings,
        ):  # fmt: skip
            linear.weight.zero_()
        model.bert.embeddings.word_embeddings.weight[:, 0] = 0
        model.bert.embeddings.word_embeddings.weight[30, 0] = 1
        last.attention.self.query.bias[0], last.attention.self.key.weight[0, 0] = 400, 1
    batch = small_batch(tokenizer, ["w5 w30 w7"])
    output = Readout(model, tokenizer, rollout=True)(**batch)
    torch.testing.assert_close(output.log_weights.exp(), torch.tensor([[[0.35, 0.1, 0.35, 0.1, 0.1]]]))
    torch.testing.assert_close(output.token_log_attention.exp()[0, 1:4], torch.tensor([0.1, 0.35, 0.1]) / 0.55)
    torch.testing.assert_close(output.special_share, torch.tensor([0.45]))


def test_rollout_is_looked_at_alone(tokenizer, tmp_path):
    model, batch = small_transformer("bert"), small_batch(tokenizer)
    rollout = Readout(model, tokenizer, rollout=True)
    weights = rollout(**batch).log_weights.exp()
    for impose in (lambda: rollout.encode(**batch), lambda: rollout(**batch, imposed_weights=weights)):
        with pytest.raises(InputError, match="can be imposed on none"):
            impose()
    with pytest.raises(InputError, match="looked at alone"):
        ModelConsistentAdversarialTrainer(copy.deepcopy(model), rollout, AdversarialTrainingArguments(str(tmp_path)))
    model.config.uniform_readout = True
    with pytest.raises(InputError, match="no rollout of a model that was fine-tuned under a uniform row"):
        Readout(model, tokenizer, rollout=True)


# One layer of BERT whose logits are Σ_h Σ_t w_ht v_ht and what the pooled token brings, by identities.


def linear_bert(heads=1, **config):
    model = small_transformer("bert", num_hidden_layers=1, num_attention_heads=heads, **config)
    layer, size = model.bert.encoder.layer[0], model.config.hidden_size
    for module in (layer.attention.output, layer.output, model.bert.embeddings):
        module.LayerNorm = torch.nn.Identity()
    model.bert.pooler.activation = torch.nn.Identity()
    with torch.no_grad():
        for linear in (layer.attention.output.dense, model.bert.pooler.dense):
            linear.weight.copy_(torch.eye(size))
            linear.bias.zero_()
        layer.output.dense.weight.zero_()
        layer.output.dense.bias.zero_()
        model.bert.embeddings.position_embeddings.weight.zero_()
        model.bert.embeddings.token_type_embeddings.weight.zero_()
    return model


def test_imposing_is_linear_where_the_model_is(tokenizer):
    model = linear_bert(heads=4)
    readout, batch = Readout(model, tokenizer), small_batch(tokenizer)
    states = readout.encode(**batch)
    weights = random_weights(states.log_weights)
    with torch.no_grad():
        hidden = model.bert.embeddings.word_embeddings(batch["input_ids"])
        values = model.bert.encoder.layer[0].attention.self.value(hidden).unflatten(-1, (4, 8)).transpose(1, 2)
        mixed = torch.einsum("bht,bhtd->bhd", weights, values).flatten(1)
        torch.testing.assert_close(readout.classify(states, weights), model.classifier(hidden[:, 0] + mixed))


def test_the_search_nears_the_exact_attack():
    model, tokenizer = linear_bert(heads=1), small_tokenizer(special=False)
    readout = Readout(model, tokenizer)
    texts = datasets.Dataset.from_dict({"input_ids": [tokenizer(text)["input_ids"] for text in TEXTS[:2]]})
    prediction_set = predict(readout, texts, progress=False)
    found = readout_attack(readout, texts, prediction_set, (0.05,))
    batch = small_batch(tokenizer, TEXTS[:2])
    with torch.no_grad():
        states = readout.encode(**batch)
        time = batch["input_ids"].shape[1]
        alone = torch.stack([torch.eye(time)[n].expand_as(states.log_weights) for n in range(time)])
        token_logits = readout.classify(states, alone).transpose(0, 1).double()
    attention = token_log_attention(states.log_weights, states.content).exp().double()
    exact = exact_attack(attention, token_logits, states.content, torch.tensor([0.05, 0.05])).jsd.numpy()
    assert (found.tvd <= 0.05).all()
    assert (found.jsd.to_numpy() <= exact + 1e-5).all()
    assert (found.jsd.to_numpy() >= 0.9 * exact).all()


def test_without_queries_attention_is_uniform(tokenizer):
    model = small_transformer("bert")
    attention = model.bert.encoder.layer[-1].attention.self
    with torch.no_grad():
        attention.query.weight.zero_()
        attention.query.bias.zero_()
    readout, batch = Readout(model, tokenizer), small_batch(tokenizer)
    output = readout(**batch)
    content = readout.attendable(**batch)
    uniform = content / content.sum(1, keepdim=True)
    torch.testing.assert_close(output.token_log_attention.exp(), uniform)
    # No adversary can move: the keys have no gradient.
    (output.token_log_attention[content] * torch.randn(int(content.sum()))).sum().backward()
    assert attention.key.weight.grad.abs().max() < 1e-7


def test_without_values_no_attention_matters(tokenizer):
    model = small_transformer("bert")
    with torch.no_grad():
        model.bert.encoder.layer[-1].attention.self.value.weight.zero_()
    readout = Readout(model, tokenizer)
    texts = datasets.Dataset.from_dict({"input_ids": [tokenizer(text)["input_ids"] for text in TEXTS]})
    instances = readout_permutation(readout, texts, predict(readout, texts, progress=False), 20)
    assert instances.tvd_mean.max() < 1e-6


def test_weights_in_the_null_space_of_the_values_leave_the_output(tokenizer):
    """Brunner et al. (2020): a head of d dimensions cannot tell the weights of more than d + 1 tokens apart."""
    readout = Readout(small_transformer("bert"), tokenizer)
    batch = small_batch(tokenizer, [" ".join(f"w{4 + n}" for n in range(14))])
    states = readout.encode(**batch)
    weights = states.log_weights.exp().double()
    values = states.values.double()
    constraints = torch.cat([values, torch.ones_like(values[..., :1])], -1).transpose(2, 3)
    null = torch.linalg.svd(constraints).Vh[..., -1, :]  # sums to zero, and moves no value
    moved = weights + null * (weights.amin(-1) / null.abs().amax(-1)).unsqueeze(-1)
    assert (moved - weights).abs().max() > 1e-3
    assert (moved >= 0).all()
    with torch.no_grad():
        own, other = readout.classify(states, torch.stack([weights, moved]).float())
    torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-4)


def test_gradient_is_the_analytic_one():
    """Of one layer that pools its first token (Lopardo et al. 2024): ∂s/∂x_t = a_t Wᵥᵀc + a_t c·(v_t − v̄) Wₖᵀq / √d."""
    model, tokenizer = linear_bert(heads=1), small_tokenizer(special=False)
    batch = small_batch(tokenizer, ["w5 w9 w30 w31"])
    found = Readout(model, tokenizer).gradient_times_input(**batch)[0]
    with torch.no_grad():
        attention = model.bert.encoder.layer[0].attention.self
        x = model.bert.embeddings.word_embeddings(batch["input_ids"])[0]
        query, keys, values = attention.query(x[0]), attention.key(x), attention.value(x)
        weights = (keys @ query / 32**0.5).softmax(0)
        logits = model.classifier(x[0] + weights @ values)
        predicted = int(logits.argmax())
        share = logits.softmax(0)
        c = share[0] * share[1] * (model.classifier.weight[predicted] - model.classifier.weight[1 - predicted])
        away = (values - weights @ values) @ c
        gradient = weights[:, None] * (
            c @ attention.value.weight + away[:, None] * (query @ attention.key.weight) / 32**0.5
        )
        expected = (gradient * x).sum(1).abs()
    torch.testing.assert_close(found[1:], expected[1:], atol=1e-5, rtol=1e-3)  # the first is the query too


def test_measures_agree_on_the_token_that_is_copied():
    from hf_attn_faith import importance

    model, tokenizer = linear_bert(heads=1), small_tokenizer(special=False)
    attention, k = model.bert.encoder.layer[0].attention.self, 3
    with torch.no_grad():
        for linear in (attention.query, attention.key, attention.value):
            linear.weight.zero_()
        embeddings = model.bert.embeddings.word_embeddings.weight
        embeddings.copy_(0.1 * torch.randn_like(embeddings))
        embeddings[:, :2] = 0
        embeddings[30, :2] = 1  # the word that the head looks for, and copies
        attention.query.bias[0], attention.key.weight[0, 0] = 40, 1
        attention.value.weight[1, 1] = 1
        model.classifier.weight.zero_()
        model.classifier.weight[1, 1] = 5
    texts = datasets.Dataset.from_dict({"input_ids": [tokenizer("w5 w9 w31 w30 w32")["input_ids"]]})
    row = importance(Readout(model, tokenizer), texts, progress=False).iloc[0]
    for measure in ("attention", "gradient", "leave_one_out"):
        assert np.argmax(row[measure]) == k, measure
    assert row.attention[k] > 0.99


def test_tilting_by_its_own_attention_changes_nothing(tokenizer):
    readout, batch = Readout(small_transformer("bert"), tokenizer), small_batch(tokenizer)
    output, content = readout(**batch), readout.attendable(**batch)
    own = tilted(output.log_weights, content, output.token_log_attention)
    torch.testing.assert_close(own, output.log_weights.exp())
    # Not so the mean over the heads, given to all of them.
    states, mean = readout.encode(**batch), output.log_weights.exp().mean(1, keepdim=True)
    with torch.no_grad():
        logits = readout.classify(states, torch.stack([own, mean.expand_as(own)]))
    assert (logits[0] - output.logits).abs().max() < 1e-4 < 0.01 < (logits[1] - output.logits).abs().max()


def test_tilting_gives_what_is_asked_where_there_is_one_head():
    log_weights = torch.tensor([[[0.2, 0.3, 0.5]]]).log()
    content = torch.tensor([[False, True, True]])
    target = torch.tensor([[0.0, 0.9, 0.1]])
    weights = tilted(log_weights, content, target.log().clamp_min(LOG_ZERO))
    torch.testing.assert_close(weights, torch.tensor([[[0.2, 0.72, 0.08]]]))


def test_shuffles_leave_special_tokens_alone():
    content = torch.tensor([[False, True, True, True, False], [False, True, False, False, False]])
    places = shuffles(content, 50, torch.Generator().manual_seed(0))
    assert (places.sort(-1).values == torch.arange(5)).all()
    assert (places[:, ~content] == torch.arange(5).expand_as(content)[~content]).all()
    assert len({tuple(row) for row in places[:, 0].tolist()}) == 6


@pytest.mark.parametrize("family", ["bert", "eurobert", "deberta-v2"])
def test_a_uniform_readout_is_kept(family, tokenizer, tmp_path):
    model = small_transformer(family)
    model.config.uniform_readout = True
    model.save_pretrained(tmp_path)
    readout, batch = Readout(type(model).from_pretrained(tmp_path), tokenizer), small_batch(tokenizer)
    output = readout(**batch)
    seen = batch["attention_mask"][:, None].expand(-1, 4, -1)
    torch.testing.assert_close(output.log_weights.exp(), seen / seen.sum(-1, keepdim=True))
    assert (output.logits - model(**batch).logits).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("bart", {"d_model": 32}, "encoder-decoder"),
        ("bert", {"num_labels": 1}, "a regression"),
        ("bert", {"problem_type": "multi_label_classification"}, "several labels"),
        ("longformer", {"attention_window": [4, 4]}, "longformer.*(of all tokens to all|does more with)"),
        ("llama", {"pad_token_id": None}, "no `pad_token_id`"),
        ("bert", {"vocab_size": 20}, "40 tokens, the model \\(bert\\) 20"),
    ],
)
def test_what_has_no_readout_is_refused(family, config, message, tokenizer):
    model = small_transformer(family, **config)
    with pytest.raises(InputError, match=message) as refused:
        Readout(model, tokenizer)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_texts_longer_than_the_positions_are_refused(tokenizer):
    readout = Readout(small_transformer("bert"), tokenizer)
    with pytest.raises(InputError, match="`max_length`"):
        readout(**small_batch(tokenizer, ["w5 " * 60]))


def test_a_model_without_a_readout_is_told_how(tokenizer):
    texts = datasets.Dataset.from_dict({"input_ids": [[1, 5, 2]]})
    with pytest.raises(InputError, match=r"Readout\(model, tokenizer\)"):
        predict(small_transformer("bert"), texts, progress=False)


def test_prediction_sets_say_what_lay_on_special_tokens(tokenizer):
    readout = Readout(small_transformer("bert"), tokenizer)
    texts = datasets.Dataset.from_dict({"input_ids": [tokenizer(text)["input_ids"] for text in TEXTS]})
    prediction_set = predict(readout, texts, progress=False)
    with torch.no_grad():
        expected = readout(**small_batch(tokenizer)).special_share
    np.testing.assert_allclose(prediction_set["special_share"][:], expected, atol=1e-6)
    assert prediction_set[0]["token_attention"][0] == prediction_set[0]["token_attention"][-1] == 0


def test_an_adversary_loads_without_the_package(tokenizer, tmp_path):
    from hf_attn_faith import new_adversary

    base = Readout(small_transformer("bert"), tokenizer)
    adversary = new_adversary(base, "warm", seed=3)
    adversary.config.adversarial_attention = True
    adversary.save_pretrained(tmp_path)
    batch = small_batch(tokenizer)
    code = (
        "import sys, torch\n"
        "from transformers import AutoModelForSequenceClassification\n"
        f"model = AutoModelForSequenceClassification.from_pretrained({str(tmp_path)!r})\n"
        "assert model.config.adversarial_attention and 'hf_attn_faith' not in sys.modules\n"
        f"print(model(input_ids=torch.tensor({batch['input_ids'].tolist()}),"
        f" attention_mask=torch.tensor({batch['attention_mask'].tolist()})).logits.tolist())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    with torch.no_grad():
        expected = adversary.eval()(**batch).logits
    np.testing.assert_allclose(eval(printed), expected, atol=1e-5)
