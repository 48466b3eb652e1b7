"""Where the losses of an audit's trainings go too: into the run's directory, and never into public."""

from types import SimpleNamespace

import pytest

from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.errors import InputError
from hf_attn_faith.run import stages, store
from hf_attn_faith.run.audit import plan
from hf_attn_faith.run.layout import Run
from hf_attn_faith.run.stage import Work

SMALL = {"dataset_name": "planted", "max_train_samples": 32, "embedding_size": 4, "hidden_size": 4,
         "num_train_epochs": 1, "num_seeds": 1}  # fmt: skip


def test_event_files_lie_in_the_run(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = Run(tmp_path / "run")
    run.path.mkdir()
    planned = plan(AuditArguments(**SMALL, output_dir=str(run.path), report_to="tensorboard"))
    silent = plan(AuditArguments(**SMALL, output_dir=str(run.path)))
    assert [stage.hash for stage in planned] == [stage.hash for stage in silent]
    for stage in planned[:2]:
        store.make(stage, run, lambda share: None)
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    assert events.parent == run.path / "models" / "base" / "logs"
    found = accumulators.EventAccumulator(str(events)).Reload()
    assert {"train/loss", "eval/loss"} <= set(found.Tags()["scalars"])


def test_trackio_makes_no_space(tmp_path):
    pytest.importorskip("trackio")
    callbacks = []
    trainer = SimpleNamespace(args=SimpleNamespace(), add_callback=callbacks.append)
    stages._report(Work(tmp_path, 0, print, "trackio", "my-run", "base"), trainer)
    assert trainer.args.trackio_static_space_id is False
    assert (trainer.args.project, trainer.args.run_name) == ("my-run", "base")
    assert [type(callback).__name__ for callback in callbacks] == ["TrackioCallback"]


def test_what_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr("hf_attn_faith.arguments.find_spec", lambda name: None)
    with pytest.raises(InputError, match="`report_to` trackio is not installed: pip install trackio"):
        AuditArguments(**SMALL, output_dir=str(tmp_path), report_to="trackio")
