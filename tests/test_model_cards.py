"""Model cards: true to the facts, valid, harmless, and what a push writes by default."""

import copy
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.toy import toy_dataset
from helpers.transformers import small_transformer
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from transformers import AutoModelForSequenceClassification

from hf_attn_faith.analyses.base import Result
from hf_attn_faith.data.tokenizer import train_word_tokenizer
from hf_attn_faith.errors import InputError
from hf_attn_faith.figures.heatmap import heatmap, save
from hf_attn_faith.hub.model_cards import (
    SENTENCES,
    WARNING,
    ModelFacts,
    facts_from_config,
    facts_from_run,
    render_card,
    write_card,
)
from hf_attn_faith.models import (
    LstmAttentionConfig,
    LstmAttentionForSequenceClassification,
    MlpAttentionConfig,
    MlpAttentionForSequenceClassification,
)
from hf_attn_faith.run.layout import Run
from hf_attn_faith.specs import ModelSpec
from hf_attn_faith.training.adversarial import AdversarialTrainingArguments, ModelConsistentAdversarialTrainer
from hf_attn_faith.training.classification import (
    ClassificationTrainer,
    ClassificationTrainingArguments,
    new_classifier,
)

BASE = ModelSpec("base")
ADVERSARY = ModelSpec("adversary", 1, 0.02, "warm")
GUIDED = ModelSpec("guided", 1, 0.02, "warm", "adversary")
CARDS = Path(__file__).parent.parent / "model_cards" / "sst"
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1)) ![b](http://evil.example/c.png)",
    "---\ntags: [evil]\n---\n# title",
    "`code` ``` *a* _b_ ~~c~~ **d**",
    "a | b \\| c \\",
    "{{ 7 * 7 }} {% raw %} ${x} $$x$$",
    "]( \"' &lt;b&gt; &#60;",
    "key: value # comment",
    "!!python/object/apply:os.system ['true']",
    "\x00\x1b[31m\u202egnp",
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_word_tokenizer(list(SENTENCES))


def new_model(tokenizer, architecture="lstm", seed=1, **settings):
    config_class, model_class = {
        "lstm": (LstmAttentionConfig, LstmAttentionForSequenceClassification),
        "mlp": (MlpAttentionConfig, MlpAttentionForSequenceClassification),
    }[architecture]
    config = config_class(vocab_size=max(30, len(tokenizer)), embedding_size=8, hidden_size=6, **settings)
    return new_classifier(model_class, config, seed)


def facts(**changes):
    given = ModelFacts(
        name="adversary-0.02-warm-0",
        kind="adversary",
        model_type="lstm_attention",
        attention_type="additive",
        labels=["negative", "positive"],
        dataset="stanfordnlp/sst2",
        dataset_on_hub=True,
        dataset_revision="abc123",
        settings={"kl_weight": 0.02, "start": "warm"},
        metrics={"accuracy": 0.82, "f1": 0.83, "roc_auc": 0.91, "tvd": 0.0724, "jsd": 0.63112},
        repo_id="me/sst-adversary",
        base_repo="me/sst-base",
        base_revision="0123456789abcdef",
        versions={"torch": "2.13.0"},
    )
    return replace(given, **changes)


class Page(HTMLParser):
    """What a browser would make of a card: text, tags, attributes and the targets of links and pictures."""

    def __init__(self, card):
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.attributes, self.targets = "", set(), set(), set()
        # Raw HTML goes through, so whatever a card contains shows here.
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(ModelCard(card).text))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets |= {value for name, value in attrs if name in ("src", "href")}

    def handle_data(self, data):
        self.text += data


# Reference cards


@pytest.mark.parametrize("directory", sorted(path.parent for path in CARDS.glob("*/facts.json")), ids=lambda p: p.name)
def test_reference_cards_are_what_their_facts_give(directory, tmp_path):
    """After a change of the card: python scripts/render_model_cards.py runs/sst model_cards/sst NAMES."""
    known = ModelFacts(**json.loads((directory / "facts.json").read_text()))
    picture = directory / "attention.png"
    assert known.name == directory.name
    assert picture.exists() == (known.attention_type != "imposed")
    assert (directory / "README.md").read_text() == render_card(known, picture.name if picture.exists() else None)
    if picture.exists():
        shown = json.loads((directory / "attention.json").read_text())
        assert [" ".join(text["tokens"]) for text in shown] == list(SENTENCES)
        save([heatmap(**text) for text in shown], tmp_path / "again.png")
        there, again = matplotlib.image.imread(picture), matplotlib.image.imread(tmp_path / "again.png")
        assert there.shape == again.shape and np.abs(there - again).mean() < 0.01


def test_reference_cards_are_of_every_kind():
    kinds = {json.loads(path.read_text())["kind"] for path in CARDS.glob("*/facts.json")}
    assert kinds >= {"base", "uniform", "adversary", "guided"}


# What a card says


def test_metadata_of_an_adversary(hub):
    card = ModelCard(render_card(facts(), "attention.png"))
    card.validate()  # the Hub's own check, as far as the one of the tests has it
    data = card.data
    assert data.tags == ["hf-attn-faith", "adversarial-attention"]
    assert (data.pipeline_tag, data.library_name, data.datasets) == (
        "text-classification",
        "transformers",
        ["stanfordnlp/sst2"],
    )
    results = {result.metric_type: result for result in data.eval_results}
    assert {metric: result.metric_value for metric, result in results.items()} == {
        "accuracy": 0.82,
        "f1": 0.83,
        "roc_auc": 0.91,
        "tvd": 0.0724,
        "jsd": 0.6311,
    }
    for result in results.values():
        assert result.task_type == "text-classification"
        assert (result.dataset_type, result.dataset_revision) == ("stanfordnlp/sst2", "abc123")
        assert result.dataset_split == "test"
    assert results["jsd"].metric_args == {"base_model": "me/sst-base", "base_revision": "0123456789abcdef"}
    assert results["accuracy"].metric_args is None


def test_a_card_says_what_the_model_is_not_for():
    cards = {kind: Page(render_card(facts(kind=kind))).text for kind in ("base", "seed", "uniform", "adversary")}
    cards["guided"] = Page(render_card(facts(kind="guided", attention_type="imposed", guide="base"))).text
    for kind, text in cards.items():
        assert "Not for" in text
        assert (WARNING in text) == (kind == "adversary")
    # At the top: nothing but the title before it.
    assert cards["adversary"].strip().startswith(f"adversary-0.02-warm-0\n\n{WARNING}")
    assert "fails without imposed weights" in cards["guided"]
    assert "here the attention of the base:" in cards["guided"]


def test_links_of_a_card():
    links = {"https://huggingface.co/me/sst-base/tree/0123456789abcdef"}
    links |= {"https://huggingface.co/datasets/stanfordnlp/sst2", "attention.png"}
    assert Page(render_card(facts(), "attention.png")).targets == links
    assert Page(render_card(facts(dataset="sst", dataset_on_hub=False, base_repo=None))).targets == set()


def test_f1_is_of_the_positive_label_or_macro():
    assert "F1 of label positive" in Page(render_card(facts())).text
    assert "F1 of label negative" in Page(render_card(facts(settings={"positive_label": "negative"}))).text
    assert "F1, macro" in Page(render_card(facts(labels=["a", "b", "c"]))).text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_facts_are_shown_and_do_nothing(text):
    hostile = facts(
        name=text,
        labels=[text, "positive"],
        dataset=text,
        dataset_revision=text,
        settings={"positive_label": text, text: [text]},
        guide=text,
        repo_id=text,
        base_repo=text,
        base_revision=text,
        versions={text: text},
        tags=[text],
        language=text,
        license=text,
    )
    for kind, attention_type in (("adversary", "additive"), ("guided", "imposed")):
        card = render_card(replace(hostile, kind=kind, attention_type=attention_type), "attention.png")
        tame = render_card(facts(kind=kind, attention_type=attention_type, guide="g"), "attention.png")
        assert ModelCard(card).data.to_dict().keys() >= {"tags", "model-index", "library_name"}
        assert "evil" not in ModelCard(card).data.tags
        page, expected = Page(card), Page(tame)
        assert page.tags == expected.tags and page.attributes == expected.attributes
        assert all(target.startswith("https://huggingface.co/") for target in page.targets - {"attention.png"})
        # It can be read as it was written, but for what has no shape.
        visible = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        assert page.text.count(visible) >= 3
        # The code to load the model is Python still, with the text in a string.
        code = page.text.split("from transformers")[1].split("trust_remote_code=True is not")[0]
        compile(f"from transformers{code}", "card", "exec")


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_any_name_is_shown_as_it_is(name):
    visible = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    page = Page(render_card(facts(name=name, labels=["a", "b"], settings={})))
    title = page.text.split(WARNING)[0].strip()
    assert title == visible.strip()
    assert page.tags <= {"h1", "h2", "blockquote", "p", "strong", "ul", "li", "a", "code", "pre", "table", "thead"} | {
        "tbody",
        "tr",
        "th",
        "td",
    }


# From a run


def write_contents(run, *local):
    """What the stage `data` notes of the options that named local files."""
    (run / "data").mkdir(exist_ok=True)
    stage = {"settings": {"contents": dict.fromkeys(local, "0f0f")}}
    (run / "data" / "stage.json").write_text(json.dumps(stage))


@pytest.fixture
def run_dir(tokenizer, tmp_path):
    """The files of a finished audit that a card is made from."""
    run = tmp_path / "private" / "run"
    models = {
        BASE: ({"architecture": "lstm", "attention_type": "additive"}, {}),
        ADVERSARY: ({"adversary": {"adversary_epochs": 40, "batch_size": 32}}, {}),
        GUIDED: ({"architecture": "mlp", "attention_type": "imposed"}, {"attention_type": "imposed"}),
    }
    classifier = {"num_train_epochs": 8, "batch_size": 32, "learning_rate": 0.001, "class_weights": "balanced"}
    for spec, (training, config) in models.items():
        place = run / "models" / spec.name
        new_model(tokenizer, "mlp" if spec.role == "guided" else "lstm", **config).save_pretrained(place)
        settings = {"spec": asdict(spec), **({"classifier": classifier} | training)}
        (place / "stage.json").write_text(json.dumps({"settings": settings, "versions": {"torch": "2.13.0"}}))
    (tmp_path / "private" / "reviews").mkdir()
    write_contents(run, "dataset_name", "tokenizer", "word_vectors")
    audit = {
        "dataset_name": str(tmp_path / "private" / "reviews"),
        "dataset_revision": None,
        "tokenizer": str(tmp_path / "private" / "tokenizer"),
        "word_vectors": str(tmp_path / "private" / "vectors.vec"),
        "positive_label": None,
        "max_length": 512,
    }
    (run / "audit.yaml").write_text(yaml.safe_dump(audit))
    names = [spec.name for spec in models]
    scores = pd.DataFrame({"model": names, "accuracy": 0.8, "f1": 0.7, "roc_auc": [0.9, 0.9, np.nan], "n": 9})
    instances = pd.DataFrame({"model": ADVERSARY.name, "tvd": [0.1, 0.3], "jsd": [0.5, 0.7]})
    for name, result in (("classifiers", Result(scores)), ("adversaries", Result(scores, instances))):
        (run / "analyses" / name).mkdir(parents=True)
        result.save(run / "analyses" / name)
        (run / "analyses" / name / "stage.json").write_text("{}")
    return run


def test_facts_of_a_run(run_dir):
    base = facts_from_run(Run(run_dir), BASE)
    assert (base.kind, base.labels, base.dataset, base.dataset_on_hub) == (
        "base",
        ["LABEL_0", "LABEL_1"],
        "reviews",
        False,
    )
    assert base.metrics == {"accuracy": 0.8, "f1": 0.7, "roc_auc": 0.9}
    assert base.settings.items() >= {"embedding_size": 8, "word_vectors": "vectors.vec", "num_train_epochs": 8}.items()
    adversary = facts_from_run(Run(run_dir), ADVERSARY)
    assert adversary.kind == "adversary"
    assert adversary.metrics == pytest.approx({"accuracy": 0.8, "f1": 0.7, "roc_auc": 0.9, "tvd": 0.2, "jsd": 0.6})
    assert adversary.settings.items() >= {"kl_weight": 0.02, "start": "warm", "batch_size": 32, "epochs": 40}.items()
    assert not adversary.settings.keys() & {"num_train_epochs", "class_weights"}
    guided = facts_from_run(Run(run_dir), GUIDED)
    assert (guided.kind, guided.guide) == ("guided", "adversary-0.02-warm-1")
    assert guided.metrics == {"accuracy": 0.8, "f1": 0.7}  # an undefined score is none
    for known in (base, adversary, guided):
        assert "private" not in render_card(known)


def test_a_dataset_on_the_hub_is_linked(run_dir):
    audit = yaml.safe_load((run_dir / "audit.yaml").read_text())
    audit |= {"dataset_name": "stanfordnlp/sst2", "dataset_revision": "abc123", "tokenizer": "google-bert/bert-base"}
    (run_dir / "audit.yaml").write_text(yaml.safe_dump(audit))
    write_contents(run_dir, "word_vectors")
    known = facts_from_run(Run(run_dir), BASE)
    assert (known.dataset, known.dataset_on_hub, known.dataset_revision) == ("stanfordnlp/sst2", True, "abc123")
    assert known.settings["tokenizer"] == "google-bert/bert-base"


@pytest.mark.parametrize("name", ["planted", "../data/sst", "~/sst", "reviews/*.csv", "reviews.csv", ".", "data/sst"])
def test_what_is_not_on_the_hub_is_not_linked(run_dir, name):
    audit = yaml.safe_load((run_dir / "audit.yaml").read_text()) | {"dataset_name": name}
    (run_dir / "audit.yaml").write_text(yaml.safe_dump(audit))
    # Also where it was read from a folder that is elsewhere by now, and is named as a repo might be.
    write_contents(run_dir, *(["dataset_name"] if name != "planted" else []))
    known = facts_from_run(Run(run_dir), BASE)
    assert not known.dataset_on_hub
    assert known.dataset and "/" not in known.dataset


def test_a_run_without_the_model_is_refused(run_dir, tmp_path):
    with pytest.raises(InputError, match=r"has no model basis: take one of adversary-0\.02-warm-1, base, guided"):
        Run(run_dir).spec("basis")
    with pytest.raises(InputError, match="no finished audit"):
        facts_from_run(Run(tmp_path), BASE)


# With a model


def test_card_and_picture_of_a_model(tokenizer, tmp_path):
    base, model = new_model(tokenizer, seed=1), new_model(tokenizer, seed=2)
    heatmaps = write_card(tmp_path, facts(name="new"), model, tokenizer, base)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "attention.png"}
    assert [" ".join(shown.tokens) for shown in heatmaps] == list(SENTENCES)
    for name, of in (("base", base), ("new", model)):
        ids = torch.tensor([tokenizer(SENTENCES[1])["input_ids"]])
        with torch.no_grad():
            expected = of.eval()(ids).token_log_attention.exp()[0]
        np.testing.assert_allclose(heatmaps[1].token_attention[name], expected, atol=1e-6)
    assert "attention.png" in Page((tmp_path / "README.md").read_text()).targets


def test_the_card_says_how_texts_are_treated(tokenizer, tmp_path):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = 5
    tokenizer.init_kwargs["clean_markup"] = True
    heatmaps = write_card(tmp_path, facts(), new_model(tokenizer), tokenizer)
    assert [len(shown.tokens) for shown in heatmaps] == [5] * len(SENTENCES)
    card = (tmp_path / "README.md").read_text()
    assert re.search(r"\| max_length +\| 5 +\|", card) and re.search(r"\| clean_markup +\| True +\|", card)


def test_sentences_of_unknown_words_are_not_shown(tmp_path):
    tokenizer = train_word_tokenizer(["这家店的汤很好吃", "nobody wanted to see the film"])
    [shown] = write_card(tmp_path, facts(), new_model(tokenizer), tokenizer)
    assert shown.tokens[0] == "nobody"
    tokenizer = train_word_tokenizer(["这家店的汤很好吃"])
    (tmp_path / "attention.png").unlink()
    assert write_card(tmp_path, facts(), new_model(tokenizer), tokenizer) == []
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert "attention.png" not in (tmp_path / "README.md").read_text()


def test_imposed_attention_has_no_picture(tokenizer, tmp_path):
    guided = new_model(tokenizer, "mlp", attention_type="imposed")
    known = facts(kind="guided", attention_type="imposed", model_type="mlp_attention", guide="base")
    assert write_card(tmp_path, known, guided, tokenizer) == []
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_the_code_of_a_card_loads_the_model(tokenizer, tmp_path, capsys):
    models = {"base": new_model(tokenizer), "guided": new_model(tokenizer, "mlp", attention_type="imposed")}
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    known = facts(kind="base", repo_id=str(tmp_path / "base"))
    guided = facts(kind="guided", attention_type="imposed", guide="base", base_repo=str(tmp_path / "base"))
    for card in (known, replace(guided, repo_id=str(tmp_path / "guided"))):
        code = render_card(card).split("```python\n")[1].split("```")[0]
        space = {}
        exec(code, space)
        assert space["output"].logits.shape == (1, 2)
    assert "tensor" in capsys.readouterr().out


# By default


def card_on(hub, repo):
    return ModelCard(hub.repos["model", repo].contents()["README.md"].decode())


def test_a_pushed_model_has_a_card(hub, tokenizer, tmp_path):
    model = new_model(tokenizer)
    # Whatever comes first: the tokenizer's push leaves the template of transformers.
    tokenizer.push_to_hub("tester/first")
    assert "[More Information Needed]" in card_on(hub, "tester/first").text
    model.push_to_hub("tester/first")
    model.push_to_hub("tester/last")
    tokenizer.push_to_hub("tester/last")
    model.save_pretrained(tmp_path / "folder", push_to_hub=True, repo_id="tester/saved")
    for repo in ("tester/first", "tester/last", "tester/saved"):
        card = card_on(hub, repo)
        assert "bidirectional LSTM with additive attention" in card.text
        assert "[More Information Needed]" not in card.text
        assert card.data.tags == ["hf-attn-faith"]
        assert f'name = "{repo}"' in card.text

    # A card that somebody wrote stays, but for an adversary that it does not call one.
    ModelCard("---\nlicense: mit\n---\n# Mine\n").push_to_hub("tester/last")
    model.push_to_hub("tester/last")
    assert card_on(hub, "tester/last").text == "# Mine\n"
    model.config.adversarial_attention = True
    model.push_to_hub("tester/last")
    card = card_on(hub, "tester/last")
    assert WARNING in card.text and "adversarial-attention" in card.data.tags
    # And it still is one after it was loaded.
    AutoModelForSequenceClassification.from_pretrained("tester/last").push_to_hub("tester/again")
    assert WARNING in card_on(hub, "tester/again").text
    assert b"hf_write" not in b"".join(hub.repos["model", "tester/again"].contents().values())


def test_a_trainer_pushes_cards_with_metrics_and_pictures(hub, tokenizer, tmp_path):
    data = toy_dataset(), toy_dataset(20, seed=1)
    settings = {"num_train_epochs": 2, "push_to_hub": True, "disable_tqdm": True, "use_cpu": True}
    arguments = ClassificationTrainingArguments(
        str(tmp_path / "base"), hub_model_id="tester/base", hub_strategy="every_save", hub_always_push=True, **settings
    )
    trainer = ClassificationTrainer(new_model(tokenizer), arguments, *data, processing_class=tokenizer)
    trainer.train()
    repo = hub.repos["model", "tester/base"]
    in_training = next(commit for commit in repo.commits if commit.title.startswith("Training in progress"))
    assert b"bidirectional LSTM" in in_training.files["README.md"].data
    trainer.push_to_hub(language="en", license="mit", tags="toy", dataset="toys")
    card = card_on(hub, "tester/base")
    assert (card.data.language, card.data.license, card.data.tags) == ("en", "mit", ["hf-attn-faith", "toy"])
    best = min((log for log in trainer.state.log_history if "eval_loss" in log), key=lambda log: log["eval_loss"])
    results = {result.metric_type: result for result in card.data.eval_results}
    assert set(results) == {"accuracy", "f1"}
    assert results["f1"].metric_value == pytest.approx(best["eval_f1"], abs=1e-4)
    assert (results["f1"].dataset_name, results["f1"].dataset_split) == ("toys", "validation")
    assert "attention.png" in repo.contents()

    base = AutoModelForSequenceClassification.from_pretrained("tester/base")
    arguments = AdversarialTrainingArguments(str(tmp_path / "it"), hub_model_id="tester/it", kl_weight=0.1, **settings)
    trainer = ModelConsistentAdversarialTrainer(
        new_model(tokenizer, seed=2), base, arguments, *data, processing_class=tokenizer
    )
    trainer.train()
    trainer.push_to_hub()
    card = card_on(hub, "tester/it")
    assert WARNING in card.text and "adversarial-attention" in card.data.tags
    assert "(https://huggingface.co/tester/base)" in card.text
    assert "JSD of the attention to the base" in card.text and "kl_weight" in card.text


def test_an_adversary_pushed_without_the_package_keeps_its_tag(hub, run_python, tokenizer):
    new_model(tokenizer, adversarial_attention=True).push_to_hub("tester/adversary")
    run_python(
        """
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained("tester/adversary", trust_remote_code=True)
        model.push_to_hub("tester/copy")
        """
    )
    assert "adversarial-attention" in card_on(hub, "tester/copy").data.tags


@pytest.mark.parametrize("role", ["base", "uniform", "adversary"])
def test_the_card_of_a_transformer(role):
    config = small_transformer("bert").config
    config.uniform_readout, config.adversarial_attention = role == "uniform", role == "adversary"
    card = render_card(facts_from_config(config, "reviews", repo_id="me/reviews"))
    text = card.split("---", 2)[2]
    assert "A transformer (bert)" in text
    assert "trust_remote_code" not in text
    assert "Readout(model, tokenizer)" in text
    assert (WARNING in text.strip().splitlines()[2]) == (role == "adversary")
    assert ("adversarial-attention" in card) == (role == "adversary")
    assert ("never trained" in text) == (role == "uniform")
