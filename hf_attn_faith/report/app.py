"""A live look at single texts: base, seeds, uniform models and adversaries side by side."""

import html
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
from huggingface_hub import snapshot_download

from ..data.markup import remove_markup
from ..data.tokenizer import text_settings
from ..divergences import jsd, tvd
from ..errors import InputError, shortened
from ..figures.heatmap import by_word, heatmap, printable
from ..prediction import predict
from ..run.layout import Run, SavedModel
from ..specs import ModelSpec

NOTE = "One text is an illustration; the verdict is the audit's."
ROLES = ("base", "seed", "uniform", "adversary")
DISTANCES = ("TVD of the output", "JSD of the attention in nats")
LONGEST = 10_000  # characters
TO_PICK = 8  # texts


@dataclass(frozen=True)
class Models:
    """What the app shows, the base first, and the tokenizer that all share."""

    models: Mapping[ModelSpec, object]
    tokenizer: object


def models_of(run: Run) -> Models:
    """The base of a run, its seeds, uniform models and adversaries.

    Raises:
        InputError: there is no base yet.
    """
    specs = _shown(run.specs())
    if not specs or specs[0].role != "base":
        raise InputError(f"{run.path} has no base yet: run the audit to its end.")
    return _loaded([run.model(spec) for spec in specs])


def app_of_published(manifest: Path):
    """The app of a Space, not yet launched: of the models that were published with it, at these commits.

    Args:
        manifest: JSON, `title` and `models`: `repo`, `commit` and `spec` (the fields of a `ModelSpec`) each.
    """
    told = json.loads(manifest.read_text(encoding="utf-8"))
    places = {ModelSpec(**model["spec"]): (model["repo"], model["commit"]) for model in told["models"]}
    saved = [SavedModel(Path(snapshot_download(places[s][0], revision=places[s][1])), s) for s in _shown(places)]
    return build_app(_loaded(saved), [], told["title"])


def _shown(specs: Iterable[ModelSpec]) -> list[ModelSpec]:
    return sorted((spec for spec in specs if spec.role in ROLES), key=lambda spec: ROLES.index(spec.role))


def _loaded(saved: list[SavedModel]) -> Models:
    return Models({model.spec: model.load() for model in saved}, saved[0].tokenizer())


def texts_to_pick(run: Run, tokenizer) -> list[str]:
    """Texts of the test split as the models read them, drawn by the run's seed."""
    test = run.data.split("test")
    rows = random.Random(run.settings["seed"]).sample(range(len(test)), min(TO_PICK, len(test)))
    return list(dict.fromkeys(tokenizer.batch_decode(test.select(rows)["input_ids"][:], skip_special_tokens=True)))


def compared(text: str, shown: Models) -> str:
    """What every model says of a text, as HTML: probabilities, attention, distances to the base beside the range of the
    seeds'. The text is shown as it is, whatever it contains.

    Raises:
        InputError: a text that is empty or too long.
    """
    if len(text) > LONGEST:
        raise InputError(f"The text has {len(text):,} characters: give at most {LONGEST:,}.")
    if text_settings(shown.tokenizer).get("clean_markup"):
        text = remove_markup(text)
    encoded = shown.tokenizer([text], truncation=True)
    if not any(word is not None for word in encoded[0].word_ids):
        raise InputError("There is no word in the text: type one.")
    dataset = datasets.Dataset.from_dict({"input_ids": encoded["input_ids"]})
    found = {spec: predict(model, dataset, progress=False)[0] for spec, model in shown.models.items()}
    base_spec, base_model = next(iter(shown.models.items()))
    distances = {spec: _distances(row, found[base_spec]) for spec, row in found.items()}
    seeds = [[pair[n] for spec, pair in distances.items() if spec.role == "seed"] for n in range(len(DISTANCES))]
    parts = [f"The text is cut to {len(encoded[0])} tokens."] * bool(encoded[0].overflowing)
    for spec, row in found.items():
        tokens, weights = by_word(text, encoded[0], {spec.name: row["token_attention"]})
        said = [_probabilities(row["probabilities"], base_model.config.id2label)]
        if spec != base_spec:
            said += [
                f"{name} {value:.3f}{_beside(value, of_seeds, spec)}"
                for name, value, of_seeds in zip(DISTANCES, distances[spec], seeds, strict=True)
            ]
        largest = sorted(zip(weights[spec.name], tokens, strict=True), reverse=True)[:5]
        said.append("most weight: " + ", ".join(f"{token} {weight:.2f}" for weight, token in largest))
        if spec.role == "adversary":
            said.append("trained to attend elsewhere: no explanation")
        name, told = (html.escape(printable(part)) for part in (spec.name, "; ".join(said)))
        # A scale for each: an adversary's 1.00 would pale the base.
        parts.append(f"<b>{name}</b> {told}{heatmap(tokens, weights[spec.name])._repr_html_()}")
    return "".join(f'<div style="margin:0 0 1em">{part}</div>' for part in parts)


def _distances(row: dict, base: dict) -> tuple[float, float]:
    """TVD of the outputs and JSD of the attentions (nats)."""
    names = ("probabilities", "token_attention")
    pairs = [(torch.tensor(row[name]), torch.tensor(base[name])) for name in names]
    return float(tvd(*pairs[0])), float(jsd(*pairs[1]))


def _probabilities(values: list[float], labels: Mapping[int, str]) -> str:
    """The three largest, with their labels."""
    order = sorted(range(len(values)), key=lambda number: -values[number])[:3]
    return ", ".join(f"p({shortened(labels[number], 40)}) {values[number]:.2f}" for number in order)


def _beside(value: float, seeds: Sequence[float], spec: ModelSpec) -> str:
    if not seeds or spec.role == "seed":
        return ""
    low, high = min(seeds), max(seeds)
    where = "within" if low <= value <= high else "beyond" if value > high else "below"
    return f" ({where} the seeds' {low:.3f} to {high:.3f})"


def build_app(shown: Models, texts: list[str], title: str):
    """The app, not yet launched.

    Args:
        texts: to pick from, if there are any.
        title: of the page.
    """
    import gradio as gr

    def answer(text: str) -> str:
        try:
            return compared(text, shown)
        except InputError as error:
            return f"<p>{html.escape(str(error))}</p>"

    with gr.Blocks(title=title, analytics_enabled=False) as app:
        gr.HTML(value=f"<h2>{html.escape(title)}</h2><p><b>{NOTE}</b></p>")
        typed = gr.Textbox(label="text", lines=3, max_length=LONGEST, submit_btn="Compare")
        choices = [(shortened(text, 90), text) for text in texts]
        picked = gr.Radio(choices, label="or one of these", type="index", visible=bool(texts))
        page = gr.HTML(value="")
        typed.submit(answer, typed, page, api_name="compare")
        picked.change(lambda number: texts[number], picked, typed, api_visibility="private").then(
            answer, typed, page, api_visibility="private"
        )
    return app.queue(max_size=20, default_concurrency_limit=1)


def launch(app, port: int | None = None, block: bool = True) -> str:
    """On this machine alone, and nothing leaves it. Returns the address."""
    _, address, _ = app.launch(
        server_name="127.0.0.1", server_port=port, share=False, ssr_mode=False, quiet=True, footer_links=[],
        prevent_thread_lock=not block,
    )  # fmt: skip
    return address
