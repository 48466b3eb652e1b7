"""Single texts for the page: some numbers of every text, and of some texts where each model's attention lies.

A page of 25,000 texts has to stay small, so weights are rounded to one byte; no statistic is made of them.
"""

import base64
import json
import zlib
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
from tokenizers import decoders

from ..analyses.base import Result
from ..analyses.comparison import binning
from ..analyses.scores import predicted_labels
from ..divergences import LN2
from ..figures.heatmap import words_of
from ..run.layout import Run

CARRIED = 1000
SEED = 17  # of the drawing; the page says it


@dataclass(frozen=True)
class Explorer:
    """What the page carries.

    Args:
        texts: of the test split. carried: of these, those with the weights of every model.
        blob: the columns for `report.js`: the length of the header, the header as JSON, and arrays; deflated, base64.
    """

    texts: int
    carried: int
    seed: int
    blob: str


def explorer(run: Run, adversaries: Result, with_text: bool, room: int) -> Explorer:
    """As many of the texts as there is room for, at most `CARRIED`.

    Args:
        adversaries: of the analysis of that name: how far every model is from the base on each text.
        with_text: the tokens themselves, too; else only their positions.
        room: bytes.
    """
    specs = [spec for role in ("base", "seed", "adversary") for spec in run.specs() if spec.role == role]
    sets = [run.predictions(spec).splits()["test"] for spec in specs]
    distances = {name: group for name, group in adversaries.instances.groupby("model")}
    trained = [
        name for name, group in distances.items() if (group.role == "adversary").all() and not group.failed.any()
    ]
    columns = _of_all(sets[0], [distances[name] for name in trained or distances])
    drawn = draw(columns, SEED)[:CARRIED]
    header = {
        "labels": sets[0].features["label"].names,
        "models": [
            {
                "name": spec.name,
                "role": spec.role,
                "group": "other seeds" if spec.role == "seed" else spec.group,
                "failed": spec.name in distances and bool(distances[spec.name].failed.any()),
            }
            for spec in specs
        ],
        "distances_of": "adversaries" if trained else "other models",
    }
    all_tokens = _tokens(run.data.tokenizer(), run.data.split("test").select(drawn)["input_ids"][:])
    ends = np.cumsum([0, *columns["length"][drawn]])
    carried = len(drawn)
    while True:
        index = drawn[:carried]
        parts = {**columns, "index": index.astype(np.uint32), **_of_carried(sets, specs, distances, index)}
        rows = {"rows": np.array(sets[0]["row"][:])[index].tolist()}
        tokens = all_tokens[: ends[carried]]
        shown = ["token"]
        if tokens.continues.any():
            parts["continues"] = tokens.continues.to_numpy(np.uint8)
            shown.append("word")
        if with_text:
            places, known = pd.factorize(tokens[shown].to_numpy().ravel("F"))
            parts |= dict(zip(shown, np.split(places.astype(np.uint32), len(shown)), strict=True))
            rows["words"] = known.tolist()
        blob = _packed({**header, **rows}, parts)
        if len(blob) <= room or not carried:
            return Explorer(len(sets[0]), carried, SEED, blob)
        carried = min(carried - 1, int(carried * max(room, 0) / len(blob)))


def draw(columns: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """All texts in an order of which any beginning holds as many of each true label, right and wrong, near to the base
    and far (deciles of JSD), as there are: the rare ones come as often as the others. Positions, (N,)."""
    table = pd.DataFrame({name: columns[name] for name in ("label", "jsd")})
    table["right"] = columns["label"] == columns["predicted"]
    shuffled = table.sample(frac=1, random_state=seed)
    shuffled["decile"] = (10 * (shuffled.jsd.rank(method="first") - 1) / len(shuffled)).astype(int)
    turn = shuffled.groupby(["label", "right", "decile"]).cumcount()
    return turn.sort_values(kind="stable").index.to_numpy()


def _of_all(base: datasets.Dataset, distances: list[pd.DataFrame]) -> dict[str, np.ndarray]:
    """What filters look at, of every text: two bytes for labels, four for lengths, else one."""
    lengths = np.fromiter(map(len, base["token_attention"]), np.uint32, len(base))
    return {
        "label": np.array(base["label"][:], np.uint16),
        "predicted": predicted_labels([base])[0].astype(np.uint16),
        "length": lengths,
        "attention": _steps(binning(base).max_attention.fillna(0), 1, np.uint8),
        "jsd": _steps(np.mean([table.jsd for table in distances], axis=0), LN2, np.uint8),
        "tvd": _steps(np.mean([table.tvd for table in distances], axis=0), 1, np.uint8),
    }


def _of_carried(sets, specs, distances, index: np.ndarray) -> dict[str, np.ndarray]:
    """Text by text, model by model: prediction, its probability, TVD and JSD to the base; then the weights."""
    labels = len(sets[0].features["label"].names)
    outputs = np.array([np.array(part.select(index)["probabilities"][:]).reshape(-1, labels) for part in sets])
    # The base is no distance from itself.
    far = {
        name: np.array(
            [np.asarray(distances[s.name][name])[index] if s.name in distances else np.zeros(len(index)) for s in specs]
        )
        for name in ("tvd", "jsd")
    }
    weights = [part.select(index)["token_attention"][:] for part in sets]
    texts = [np.array(weights_of_model[n], np.float32) for n in range(len(index)) for weights_of_model in weights]
    return {
        "answer": outputs.argmax(-1).T.astype(np.uint16),
        "probability": _steps(outputs.max(-1).T, 1, np.uint16),
        "text_tvd": _steps(far["tvd"].T, 1, np.uint16),
        "text_jsd": _steps(far["jsd"].T, LN2, np.uint16),
        # A square root leaves small weights their differences.
        "weight": _steps(np.sqrt(np.concatenate(texts)) if texts else np.zeros(0), 1, np.uint8),
    }


def _tokens(tokenizer, input_ids: list[list[int]]) -> pd.DataFrame:
    """The tokens of the carried texts, a row each: `token`, what it says; `word`, what the word says that it is a piece
    of; `continues`, whether it goes on the word of the token before it. A text that does not come back from its tokens,
    as one with an unknown word, has every token for a word."""
    if isinstance(decoder := tokenizer.backend_tokenizer.decoder, decoders.WordPiece):
        decoder.cleanup = False  # "do n't" would come back as "don't"
    texts = tokenizer.batch_decode(input_ids, skip_special_tokens=True)
    rows = []
    for text, ids, encoding in zip(texts, input_ids, tokenizer(texts, truncation=True).encodings, strict=True):
        of = encoding.word_ids if encoding.ids == ids else [None] * len(ids)
        words = words_of(text, encoding)
        tokens = tokenizer.batch_decode([[token] for token in ids]) if ids else []  # of nothing it makes one text
        for number, (token, word) in enumerate(zip(tokens, of, strict=True)):
            continues = number > 0 and word is not None and word == of[number - 1]
            rows.append((token, words.get(word, token), continues))
    return pd.DataFrame(rows, columns=["token", "word", "continues"])


def _steps(values, largest: float, kind) -> np.ndarray:
    """Numbers from 0 to `largest` as whole numbers of that kind."""
    return np.rint(np.clip(np.asarray(values, float) / largest, 0, 1) * np.iinfo(kind).max).astype(kind)


def _packed(header: dict, columns: dict[str, np.ndarray]) -> str:
    header["columns"] = [[name, column.dtype.name, column.size] for name, column in columns.items()]
    text = json.dumps(header).encode()
    arrays = b"".join(column.astype(column.dtype.newbyteorder("<")).tobytes() for column in columns.values())
    return base64.b64encode(zlib.compress(len(text).to_bytes(4, "little") + text + arrays, 9)).decode()
