"""A finished run made up, without any model."""

import json
from dataclasses import asdict, replace

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hf_attn_faith.analyses.adversaries import Adversaries
from hf_attn_faith.analyses.base import Evidence, Result
from hf_attn_faith.analyses.calibration import Calibration
from hf_attn_faith.analyses.classifiers import Classifiers
from hf_attn_faith.analyses.uniform_baseline import UniformBaseline
from hf_attn_faith.analyses.verdicts import Verdicts
from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.run.layout import RECORD, Run
from hf_attn_faith.specs import ModelSpec

BASE = ModelSpec("base")
SPECS = [
    BASE,
    *(ModelSpec(role, seed) for role in ("seed", "uniform") for seed in (1, 2)),
    *(ModelSpec("adversary", seed, 0.01, "warm") for seed in (0, 1)),
]
SPECS += [ModelSpec("guided", seed, guide=guide) for guide in ("base", "permuted") for seed in (0, 1)]
SPECS += [replace(spec, role="guided", guide="adversary") for spec in SPECS if spec.role == "adversary"]


def prediction_set(probabilities, labels, names, lengths, rng) -> datasets.Dataset:
    """With the attention drawn at random; of arrays, since it may be large."""
    weights = rng.exponential(size=lengths.sum()) ** 3
    ends = np.cumsum(lengths)
    weights /= np.repeat(np.add.reduceat(weights, ends - lengths), lengths)

    def lists(values, sizes):
        return pa.ListArray.from_arrays(
            pa.array(np.append(0, np.cumsum(sizes)), pa.int32()), pa.array(values, pa.float32())
        )

    table = {
        "row": pa.array(np.arange(len(labels))),
        "label": pa.array(labels),
        "probabilities": lists(probabilities.ravel(), np.full(len(labels), len(names))),
        "token_attention": lists(weights, lengths),
    }
    floats = datasets.List(datasets.Value("float32"))
    features = {"row": datasets.Value("int64"), "label": datasets.ClassLabel(names=names),
                "probabilities": floats, "token_attention": floats}  # fmt: skip
    return datasets.Dataset(pa.table(table), info=datasets.DatasetInfo(features=datasets.Features(features)))


def made_up_run(path, words, names=("bad", "good"), texts=60, lengths=None, dataset_name="planted", specs=SPECS) -> Run:
    """A run whose models answer alike and attend at random.

    Args:
        words: of which the texts are made, one after the other; `##ing` is a piece that goes on the word before it.
        lengths: of the texts in tokens, 5 if not given.
    """
    rng = np.random.default_rng(0)
    run, names = Run(path), list(names)
    lengths = np.full(texts, 5) if lengths is None else np.asarray(lengths)
    labels = np.arange(texts) % len(names)
    logits = 2.0 * np.eye(len(names))[labels] + rng.normal(size=(texts, len(names)))

    def record(directory, **facts):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / RECORD).write_text(json.dumps(facts))

    record(path / "data", settings={"contents": {}}, sha256={"test/data.arrow": "ab" * 32})
    settings = asdict(AuditArguments(dataset_name="planted", output_dir=str(path)))
    run.settings_path.write_text(yaml.safe_dump(settings | {"dataset_name": dataset_name}))
    margins = {name: settings[name] for name in ("margin_f1", "margin_tvd", "margin_jsd")}
    run.protocol_path.write_text(yaml.safe_dump({"margins": margins}))
    vocabulary = {word: number for number, word in enumerate(["[UNK]", "[PAD]", *words])}
    if any(word.startswith("##") for word in words):
        core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        core.pre_tokenizer, core.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    else:
        core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]")
    tokenizer.save_pretrained(path / "data" / "tokenizer")
    flat = 2 + np.arange(lengths.sum()) % len(words)
    ids = pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(lengths)), pa.int32()), pa.array(flat, pa.int32()))
    datasets.Dataset(pa.table({"input_ids": ids})).save_to_disk(path / "data" / "test")

    predictions = {}
    for spec in specs:
        record(
            path / "models" / spec.name,
            settings={"spec": asdict(spec)},
            versions={"hf_attn_faith": "0.2.0", "torch": "2"},
            sha256={"model.safetensors": "cd" * 32},
        )
        history = {"log_history": [{"epoch": 1.0, "eval_loss": 0.5, "step": 1}], "kept_step": 1}
        (path / "models" / spec.name / "metrics.json").write_text(json.dumps(history))
        output = np.exp(logits + (spec != BASE) * 0.1 * rng.normal(size=logits.shape))
        made = prediction_set(output / output.sum(1, keepdims=True), labels, names, lengths, rng)
        made.save_to_disk(path / "predictions" / spec.name / "test")
        predictions[spec] = {"validation": made, "test": made}

    def analysed(analysis, result):
        directory = path / "analyses" / analysis.name
        record(directory)
        result.save(directory)

    if texts > 1000:  # what an analysis would find is not what such a run is for
        drawn = [
            pd.DataFrame({"row": np.arange(texts), "tvd": rng.random(texts), "jsd": 0.6 * rng.random(texts),
                          "model": spec.name, "failed": False, "max_attention": 0.1, "max_attention_bin": "0-0.25",
                          "predicted_label": "x", **spec.columns})
            for spec in specs if spec != BASE
        ]  # fmt: skip
        rows = [
            {
                "kl_weight": 0.01,
                "start": "warm",
                "tvd_mean": 0.1,
                "tvd_std": 0.0,
                "jsd_mean": 0.5,
                "jsd_std": 0.0,
                "trained": 1,
            }
        ]
        instances = pd.concat(drawn).astype({"max_attention_bin": "category"})
        analysed(Adversaries(), Result(pd.DataFrame(rows), instances))
        return run
    for analysis in (Verdicts(), Classifiers(), UniformBaseline(), Adversaries(), Calibration()):
        analysed(analysis, analysis.run(Evidence(predictions), 0))
    return run
