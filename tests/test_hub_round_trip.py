"""Checkpoints that load anywhere: from a folder and over HTTP, where the package is missing and where it is not."""

import inspect
import json
import os
import shutil
from collections.abc import Iterable

import pytest
import torch
from helpers.toy import classification_arguments, toy_dataset
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments, pipeline

from hf_attn_faith import models
from hf_attn_faith.data.collation import AttentionCollator
from hf_attn_faith.data.tokenizer import train_word_tokenizer
from hf_attn_faith.models import (
    LstmAttentionConfig,
    LstmAttentionForSequenceClassification,
    MlpAttentionConfig,
    MlpAttentionForSequenceClassification,
)
from hf_attn_faith.training.classification import CarryCodeCallback, ClassificationTrainer, new_classifier

ARCHITECTURES = {
    "lstm": (LstmAttentionConfig, LstmAttentionForSequenceClassification),
    "mlp": (MlpAttentionConfig, MlpAttentionForSequenceClassification),
}
CODE = {"configuration_attention_classifier.py", "modeling_attention_classifier.py"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json"}
TEXTS = ["The soup wasn't good .", "", "good", "<pad> unheard-of words", "all in all , a good film with a bad end"]
TOKENS = [[5, 3, 7, 2], [2, 9, 0, 0]]


def outputs(name, texts, **options):
    """What a checkpoint, a folder or a repo on the Hub, says of texts, as numbers that JSON keeps exactly."""
    # Also sent to other processes, as source.
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(name, **options)
    model = AutoModelForSequenceClassification.from_pretrained(name, **options)
    results = {}
    for number, batch in enumerate([texts, *([text] for text in texts)]):
        encoded = tokenizer(batch, padding=True, return_tensors="pt")
        with torch.no_grad():
            output = model(**encoded, output_attentions=True)
        results[f"batch {number}"] = [encoded["input_ids"].tolist(), output.logits.tolist()]
        results[f"batch {number}"] += [output.attentions[0].tolist(), output.token_log_attention.tolist()]
    classify = pipeline("text-classification", name, **options)
    results["pipeline"] = [classify(texts, top_k=None), classify(texts, batch_size=3), classify(texts[0])]
    return results


def assert_alike(a, b):
    """Equal but for the last places of numbers: weights that lie at other addresses may take other kernels."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        a, b = a.values(), b.values()
    if isinstance(a, float):
        assert a == pytest.approx(b, abs=1e-6)
    elif isinstance(a, str) or not isinstance(a, Iterable):
        assert a == b
    else:
        for x, y in zip(a, b, strict=True):
            assert_alike(x, y)


def elsewhere(run_python, *checkpoints):
    """The `outputs` of checkpoints, each a name and options, in a process that cannot import the package."""
    printed = run_python(
        "import json\n\n"
        + inspect.getsource(outputs)
        + f"\nfor name, options in {[(str(name), options) for name, options in checkpoints]!r}:"
        + f"\n    print(json.dumps(outputs(name, {TEXTS!r}, trust_remote_code=True, **options)))"
        + "\ntry:\n    import hf_attn_faith\nexcept ModuleNotFoundError:\n    print('missing')"
    )
    *results, missing = printed.splitlines()
    assert missing == "missing"
    return [json.loads(result) for result in results]


@pytest.fixture(scope="module")
def tokenizer():
    return train_word_tokenizer(["the soup was n't good .", "all in all , a bad film with a good end"])


def new_model(architecture, tokenizer, **settings):
    config_class, model_class = ARCHITECTURES[architecture]
    config = config_class(
        vocab_size=max(30, len(tokenizer)),
        embedding_size=10,
        hidden_size=8,
        id2label={0: "no", 1: "yes"},
        label2id={"no": 0, "yes": 1},
        **settings,
    )
    return new_classifier(model_class, config, seed=3)


def test_checkpoints_load_anywhere(hub, run_python, tokenizer, tmp_path):
    """From a folder, and from the Hub out of regular and of large file storage; each architecture."""
    places, expected = [], []
    for architecture in ARCHITECTURES:
        model = new_model(architecture, tokenizer, attention_type="additive" if architecture == "lstm" else "dot")
        folder = tmp_path / architecture
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        # Nothing pickled, nothing else.
        assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"} | TOKENIZER | CODE
        places.append(folder)
        for storage in ("regular", "lfs"):
            hub.storage = lambda path, size, storage=storage: storage if path.endswith(".safetensors") else "regular"
            repo = f"tester/{architecture}-{storage}"
            model.push_to_hub(repo)
            tokenizer.push_to_hub(repo)
            files = hub.repos["model", repo].find("main").files
            assert set(files) >= {"config.json", "model.safetensors"} | TOKENIZER | CODE
            assert files["model.safetensors"].lfs == (storage == "lfs")
            places.append(repo)
        expected += [outputs(folder, TEXTS)] * 3
        never_saved = pipeline("text-classification", model=model, tokenizer=tokenizer)
        assert_alike(never_saved(TEXTS, top_k=None), expected[-1]["pipeline"][0])
        assert {score["label"] for score in never_saved(TEXTS[0], top_k=None)} == {"no", "yes"}

    # The package is imported here: no remote code, no question asked.
    for place, numbers in zip(places, expected, strict=True):
        assert_alike(outputs(place, TEXTS), numbers)
        assert type(AutoModelForSequenceClassification.from_pretrained(place)).__module__.startswith(models.__name__)
    assert_alike(elsewhere(run_python, *((place, {}) for place in places)), expected)


def test_a_push_in_mid_training_already_loads(hub, run_python, tokenizer, tmp_path):
    # One push, while `train` runs; a second one would change the files under the first one's hands.
    settings = {"num_train_epochs": 1, "push_to_hub": True, "hub_strategy": "every_save"}
    data = toy_dataset(), toy_dataset(20, seed=1)
    token = os.environ["HF_TOKEN"]
    own = classification_arguments(tmp_path / "own", hub_model_id="tester/own", hub_token=token, **settings)
    plain = TrainingArguments(
        str(tmp_path / "plain"),
        hub_model_id="tester/plain",
        save_strategy="epoch",
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=True,
        **settings,
    )
    trainers = {
        "tester/own": ClassificationTrainer(new_model("lstm", tokenizer), own, *data, processing_class=tokenizer),
        "tester/plain": Trainer(
            new_model("mlp", tokenizer),
            plain,
            AttentionCollator(0),
            *data,
            processing_class=tokenizer,
            callbacks=[CarryCodeCallback()],
        ),
    }
    checkpoints = []
    for repo, trainer in trainers.items():
        trainer.train()
        _, pushed = hub.repos["model", repo].commits
        assert pushed.title == "Training in progress, epoch 1"
        assert set(pushed.files) >= {"config.json", "model.safetensors"} | TOKENIZER | CODE
        # As `train_and_save` leaves it.
        shutil.rmtree(trainer.args.output_dir)
        with torch.no_grad():
            trainer.model.classifier.bias += 1
        trainer.push_to_hub()
        assert set(hub.repos["model", repo].contents()) >= {"config.json", "model.safetensors"} | TOKENIZER | CODE
        checkpoints += [(repo, {"revision": pushed.oid}), (repo, {})]
    for commit in hub.repos["model", "tester/own"].commits:
        assert not [path for path, file in commit.files.items() if token.encode() in file.data]
    results = elsewhere(run_python, *checkpoints)
    assert_alike(results, [outputs(repo, TEXTS, **options) for repo, options in checkpoints])
    assert results[0]["batch 0"] != results[1]["batch 0"]


def test_a_base_loaded_as_remote_code_can_be_attacked(hub, run_python, tokenizer, tmp_path):
    """Its classes are others than the package's. The adversary has them too, and carries their code."""
    base = new_model("lstm", tokenizer)
    base.push_to_hub("tester/base")
    toy_dataset(40).save_to_disk(tmp_path / "data")
    printed = run_python(
        f"""
        import json
        import datasets
        import torch
        from transformers import AutoModelForSequenceClassification

        base = AutoModelForSequenceClassification.from_pretrained("tester/base", trust_remote_code=True)
        assert type(base).__module__.startswith("transformers_modules")

        from hf_attn_faith.training.adversarial import (
            AdversarialTrainingArguments, ModelConsistentAdversarialTrainer, new_adversary
        )
        data = datasets.load_from_disk({str(tmp_path / "data")!r})
        for start in ("other-seed", "warm"):
            arguments = AdversarialTrainingArguments(
                start, num_train_epochs=1, kl_weight=0.1, push_to_hub=True, hub_model_id=f"tester/{{start}}",
                hub_strategy="every_save", disable_tqdm=True, use_cpu=True,
            )
            adversary = new_adversary(base, start, seed=7)
            trainer = ModelConsistentAdversarialTrainer(adversary, base, arguments, data, data)
            trainer.train()
            adversary.push_to_hub(f"tester/{{start}}")
            adversary.save_pretrained({str(tmp_path)!r} + "/" + start)
            tokens = torch.tensor({TOKENS})
            print("LOGITS", json.dumps(adversary.eval()(tokens).logits.tolist()))

        # From here on the package's own classes serve the Auto classes, for the same numbers.
        again = AutoModelForSequenceClassification.from_pretrained("tester/warm")
        assert type(again).__module__.startswith("hf_attn_faith")
        torch.testing.assert_close(again(tokens).logits, adversary(tokens).logits, atol=1e-6, rtol=0)
        """,
        without_package=False,
    )
    checkpoints = []
    for start in ("other-seed", "warm"):
        repo = hub.repos["model", f"tester/{start}"]
        tokenizer.save_pretrained(tmp_path / start)
        tokenizer.push_to_hub(repo.id)
        first = next(commit for commit in repo.commits if commit.title.startswith("Training in progress"))
        for files in (first.files, repo.contents(), {path.name for path in (tmp_path / start).iterdir()}):
            assert set(files) >= {"config.json", "model.safetensors"} | CODE
        config = json.loads(repo.contents()["config.json"])
        assert {reference.split(".")[0] + ".py" for reference in config["auto_map"].values()} == CODE
        checkpoints += [(repo.id, {}), (tmp_path / start, {})]
    # The base is not needed any more.
    del hub.repos["model", "tester/base"]
    results = elsewhere(run_python, *checkpoints)
    assert_alike(results, [outputs(name, TEXTS) for name, _ in checkpoints])
    logits = [json.loads(line.removeprefix("LOGITS")) for line in printed.splitlines() if line.startswith("LOGITS")]
    for numbers, (name, _) in zip(logits, checkpoints[::2], strict=True):
        model = AutoModelForSequenceClassification.from_pretrained(name)
        assert_alike(model(torch.tensor(TOKENS)).logits.tolist(), numbers)
