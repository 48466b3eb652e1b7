"""A run as one file to send around: no network, no text of the data unless asked for, readable without JavaScript."""

import base64
import hashlib
import re
import shlex
import warnings
from dataclasses import MISSING, fields
from pathlib import Path

import jinja2
import matplotlib
import pandas as pd
import yaml
from markupsafe import Markup, escape

from ..analyses import power
from ..analyses.verdicts import NEED, PLAIN, SHAPES, UNIQUE, Margins, Verdicts, in_short
from ..arguments import AuditArguments
from ..data.report import overlap_warnings, report_table
from ..errors import InputError
from ..figures.style import STYLE
from ..run.layout import Run
from . import MEGABYTES
from .build import CURVES, Section, applicable
from .explorer import explorer
from .inline_svg import inline_svg
from .tables import rounded
from .terminal import notes
from .training_curves import training_curves

HERE = Path(__file__).parent
FEW_SEEDS = 5


def write(run: Run, sections: list[Section], with_text: bool = False, megabytes: float = MEGABYTES) -> Path:
    """Writes `report.html`.

    Args:
        with_text: the words of the texts that it shows, too.
        megabytes: how large it may be; as many texts are carried as that leaves room for.

    Raises:
        InputError: there is no room for tables and figures alone.
    """
    results = applicable(sections)
    page = _page(run, sections, with_text)
    texts = None
    room = int(megabytes * 1e6) - len(page(None).encode())
    if "adversaries" in results:
        texts = explorer(run, results["adversaries"], with_text, room - 1000)
    text = page(texts)
    if (size := len(text.encode()) / 1e6) > megabytes:
        raise InputError(
            f"`report_megabytes` {megabytes:g} has no room for tables and figures: give {size + 0.1:.1f} or more."
        )
    run.report.write_text(text, encoding="utf-8")
    return run.report


def _page(run: Run, sections: list[Section], with_text: bool):
    """The page as a function of the texts that it carries."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"prose": _prose, "table": _table}
    script = (HERE / "report.js").read_text(encoding="utf-8")
    settings = run.told_settings
    report = run.data.report()
    verdicts = [section.result.table for section in sections if section.analysis.name == Verdicts.name]
    classifiers = [section.result.table for section in sections if section.analysis.name == "classifiers"]
    specs = run.specs()
    first = run.record("models/base") or {}
    facts = {
        "run": settings["dataset_name"],
        "style": Markup((HERE / "report.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "verdicts": _verdicts(verdicts[0]) if verdicts else [],
        "headline": _headline(verdicts[0]) if verdicts else None,
        "texts": int(classifiers[0].n.iloc[0]) if classifiers else None,
        "audited": _audited(run, settings),
        "labels": run.predictions(specs[0]).splits()["test"].features["label"].names if specs else [],
        "banners": [line for line in notes(run) if line] + _banners(run, sections, specs),
        "power": _power(run, specs, classifiers),
        "splits": report_table(report) if report is not None else None,
        "left_out": report["left_out"] if report is not None else [],
        "overlaps": overlap_warnings(report) if report is not None else [],
        "models": _counted(specs),
        "settings": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
        "command": command(settings),
        "versions": first.get("versions", {}),
        "weights": _weights(run, specs),
        "data_files": (run.record("data") or {}).get("sha256", {}),
        "sections": [
            {"analysis": section.analysis, "section": section, "figures": figures}
            for section, figures in zip(sections, _figures(run, sections), strict=True)
            if section.analysis.name != Verdicts.name
        ],
        "curves": _curves(run),
        "kept_by": "F1" if run.of_transformer else settings["keep_best_by"],
        "with_text": with_text,
    }
    template = environment.get_template("report.html.jinja")
    return lambda texts: template.render(facts, explorer=texts)


def command(settings: dict) -> str:
    """The command that makes the run: what is not as by default."""
    parts = ["hf-attn-faith", "audit"]
    for field in fields(AuditArguments):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        value = settings.get(field.name, default)
        if value != default:
            values = value if isinstance(value, list) else [value]
            parts += [f"--{field.name}", *(shlex.quote(str(value)) for value in values)]
    return " ".join(parts)


def _figures(run: Run, sections: list[Section]) -> list[list[Markup]]:
    with matplotlib.rc_context(STYLE | {"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        return [
            [
                inline_svg(figure, name, f"{section.analysis.title}, a figure; its numbers are in the table")
                for name, figure in section.figures.items()
            ]
            for section in sections
        ]


def _curves(run: Run) -> Markup | None:
    with matplotlib.rc_context(STYLE | {"svg.fonttype": "none"}):
        figure = training_curves(run)
        return None if figure is None else inline_svg(figure, CURVES, "Validation objective over epochs")


def _verdicts(table: pd.DataFrame) -> list[dict]:
    """Each with its interval as a line from 0 to 100 on which 0, the margin, and the estimate have their places."""
    found = []
    for row in table.itertuples():
        verdict = row._asdict() | {"shape": SHAPES[row.state], "plain": PLAIN[row.reading].get(row.state), "places": {}}
        if pd.notna(row.low):
            # The second reading's margin is one of TVD and has no place on an axis of JSD.
            marks = {"zero": 0.0} | ({} if row.reading == UNIQUE else {"margin": row.margin})
            low, high = min(row.low, *marks.values(), 0), max(row.high, *marks.values(), 0)
            room = 0.08 * (high - low)
            marks |= {"low": row.low, "high": row.high, "estimate": row.estimate}
            verdict["places"] = {
                name: round(100 * (value - low + room) / (high - low + 2 * room), 2) for name, value in marks.items()
            }
        found.append(verdict)
    return found


def _headline(verdicts: pd.DataFrame) -> str:
    if (verdicts.state == "not tested").all():
        return f"This cannot be said: none of the {len(verdicts)} readings could be tested."
    return in_short(verdicts)


def _banners(run: Run, sections: list[Section], specs) -> list[str]:
    """What weakens everything below it."""
    tables = {name: result.table for name, result in applicable(sections).items()}
    said = []
    if "verdicts" not in tables:
        said.append("The audit is not finished: there is no verdict yet.")
    else:
        need = tables["verdicts"].set_index("reading").state.get(NEED)
        if need == "ruled out":
            said.append(
                "Weak testbed: uniform weights do as well as trained attention, so that little of what follows is "
                "evidence on attention."
            )
        elif need == "undecided":
            said.append(
                "Possibly a weak testbed: it is undecided whether trained attention does better than uniform weights."
            )
    seeds = sum(spec.role in ("base", "seed") for spec in specs)
    if seeds < FEW_SEEDS:
        said.append(
            f"Few seeds: with {seeds} (base and seeds) the natural spread of attention is poorly known; with "
            f"{FEW_SEEDS} or more, intervals are narrower and safer."
        )
    if "instance_attack" in tables and (tables["instance_attack"].method == "gradient").any():
        said.append("Lower bound only: attacks on single texts were searched for; a better search may find more.")
    return said


def _audited(run: Run, settings: dict) -> str:
    """What the base is."""
    if run.of_transformer:
        given = f"{settings['model']}, as it was given"
        return given if settings["model"] else f"{settings['base_model']}, fine-tuned"
    return (
        f"a bidirectional LSTM with {settings['attention_type']} attention (embeddings of "
        f"{settings['embedding_size']}, {settings['hidden_size']} units a direction)"
    )


def _power(run: Run, specs, classifiers: list[pd.DataFrame]) -> str | None:
    groups = {spec.group: 0 for spec in specs if spec.role == "adversary"}
    if not groups or not classifiers:
        return None
    seeds = sum(spec.role in ("base", "seed") for spec in specs)
    each = max(sum(spec.group == group and spec.role == "adversary" for spec in specs) for group in groups)
    margins = Margins(*(run.settings[f"margin_{name}"] for name in ("f1", "tvd", "jsd")))
    return power.told(seeds, each, len(groups), int(classifiers[0].n.iloc[0]), margins)


def _counted(specs) -> pd.DataFrame:
    groups = pd.DataFrame([{"group": spec.group, "role": spec.role} for spec in specs], columns=["group", "role"])
    return groups.groupby(["role", "group"], sort=False).size().reset_index(name="models")


def _weights(run: Run, specs) -> pd.DataFrame:
    rows = [
        {"model": spec.name, "file": file, "SHA-256": digest}
        for spec in specs
        for file, digest in (run.record(f"models/{spec.name}") or {})["sha256"].items()
        if file.endswith(".safetensors")
    ]
    return pd.DataFrame(rows, columns=["model", "file", "SHA-256"])


def _table(table: pd.DataFrame) -> dict:
    """Heads, which columns hold numbers, and cells as people read them."""
    return {
        "heads": list(table.columns),
        "numeric": [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes],
        "rows": rounded(table).to_numpy().tolist(),
    }


def _prose(text: str) -> Markup:
    """The Markdown of captions: *emphasis* and `code`."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text))
