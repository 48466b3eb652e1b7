"""The audit as something to leave alone overnight: killed, extended, damaged, run twice at once."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pandas as pd
import psutil
import pytest
from matplotlib.figure import Figure

from hf_attn_faith.analyses import protocol
from hf_attn_faith.analyses.base import Analysis, Result
from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.data.encode import encode
from hf_attn_faith.errors import InputError
from hf_attn_faith.guides import guide_of
from hf_attn_faith.report import build, terminal
from hf_attn_faith.run import stages, store
from hf_attn_faith.run.audit import describe, plan, run_audit
from hf_attn_faith.run.layout import Run
from hf_attn_faith.run.store import StageError
from hf_attn_faith.specs import ModelSpec

TINY = {
    "dataset_name": "planted",
    "max_train_samples": 64,
    "embedding_size": 8,
    "hidden_size": 8,
    "num_train_epochs": 2,
    "num_seeds": 2,
    "kl_weights": [0.02],
    "adversary_seeds": 1,
    "adversary_start": ["other-seed"],
    "adversary_epochs": 3,
    "num_workers": 1,
}


def config(path, **settings):
    return AuditArguments(**{**TINY, **settings, "output_dir": str(path)})


def options(path) -> list[str]:
    tokens = []
    for name, value in {**TINY, "output_dir": path}.items():
        tokens += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return tokens


def render_report(path: Path) -> str:
    return "\n".join(terminal.summary(build.render(Run(path))))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An undisturbed run."""
    path = tmp_path_factory.mktemp("audit") / "run"
    run_audit(config(path), progress=False)
    render_report(path)
    return path


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def tables(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (path / "tables").iterdir()}


def made(path: Path) -> dict[str, int]:
    """When each stage was finished."""
    return {str(file.parent.relative_to(path)): file.stat().st_mtime_ns for file in path.rglob("stage.json")}


def test_a_finished_run_has_its_tables_and_figures(finished):
    # Its adversary, of three epochs on 64 texts, failed: there is nothing to transplant.
    for name in {analysis.name for analysis in protocol.PROTOCOL} - {"calibration", "transplant", "readout"}:
        for suffix in (".csv", ".md", ".tex"):
            assert (finished / "tables" / f"{name}{suffix}").stat().st_size > 0
    figures = {path.stem for path in (finished / "figures").iterdir()}
    assert figures == {
        "seed_variance",
        "tvd_jsd",
        "guided_mlp",
        "uniform_baseline",
        "instance_attack",
        "permutation",
        "importance",
        "training_curves",
        "summary",
    }
    assert not list(finished.rglob(".*.unfinished"))


def test_finished_it_returns_at_once(copied):
    before = made(copied)
    started = time.monotonic()
    run_audit(config(copied), progress=False)
    assert time.monotonic() - started < 5
    assert made(copied) == before


@pytest.mark.parametrize("kind", ["models/adversary", "models/guided", "predictions/"])
def test_killed_at_any_moment_it_goes_on_and_ends_in_the_same_tables(kind, finished, tmp_path):
    """SIGKILL in three kinds of stage, at a random moment of each."""
    run = tmp_path / "run"
    shutil.copytree(finished / "data", run / "data")
    shutil.copy(finished / "audit.yaml", run)
    for name in ("models/base", "predictions/base"):  # what every other stage waits for
        shutil.copytree(finished / name, run / name)
    stage = next(s.name for s in plan(config(run)) if s.name.startswith(kind) and not s.name.endswith("/base"))
    work = (run / stage).with_name(f".{Path(stage).name}.unfinished")
    for name in made(finished):
        if name not in made(run) and not name.startswith("analyses") and name != stage:
            shutil.copytree(finished / name, run / name)
    command = [sys.executable, "-m", "hf_attn_faith.cli", "audit", *options(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not work.exists() and process.poll() is None and not (run / stage).exists():
        time.sleep(0.002)
    time.sleep(random.random() * 0.4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run_audit(config(run), progress=False)
    render_report(run)
    assert tables(run) == tables(finished)
    assert not list(run.rglob(".*.unfinished"))


def test_a_long_training_goes_on_from_its_last_checkpoint(finished, tmp_path, monkeypatch):
    run = tmp_path / "run"
    for name in ("data", "models/base"):
        shutil.copytree(finished / name, run / name)
    stage = next(s for s in plan(config(run)) if s.name.startswith("models/adversary"))
    epochs = []

    def until(limit):
        def tell(share):
            epochs.append(round(share * 3))
            if len(epochs) == limit:
                raise KeyboardInterrupt

        return tell

    with pytest.raises(KeyboardInterrupt):
        store.make(stage, Run(run), until(2))
    assert not (run / stage.name).exists()
    store.make(stage, Run(run), until(None))
    assert epochs == [1, 2, 2, 3]  # interrupted at the end of the second, whose checkpoint was not written
    weights = "model.safetensors"
    assert (run / stage.name / weights).read_bytes() == (finished / stage.name / weights).read_bytes()


def test_another_weight_trains_only_what_is_new(copied):
    before = made(copied)
    run_audit(config(copied, kl_weights=[0.02, 0.04]), progress=False)
    after = made(copied)
    new = {name for name in after if after[name] != before.get(name) and not name.startswith("analyses")}
    assert new == {
        "models/adversary-0.04-other-seed-0",
        "predictions/adversary-0.04-other-seed-0",
        "models/guided-adversary-0.04-other-seed-0",
        "predictions/guided-adversary-0.04-other-seed-0",
    }
    render_report(copied)
    table = pd.read_csv(copied / "tables" / "adversaries.csv")
    assert table.kl_weight.tolist() == [0.02, 0.04]


def test_a_changed_setting_refuses_and_overwrite_makes_again(copied):
    before = made(copied)
    changed = config(copied, adversary_epochs=1)
    with pytest.raises(InputError, match=r"models/adversary-0.02-other-seed-0.*`overwrite`"):
        run_audit(changed, progress=False)
    assert made(copied) == before
    run_audit(changed, overwrite=True, progress=False)
    after = made(copied)
    assert after["models/base"] == before["models/base"]
    assert after["models/adversary-0.02-other-seed-0"] != before["models/adversary-0.02-other-seed-0"]


def test_corrected_files_are_other_settings(tmp_path):
    def write(texts):
        for split, size in (("train", 24), ("validation", 6), ("test", 8)):
            rows = [f"{texts[i % 2]},{i % 2}" for i in range(size)]
            (tmp_path / f"{split}.csv").write_text("\n".join(["text,label", *rows]))

    def data(**settings):
        return plan(config("run", dataset_name=str(tmp_path), **settings))[0]

    write(["bad film", "good film"])
    vectors = tmp_path / "vectors.vec"
    vectors.write_text("good 1 2\n")
    first, with_vectors = data(), data(word_vectors=str(vectors))
    assert data().hash == first.hash != with_vectors.hash
    (tmp_path / "notes.txt").write_text("not read")
    assert data().hash == first.hash
    vectors.write_text("good 1 3\n")
    assert data(word_vectors=str(vectors)).hash != with_vectors.hash
    write(["poor film", "good film"])
    assert data().hash != first.hash
    (tmp_path / "run" / "data").mkdir(parents=True)
    facts = {"hash": first.hash, "seed": first.seed, "version": 1, "settings": first.settings, "sha256": {}}
    (tmp_path / "run" / "data" / "stage.json").write_text(json.dumps(facts))
    (tmp_path / "run" / "audit.yaml").touch()
    with pytest.raises(InputError, match=r"settings \(the files of `dataset_name` have changed\): data\. Take"):
        run_audit(config(tmp_path / "run", dataset_name=str(tmp_path)), progress=False)
    for source in ("planted", "somebody/reviews"):
        assert plan(config("run", dataset_name=source))[0].settings["contents"] == {}


def test_nothing_of_other_settings_stays(copied):
    """Not what the new plan does not have either; but the models of a longer audit with the same settings do."""
    shorter = {"num_seeds": 1}
    run_audit(config(copied, **shorter), progress=False)
    assert not (copied / "analyses" / "calibration").exists() and (copied / "models" / "seed-1").exists()
    run_audit(config(copied, **shorter, learning_rate=0.01), overwrite=True, progress=False)
    planned = {stage.name for stage in plan(config(copied, **shorter, learning_rate=0.01))}
    assert set(made(copied)) == planned


def test_a_wrong_positive_label_takes_nothing_away(copied):
    before = made(copied)
    with pytest.raises(InputError, match="`positive_label` posotive"):
        run_audit(config(copied, positive_label="posotive"), progress=False)
    assert made(copied) == before


def test_an_interval_of_one_model_alone_says_so(copied):
    run_audit(config(copied, num_seeds=1), progress=False)
    assert Run(copied).result("uniform_baseline").table.warning[0] == "one model alone"
    assert set(Run(copied).result("guided_mlp_differences").table.warning) == {"one model alone"}
    assert "F1 (one model alone)" in render_report(copied)


def test_a_permuted_guide_keeps_off_special_tokens(bert):
    texts = datasets.Dataset.from_dict({"text": ["good film good film", "film", ""], "label": [0, 1, 0]})
    attention = [[0, 0.1, 0.2, 0.3, 0.4, 0], [0, 1, 0], [0, 0]]
    predictions = datasets.Dataset.from_dict({"token_attention": attention})
    guide = guide_of(ModelSpec("guided", guide="permuted"))
    permuted = guide.impose(encode(texts, bert), "train", predictions, bert, 0)["imposed_attention"][:]
    for before, after in zip(attention, permuted, strict=True):
        assert after[0] == after[-1] == 0
        assert sorted(after) == pytest.approx(sorted(before))
    assert permuted[0] != pytest.approx(attention[0])


def test_an_unknown_guide_is_refused():
    with pytest.raises(InputError, match="There is no guide gold: take one of uniform, trained, base, permuted"):
        guide_of(ModelSpec("guided", guide="gold"))


@pytest.mark.parametrize(
    "file",
    [
        "models/base/model.safetensors",
        "predictions/base/test/data-00000-of-00001.arrow",
        "models/uniform-0/config.json",
        "predictions/seed-1/stage.json",
        "analyses/seed_variance/instances.parquet",
        "analyses/adversaries/summary.json",
    ],
)
def test_a_damaged_stage_is_named_and_mended(file, copied, finished, caplog):
    path = copied / file
    path.write_bytes(path.read_bytes()[:-20])
    with caplog.at_level("ERROR"):
        run_audit(config(copied), progress=False)
    stage = "/".join(file.split("/")[:2])
    assert f"{stage} is damaged ({'/'.join(file.split('/')[2:])})" in caplog.text
    render_report(copied)
    assert tables(copied) == tables(finished)


def test_two_at_once_on_one_directory(copied):
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, time; f = open({str(copied / '.lock')!r}, 'w');"
         "fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    holder.stdout.readline()
    with pytest.raises(InputError, match="in use by another audit"):
        run_audit(config(copied), progress=False)
    holder.kill()
    holder.wait()
    run_audit(config(copied), progress=False)  # a dead holder's lock is none


def test_dry_run_says_what_is_left(copied, tmp_path):
    assert re.search(r"Time left: about \d+ (seconds|minutes)\.$", describe(config(tmp_path / "nothing")))
    assert not (tmp_path / "nothing").exists()
    said = describe(config(copied, kl_weights=[0.02, 0.04]))
    assert "done  models/base" in said
    assert "to do  models/adversary-0.04-other-seed-0" in said
    assert "to do again  analyses/adversaries" in said
    assert "made with other settings  models/base" in describe(config(copied, learning_rate=0.1))
    (copied / "models" / "seed-1" / "stage.json").write_text("{")
    assert "damaged: to do again  models/seed-1" in describe(config(copied))


def test_a_failing_stage_is_named_and_what_was_finished_stays(copied, monkeypatch):
    def train_model(*_, **__):
        raise OSError(28, "No space left on device", "model.safetensors")

    shutil.rmtree(copied / "models" / "uniform-0")
    before = made(copied)
    monkeypatch.setattr(stages, "train_model", train_model)
    with pytest.raises(StageError, match=r"models/uniform-0 failed: OSError: No space left on device"):
        run_audit(config(copied), progress=False)
    assert made(copied) == before
    monkeypatch.undo()
    run_audit(config(copied), progress=False)


def test_an_unwritable_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"`output_dir` .*file/run cannot be made: Not a directory"):
        run_audit(config(tmp_path / "file" / "run"), progress=False)


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("text,label\n")
    with pytest.raises(InputError, match="is not empty and holds no audit"):
        run_audit(config(tmp_path), progress=False)
    assert (tmp_path / "data" / "train.csv").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="positive_label"):
        run_audit(config(empty, positive_label="lovely"), progress=False)
    assert list(empty.iterdir()) == []


def test_small_weights_have_names_too():
    names = [stage.name for stage in plan(config("run", kl_weights=[0.00001, 0.00001]))]
    assert names.count("models/adversary-0.00001-other-seed-0") == 1


def test_a_report_of_an_unfinished_run(copied):
    shutil.rmtree(copied / "analyses" / "guided_mlp_differences")
    shutil.rmtree(copied / "analyses" / "guided_mlp")
    shutil.rmtree(copied / "tables")
    shutil.rmtree(copied / "figures")
    said = render_report(copied)
    assert "Uniform baseline" in said and "Guided MLP" not in said
    assert (copied / "tables" / "adversaries.md").exists()
    assert not (copied / "figures" / "guided_mlp.png").exists()


def test_the_plan_depends_on_no_order_and_seeds_on_names():
    by_name = {stage.name: stage for stage in plan(config("run"))}
    extended = {s.name: s for s in plan(config("run", kl_weights=[0.5, 0.02], num_seeds=3))}
    for name, stage in by_name.items():
        assert extended[name].seed == stage.seed
        if not name.startswith("analyses"):
            assert extended[name].hash == stage.hash
    assert len({stage.seed for stage in by_name.values()}) == len(by_name)
    other = {stage.name: stage for stage in plan(config("run", seed=1))}
    assert other["models/base"].seed != by_name["models/base"].seed


def test_several_starts_and_one_same_seed_adversary():
    names = [s.name for s in plan(config("run", adversary_start=["warm", "same-seed"], adversary_seeds=3))]
    assert sum(name.startswith("models/adversary-0.02-warm") for name in names) == 3
    assert sum(name.startswith("models/adversary-0.02-same-seed") for name in names) == 1
    with pytest.raises(InputError, match=r"`adversary_start` cold is unknown: take of other-seed"):
        config("run", adversary_start=["cold"])


class Words(Analysis):
    """A toy: how many tokens the base's prediction set has."""

    name = "words"
    title = "Words"
    caption = "Tokens of the test split."
    columns = {"words": "tokens"}  # noqa: RUF012
    requires = ("base",)
    figure_names = ("words",)

    def run(self, evidence, seed):
        return Result(pd.DataFrame({"words": [sum(map(len, evidence.base["token_attention"][:]))]}))

    def figures(self, results):
        figure = Figure()
        figure.subplots().bar([0], results["words"].table.words)
        return {"words": figure}

    def sentences(self, results):
        return [f"Words: {results['words'].table.words[0]} in all."]


def test_a_new_analysis_is_one_object_and_one_line(copied, monkeypatch):
    before = made(copied)
    monkeypatch.setattr(protocol, "PROTOCOL", (*protocol.PROTOCOL, Words()))
    run_audit(config(copied), progress=False)
    assert made(copied).keys() - before.keys() == {"analyses/words"}
    words = sum(len(row) for row in datasets.load_from_disk(copied / "data" / "test")["input_ids"])
    assert f"- Words: {words} in all." in render_report(copied)
    assert (copied / "tables" / "words.csv").read_text().split() == ["words", str(words)]
    assert (copied / "figures" / "words.png").stat().st_size > 0


def test_a_stage_gets_what_it_declares_and_nothing_else(finished):
    """Its inputs are all that it could find the run by."""
    for stage in plan(config(finished)):
        opened = stage.opened(Path("elsewhere")).values()
        values = [v for value in opened for v in (value if isinstance(value, tuple) else (value,))]
        assert sorted(str(v.path) for v in values) == sorted(f"elsewhere/{parent.name}" for parent in stage.parents())


def test_a_failed_stage_holds_up_only_what_reads_it(copied, monkeypatch):
    def train_adversary(*_, **__):
        raise RuntimeError("out of luck")

    for name in ("adversary-0.02-other-seed-0", "uniform-0"):
        shutil.rmtree(copied / "models" / name)
        shutil.rmtree(copied / "predictions" / name)
    shutil.rmtree(copied / "analyses")
    monkeypatch.setattr(stages, "train_adversary", train_adversary)
    with pytest.raises(StageError, match=r"models/adversary-0.02-other-seed-0 failed: RuntimeError: out of luck"):
        run_audit(config(copied), progress=False)
    assert {"models/uniform-0", "analyses/uniform_baseline"} <= made(copied).keys()
    assert "analyses/adversaries" not in made(copied)


def test_names_of_models():
    assert ModelSpec("base").name == "base"
    assert ModelSpec("guided", 1, 1e-5, "warm", "adversary").name == "guided-adversary-0.00001-warm-1"
    assert ModelSpec("guided", 1, guide="permuted").name == "guided-permuted-1"
    assert ModelSpec("adversary", 2, 5.0, "same-seed").name == "adversary-5-same-seed-2"


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """The processes that make stages: forked from a server, the driver's child."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if child.ppid() != process.pid]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.slow
@pytest.mark.parametrize("kills", [0, 30])
def test_two_workers_end_in_the_same_tables(finished, tmp_path, kills):
    """Also where they are killed, or the driver, at random moments: others go on with what they did."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "hf_attn_faith.cli", "audit", *options(run), "--num_workers", "2"]
    ended, said = None, ""
    while ended != 0:
        # The same stage may be hit twice; then it is named, and the command goes on from there.
        assert ended in (None, -signal.SIGKILL) or "ended by SIGKILL, twice: too little memory for --num_wo" in said
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and kills:
            time.sleep(random.uniform(0.2, 1.5))
            working = workers(process)
            if working:
                # One kill of eight is the driver's.
                (process if kills % 8 == 0 else random.choice(working)).kill()
                kills -= 1
        _, said = process.communicate(timeout=300)
        ended = process.returncode
    assert tables(run) == tables(finished)
    assert not list(run.rglob(".*.unfinished"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_driver_leaves_no_worker(finished, tmp_path, number):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "hf_attn_faith.cli", "audit", *options(run), "--num_workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(workers(process)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    working = workers(process)
    process.send_signal(number)
    assert process.wait(60) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert not psutil.wait_procs(working, timeout=20)[1]
    run_audit(config(run), progress=False)
    render_report(run)
    assert tables(run) == tables(finished)
