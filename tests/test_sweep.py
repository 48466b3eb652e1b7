"""Several audits in one queue, and what they say beside each other."""

import pandas as pd
import pytest
import yaml
from helpers.commands import SIZES, frame, write

from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.cli.main import main
from hf_attn_faith.errors import InputError
from hf_attn_faith.report import comparison
from hf_attn_faith.run import stages
from hf_attn_faith.run.audit import run_audits
from hf_attn_faith.run.store import StageError

pytestmark = pytest.mark.usefixtures("command_process")

SETTINGS = {"num_seeds": 1, "kl_weights": [0.02], "adversary_seeds": 1, "adversary_start": ["warm"]}
SETTINGS |= {"adversary_epochs": 1, "num_workers": 1, "permutations": 2}
SETTINGS |= {name.strip("-"): int(value) for name, value in zip(SIZES[::2], SIZES[1::2], strict=True)}


def corpus(folder, name, **columns):
    return write(folder / name, train=frame(**columns), validation=frame(8, **columns), test=frame(10, **columns))


def configs(tmp_path, *corpora):
    """A file for each."""
    for path in corpora:
        settings = SETTINGS | {"dataset_name": str(path), "output_dir": str(tmp_path / "runs" / path.name)}
        (tmp_path / f"{path.name}.yaml").write_text(yaml.safe_dump(settings))
    return [str(tmp_path / f"{path.name}.yaml") for path in corpora]


def test_one_corpus_that_cannot_be_read_stops_only_itself(tmp_path, capsys):
    corpora = [corpus(tmp_path, "films"), tmp_path / "nothing", corpus(tmp_path, "books", labels=("poor", "fine"))]
    corpora.append(write(tmp_path / "unlabelled", train=frame().drop(columns="label")))
    assert main(["audit", "--config", *configs(tmp_path, *corpora)]) == 2
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert last.startswith("hf-attn-faith: 2 of 4 audits did not end well, the others did. (1) ")
    assert f"(1) {tmp_path}/runs/nothing: " in last and f"{tmp_path}/nothing" in last
    assert f"(2) {tmp_path}/runs/unlabelled: " in last and "label" in last
    runs = tmp_path / "runs"
    # What could not be read has left nothing.
    assert sorted(path.name for path in runs.iterdir()) == ["books", "comparison", "films"]
    table = pd.read_csv(runs / "comparison" / "tables" / "comparison.csv")
    assert list(table.corpus) == ["films"] * 4 + ["books"] * 4
    own = pd.read_csv(runs / "books" / "tables" / "verdicts.csv")
    pd.testing.assert_frame_equal(table[4:].drop(columns="corpus").reset_index(drop=True), own, check_dtype=False)
    assert (runs / "comparison" / "figures" / "comparison.svg").stat().st_size > 0
    shown = (runs / "comparison" / "tables" / "overview.md").read_text()
    assert shown in said.out
    # The same again, from the runs alone.
    assert main(["report", str(runs / "films"), str(runs / "books"), "--output_dir", str(tmp_path / "both")]) == 0
    assert (tmp_path / "both" / "tables" / "overview.md").read_text() == shown


def test_a_failed_stage_of_one_audit_leaves_the_other_alone(tmp_path, monkeypatch):
    whole = stages.train_adversary

    def train_adversary(work, **inputs):
        if "films" in str(work.path):
            raise RuntimeError("out of luck")
        whole(work, **inputs)

    monkeypatch.setattr(stages, "train_adversary", train_adversary)
    corpora = [corpus(tmp_path, "films"), corpus(tmp_path, "books")]
    given = [
        AuditArguments(**SETTINGS, dataset_name=str(path), output_dir=str(tmp_path / "runs" / path.name))
        for path in corpora
    ]
    films, books = run_audits(given, progress=False).items()
    assert isinstance(films[1], StageError) and "out of luck" in str(films[1])
    assert books[1] is None and books[0].result("verdicts") is not None
    with pytest.raises(InputError, match="films has no verdicts yet"):
        comparison.render([films[0], books[0]], str(tmp_path / "comparison"))


ROWS = [
    ("films", "attention matters", "ruled out", "F1", 0.004, -0.003, 0.011, 0.02),
    ("films", "it is unique", "undecided", "JSD", 0.2, 0.1, 0.3, 0.05),
    ("books", "attention matters", "not ruled out", "F1", 0.1, 0.05, 0.15, 0.02),
    ("books", "it is unique", "not tested", "", None, None, None, None),
]
TABLE = pd.DataFrame(ROWS, columns=["corpus", "reading", "state", "quantity", "estimate", "low", "high", "margin"])


def test_a_row_a_corpus_and_a_column_a_reading():
    assert comparison.overview(TABLE).to_dict("list") == {
        "corpus": ["films", "books"],
        "attention matters": ["✗ ruled out +0.004 [-0.003, +0.011]", "○ not ruled out +0.100 [+0.050, +0.150]"],
        "it is unique": ["◐ undecided +0.200 [+0.100, +0.300]", "– not tested"],
    }


def test_the_figure_has_every_interval_once():
    drawn = comparison.figure(TABLE)
    panels = drawn.axes
    assert [axes.get_title() for axes in panels] == ["attention matters", "it is unique"]
    markers = [[line.get_marker() for line in axes.lines if line.get_marker() != "None"] for axes in panels]
    assert markers == [["X", "o"], ["s"]]
    assert [text.get_text() for text in panels[1].texts] == ["not tested"]
