import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForSequenceClassification

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
LOG_ZERO = torch.finfo(torch.float32).min


def tiny(architecture="lstm", seed=0, **settings):
    config_class, model_class = CLASSES[architecture]
    torch.manual_seed(seed)
    model = model_class(config_class(**{"vocab_size": 40, "embedding_size": 7, "hidden_size": 6, **settings})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Biases and queries that are nearly zero would hide mistakes in masking.
            if not name.startswith("embedding"):
                parameter.normal_(std=0.5)
    return model


def batch(lengths=(5, 3, 1, 0, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(1, 40, mask.shape, generator=generator) * mask
    return ids, mask


@pytest.mark.parametrize("architecture", CLASSES)
@pytest.mark.parametrize("attention_type", ["additive", "dot", "uniform", "imposed"])
@pytest.mark.parametrize("num_labels", [2, 5])
def test_attention_is_a_distribution_over_the_tokens_of_each_text(architecture, attention_type, num_labels):
    model = tiny(architecture, attention_type=attention_type, num_labels=num_labels)
    ids, mask = batch()
    imposed = torch.rand(ids.shape) * mask
    imposed = imposed / imposed.sum(1, keepdim=True).clamp_min(1e-9)
    output = model(
        ids,
        mask,
        imposed_attention=imposed if attention_type == "imposed" else None,
        labels=torch.tensor([0, 1, 0, 1, 0]),
        output_attentions=True,
        output_hidden_states=True,
    )
    (attention,) = output.attentions
    assert attention.shape == (5, 1, 1, 5)
    torch.testing.assert_close(attention.sum(-1).flatten(), torch.tensor([1.0, 1, 1, 0, 1]))
    assert (attention[:, 0, 0][mask == 0] == 0).all()
    assert (output.token_log_attention[mask == 0] == LOG_ZERO).all()
    assert output.token_log_attention.dtype == torch.float32
    assert (output.hidden_states[0][mask == 0] == 0).all()
    assert output.logits.shape == (5, num_labels)
    torch.testing.assert_close(output.logits[3], model.classifier.bias)  # the text without tokens
    output.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    if attention_type == "uniform":
        torch.testing.assert_close(attention[0, 0, 0], torch.full((5,), 0.2))
    if attention_type == "imposed":
        torch.testing.assert_close(attention[:, 0, 0], imposed)


def test_lstm_equals_a_packed_bidirectional_lstm():
    model = tiny()
    packed = torch.nn.LSTM(7, 6, batch_first=True, bidirectional=True)
    packed.load_state_dict(
        dict(model.forward_lstm.named_parameters())
        | {f"{name}_reverse": value for name, value in model.backward_lstm.named_parameters()}
    )
    ids, mask = batch((5, 3, 1, 4))
    embedded = torch.nn.utils.rnn.pack_padded_sequence(
        model.embed(ids), mask.sum(1), batch_first=True, enforce_sorted=False
    )
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(packed(embedded)[0], batch_first=True)
    torch.testing.assert_close(model.encode(model.embed(ids), mask), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", CLASSES)
def test_a_row_does_not_depend_on_its_batch(architecture):
    model = tiny(architecture)
    ids, mask = batch((9, 4, 1, 2))
    together = model(ids, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = model(ids[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(
            together.token_log_attention[row, :length], alone.token_log_attention[0], atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("architecture", CLASSES)
def test_padding_may_stand_anywhere(architecture):
    model = tiny(architecture)
    ids, mask = batch((4, 2))
    expected = model(ids, mask)
    left = model(ids[:, [2, 3, 0, 1]], mask[:, [2, 3, 0, 1]])  # the second row is padded on the left now
    torch.testing.assert_close(left.logits[1], expected.logits[1])
    inner = model(ids[1:, [0, 2, 1, 3]], mask[1:, [0, 2, 1, 3]])
    torch.testing.assert_close(inner.logits[0], expected.logits[1])
    torch.testing.assert_close(inner.token_log_attention[0, [0, 2]], expected.token_log_attention[1, :2])


def test_additive_and_dot_attention_by_hand():
    hidden = torch.randn(2, 3, 12)
    mask = torch.ones(2, 3, dtype=torch.bool)
    additive, dot = tiny(attention_type="additive"), tiny(attention_type="dot")
    w1, b1 = additive.attention_projection.weight, additive.attention_projection.bias
    scores = torch.tanh(hidden @ w1.T + b1) @ additive.attention_query.weight[0]
    torch.testing.assert_close(additive.attend(hidden, mask).exp(), scores.softmax(-1))
    scores = hidden @ dot.attention_query.weight[0] / 12**0.5
    torch.testing.assert_close(dot.attend(hidden, mask).exp(), scores.softmax(-1))


def test_imposed_attention_replaces_the_models_own():
    model = tiny()
    ids, mask = batch((4, 4))
    imposed = torch.tensor([[0, 0, 1.0, 0], [0.5, 0, 0, 0.5]])
    output = model(ids, mask, imposed_attention=imposed)
    hidden = model.encode(model.embed(ids), mask)
    pooled = torch.stack([hidden[0, 2], (hidden[1, 0] + hidden[1, 3]) / 2])
    torch.testing.assert_close(output.logits, model.classifier(pooled))
    own = model(ids, mask)
    again = model(ids, mask, imposed_attention=own.token_log_attention.exp())
    torch.testing.assert_close(again.logits, own.logits)


def test_excluded_tokens_are_read_but_get_no_attention():
    model = tiny(excluded_token_ids=[2, 3])
    ids = torch.tensor([[2, 8, 9, 3]])
    attention = model(ids).token_log_attention.exp()
    assert attention[0, 0] == attention[0, 3] == 0
    torch.testing.assert_close(attention.sum(), torch.tensor(1.0))
    changed = model(torch.tensor([[4, 8, 9, 3]])).token_log_attention.exp()
    assert not torch.allclose(attention[0, 1], changed[0, 1] / changed[0, 1:3].sum())


def test_the_default_mask_is_everything_but_padding():
    model = tiny()
    ids, mask = batch((4, 2))
    torch.testing.assert_close(model(ids).logits, model(ids, mask).logits)
    embedded = model(inputs_embeds=model.embed(ids), attention_mask=mask)
    torch.testing.assert_close(embedded.logits, model(ids, mask).logits)
    assert torch.isfinite(model(inputs_embeds=model.embed(ids)).logits).all()


def test_texts_without_a_single_token():
    for architecture in CLASSES:
        model = tiny(architecture)
        # What a tokenizer returns for [""]: no columns, and floats.
        output = model(torch.zeros(2, 0), torch.zeros(2, 0))
        torch.testing.assert_close(output.logits, model.classifier.bias.expand(2, 2))
        assert output.token_log_attention.shape == (2, 0)


def test_errors_name_the_way_out():
    model = tiny(attention_type="imposed")
    ids, mask = batch((4, 2))
    with pytest.raises(ValueError, match="give forward\\(\\) `imposed_attention`"):
        model(ids, mask)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), the batch \(2, 4\)"):
        model(ids, mask, imposed_attention=torch.ones(2, 3))
    with pytest.raises(ValueError, match="either `input_ids` or `inputs_embeds`"):
        model()
    with pytest.raises(StrictDataclassError, match="attention_type"):
        LstmAttentionConfig(attention_type="sparse")
    with pytest.raises(StrictDataclassError, match="at least two labels"):
        LstmAttentionConfig(num_labels=1)


@pytest.mark.parametrize("architecture", CLASSES)
def test_bfloat16_stays_close_to_float32(architecture):
    model = tiny(architecture)
    ids, mask = batch((8, 3))
    expected = model(ids, mask)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = model(ids, mask)
    output = model.to(torch.bfloat16)(ids, mask)
    for close in (autocast, output):
        assert close.token_log_attention.dtype == torch.float32
        torch.testing.assert_close(close.logits.float(), expected.logits, atol=0.05, rtol=0.05)


def assert_same_weights(a, b):
    """Bit by bit; outputs may differ in the last place where weights lie at other addresses."""
    torch.testing.assert_close(a.state_dict(), b.state_dict(), atol=0, rtol=0)


@pytest.mark.parametrize("architecture", CLASSES)
def test_saved_and_loaded_bit_equal_by_the_auto_class(architecture, tmp_path):
    model = tiny(architecture, num_labels=3, id2label={0: "bad", 1: "so so", 2: "good"})
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is type(model)
    assert loaded.config.id2label == {0: "bad", 1: "so so", 2: "good"}
    ids, mask = batch()
    assert_same_weights(loaded, model)
    torch.testing.assert_close(loaded(ids, mask).logits, model(ids, mask).logits, atol=1e-6, rtol=0)
    assert {"modeling_attention_classifier.py", "configuration_attention_classifier.py"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_initialisation_does_not_depend_on_the_minor_version_of_transformers():
    torch.manual_seed(0)
    model = LstmAttentionForSequenceClassification(LstmAttentionConfig(vocab_size=2000, embedding_std=0.5))
    assert abs(model.embedding.weight[1:].std() - 0.5) < 0.01
    assert (model.embedding.weight[0] == 0).all()
    bound = 128**-0.5
    for parameter in model.forward_lstm.parameters():
        assert parameter.abs().max() <= bound < parameter.abs().max() * 1.1


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("architecture", CLASSES)
def test_transformations_of_torch_func(architecture):
    model = tiny(architecture)
    ids, mask = batch((5, 3, 1, 4))
    embeddings, labels = model.embed(ids).detach(), torch.tensor([0, 1, 1, 0])

    def logits(embeddings):
        return model(inputs_embeds=embeddings, attention_mask=mask).logits

    expected = torch.autograd.functional.jacobian(logits, embeddings)
    assert expected.abs().max() > 0.01
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(jacobian(logits)(embeddings), expected, atol=1e-6, rtol=1e-4)
    _, tangent = torch.func.jvp(logits, (embeddings,), (torch.ones_like(embeddings),))
    torch.testing.assert_close(tangent, expected.sum((2, 3, 4)), atol=1e-5, rtol=1e-4)

    def loss(parameters, ids, mask, label):
        output = torch.func.functional_call(model, parameters, (ids[None], mask[None]))
        return torch.nn.functional.cross_entropy(output.logits, label[None])

    parameters = dict(model.named_parameters())
    of_each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0, 0))(parameters, ids, mask, labels)
    losses = torch.func.vmap(loss, (None, 0, 0, 0))(parameters, ids, mask, labels)
    for row in range(4):
        model.zero_grad()
        alone = loss(parameters, ids[row], mask[row], labels[row])
        alone.backward()
        torch.testing.assert_close(losses[row], alone, atol=1e-6, rtol=1e-5)
        for name, parameter in parameters.items():
            torch.testing.assert_close(of_each[name][row], parameter.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", CLASSES)
def test_cuda_equals_cpu(architecture):
    model = tiny(architecture)
    ids, mask = batch((8, 3, 1, 0))
    expected = model(ids, mask)
    output = model.cuda()(ids.cuda(), mask.cuda())
    torch.testing.assert_close(output.logits.cpu(), expected.logits, atol=1e-4, rtol=1e-4)
