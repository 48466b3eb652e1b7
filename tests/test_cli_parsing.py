"""From a line and a file to options, and the help; nothing is trained here."""

import importlib
import re
import subprocess
import sys
from dataclasses import fields

import pytest
import yaml

from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.cli.main import COMMANDS, main
from hf_attn_faith.errors import InputError

pytestmark = pytest.mark.usefixtures("command_process")


# Bad options


BAD_OPTIONS = [
    ("--num_seeds", "0", "--num_seeds 0 is too small: give at least 1."),
    ("--adversary_seeds", "0", "--adversary_seeds 0 is too small: give at least 1."),
    ("--kl_weights", "-0.5", "--kl_weights -0.5 is not a finite number ≥ 0"),
    ("--kl_weights", "nan", "--kl_weights nan is not a finite number ≥ 0"),
    ("--batch_size", "0", "--batch_size 0 is too small: give at least 1."),
    ("--max_train_samples", "0", "--max_train_samples 0 is too small: give at least 1."),
    ("--dropout", "1", "--dropout 1.0 is not in [0, 1)"),
    ("--learning_rate", "-1", "--learning_rate -1.0 is not a positive number"),
    ("--test_fraction", "2", "--test_fraction 2.0 is not between 0 and 1."),
    ("--seed", "-1", "--seed -1 is not in [0, 2**32)"),
    ("--split_seed", "-1", "--split_seed -1 is not in [0, 2**32)"),
    ("--num_seeds", "two", "--num_seeds two is no whole number."),
    ("--learning_rate", "fast", "--learning_rate fast is no number."),
    ("--lowercase", "perhaps", "--lowercase perhaps is neither true nor false."),
    ("--digits", "drop", "--digits drop is unknown: take one of keep, mask."),
    ("--adversary_start", "cold", "--adversary_start cold is unknown: take of"),
    ("--epsilons", "0", "--epsilons 0.0 is not in (0, 1]: give the TVD an attack may spend"),
    ("--epsilons", "1.5", "--epsilons 1.5 is not in (0, 1]"),
    ("--permutations", "0", "--permutations 0 is too small: give at least 1."),
    ("--num_sedes", "3", "unknown option --num_sedes (did you mean --num_seeds?)."),
    ("--num_seed", "3", "unknown option --num_seed (did you mean --num_seeds?)."),
    ("--xyzzy=3", None, "unknown option --xyzzy."),
    ("surplus", None, "unrecognized arguments: surplus (hf-attn-faith audit --help lists the options)"),
    ("--kl_weights", None, "argument --kl_weights: expected at least one argument"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_OPTIONS)
def test_bad_options(tmp_path, refused, name, value, message):
    given = [name] if value is None else [name, value]
    assert refused("audit", "--dataset_name", "planted", "--output_dir", tmp_path / "out", *given).startswith(message)


def test_unknown_commands(refused):
    assert refused("audti") == (
        "unknown command `audti` (did you mean audit?); there are audit, train, adversary, predict, compare, attack, "
        "permutation, importance, report, app, publish, publish-metrics."
    )


# --config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--config FILE cannot be read (No such file or directory): give a YAML file."),
        ("seed: [1\n", "--config FILE is not valid YAML ("),
        ("\x00", "--config FILE is not valid YAML ("),
        ("- seed\n", "--config FILE is no mapping: give a line `option: value` for every option."),
        ("num_sedes: 3\n", "--config FILE has an unknown option `num_sedes` (did you mean num_seeds?)."),
        ("3: 3\n", "--config FILE has an unknown option `3`."),
        ("seed: many\n", "--config FILE: --seed many is no whole number."),
        ("seed: [1, 2]\n", "--config FILE: --seed is a list where one value belongs: give one."),
        ("seed: {a: 1}\n", "--config FILE: --seed is a mapping where one value belongs: give one."),
        ("kl_weights: [0.1, x]\n", "--config FILE: --kl_weights x is no number."),
        ("digits: drop\n", "--config FILE: --digits drop is unknown: take one of keep, mask."),
        ("kl_weights: []\n", "--config FILE: --kl_weights is an empty list: give at least one value."),
        ("kl_weights: [0.1, null]\n", "--config FILE: --kl_weights is empty where one value belongs: give one."),
        ("kl-weights: [0.1]\nkl_weights: [0.2]\n", "--config FILE is not valid YAML (kl_weights is given twice)"),
        ("lowercase: maybe\n", "--config FILE: --lowercase maybe is neither true nor false."),
        ("num_seeds: 1e1\n", "--config FILE: --num_seeds 1e1 is no whole number."),
        ("num_seeds: yes\n", "--config FILE: --num_seeds yes is no whole number."),
        ("word_vectors: ~nobody-here/v.vec\n", "--word_vectors ~nobody-here/v.vec begins with ~, and there is no such"),
        ("num_seeds: 0\n", "--num_seeds 0 is too small: give at least 1."),
    ],
)
def test_bad_config_files(tmp_path, refused, content, message):
    path = tmp_path / "audit.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    said = refused("audit", "--dataset_name", "planted", "--output_dir", tmp_path / "out", "--config", path)
    assert said.startswith(message.replace("FILE", str(path)).removesuffix("."))


def test_two_config_files(tmp_path, refused):
    said = refused("train", "--config", tmp_path / "a.yaml", "--config", tmp_path / "b.yaml")
    assert said.startswith("--config is given twice: put all settings into one file (")


def test_a_sweep_has_an_audit_for_each_config(tmp_path, monkeypatch, refused):
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text(f"dataset_name: planted\noutput_dir: {file.stem}\nseed: 7\n")
    given = []
    monkeypatch.setattr("hf_attn_faith.run.audit.describe", lambda *configs: given.extend(configs) or "")
    assert main(["audit", "--config", *map(str, files), "--num_seeds", "2", "--dry_run"]) == 0
    assert [(config.output_dir, config.seed, config.num_seeds) for config in given] == [("a", 7, 2), ("b", 7, 2)]
    said = refused("audit", "--config", *files, "--output_dir", tmp_path / "out")
    assert said == "--output_dir on the line is that of one audit: name one in each --config instead."
    assert "--output_dir" in refused("audit", "--config", files[0], files[0]) and "two audits" in refused(
        "audit", "--config", files[0], files[0]
    )
    files[1].write_text("dataset_name: planted\noutput_dir: b\nnum_workers: 3\n")
    assert refused("audit", "--config", *files).startswith("--num_workers differs from audit to audit")


def parsed(monkeypatch, *argv):
    """The options that `audit` would run with."""
    given = []
    monkeypatch.setattr("hf_attn_faith.run.audit.describe", lambda config: given.append(config) or "")
    assert main(["audit", *argv, "--dry_run"]) == 0
    return given[0]


def test_options_on_the_line_override_the_file(tmp_path, monkeypatch):
    path = tmp_path / "audit.yaml"
    settings = {"dataset_name": "planted", "output_dir": "out", "seed": 7, "kl_weights": [0.5], "lowercase": False}
    settings |= {"learning_rate": "1e-2", "text_column": "--text", "max_vocab_size": None, "bf16": None}
    path.write_text(yaml.safe_dump(settings))
    config = parsed(monkeypatch, "--config", str(path), "--seed", "8", "--kl_weights", "0.1", "0.2")
    assert (config.dataset_name, config.seed, config.kl_weights, config.lowercase) == ("planted", 8, [0.1, 0.2], False)
    assert (config.learning_rate, config.text_column) == (0.01, ["--text"])
    # null is "none" where an option may be, and "not given" elsewhere.
    assert config.max_vocab_size is None and config.bf16 is False
    config = parsed(monkeypatch, f"--config={path}", "--lowercase", "--max-vocab-size=9")
    assert (config.seed, config.kl_weights, config.lowercase, config.max_vocab_size) == (7, [0.5], True, 9)


def test_presets(tmp_path, monkeypatch, refused):
    """Under --config, which is under the line."""
    settings = ["--dataset_name", "planted", "--output_dir", "out", "--preset", "papers"]
    config = parsed(monkeypatch, *settings)
    assert (config.embedding_std, config.class_weights, config.keep_best_by) == (1, "balanced", "loss")
    (tmp_path / "a.yaml").write_text("embedding_std: 0.5\nclass_weights: none\n")
    config = parsed(monkeypatch, *settings, "--config", str(tmp_path / "a.yaml"), "--class_weights", "two-labels")
    assert (config.embedding_std, config.class_weights, config.keep_best_by) == (0.5, "two-labels", "loss")
    assert "argument --preset: invalid choice: 'paper'" in refused("audit", *settings[:-1], "paper")


def test_a_preset_sets_what_has_a_use(monkeypatch, refused):
    settings = ["--dataset_name", "planted", "--output_dir", "out", "--preset", "quick"]
    lstm, default = parsed(monkeypatch, *settings), AuditArguments
    assert (lstm.adversary_epochs, lstm.fine_tuning_epochs) == (15, default.fine_tuning_epochs)
    for given in ("--base_model", "--model"):
        transformer = parsed(monkeypatch, *settings, given, "somebody/bert")
        assert (transformer.adversary_epochs, transformer.fine_tuning_epochs) == (default.adversary_epochs, 2)
        assert transformer.max_train_samples == 1000
    assert "--adversary_epochs has no use" in refused("audit", *settings, "--model", "x", "--adversary_epochs", "15")


def test_what_is_written_in_a_file_is_read_as_the_option_means_it(tmp_path, monkeypatch):
    """No label is false or octal, no number a text, no list of one a mistake."""
    path = tmp_path / "audit.yaml"
    path.write_text(
        "dataset_name: planted\noutput_dir: 2026-11-25\nseed: 007\npositive_label: no\nlabel_column: 01\n"
        "learning_rate: 1e-2\nbf16: on\nlowercase: \"no\"\nnum_seeds: '3'\nkl-weights: 0.5\nadversary_start: [warm]\n"
        "text_column: 1:30\ntokenizer: ~\ntest_fraction:\nepsilons: [.5, '1e-1']\nmax_train_samples: null\n"
    )
    config = parsed(monkeypatch, "--config", str(path))
    assert (config.output_dir, config.seed) == ("2026-11-25", 7)
    assert (config.positive_label, config.label_column, config.text_column) == ("no", "01", ["1:30"])
    assert (config.learning_rate, config.num_seeds, config.bf16, config.lowercase) == (0.01, 3, True, False)
    assert (config.kl_weights, config.adversary_start, config.epsilons) == ([0.5], ["warm"], [0.5, 0.1])
    assert config.tokenizer is config.test_fraction is config.max_train_samples is None


def test_settings_come_back_from_the_file_they_are_written_to(tmp_path, monkeypatch):
    given = ["--dataset_name", "planted", "--output_dir", str(tmp_path / "out"), "--positive_label", "null"]
    given += ["--label_column", "~", "--text_column", "yes", "--no_lowercase", "--kl_weights", "1e-05", "0"]
    config = parsed(monkeypatch, *given)
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump(vars(config)))
    assert parsed(monkeypatch, "--config", str(tmp_path / "audit.yaml")) == config


def test_parameters_become_options_in_messages(monkeypatch, refused):
    def run(options):
        raise InputError("`kl-weight` and `kl_weight` of `model`, not `kl_weights`, --seed or `seed x`")

    monkeypatch.setattr("hf_attn_faith.cli.commands.adversary.run", run)
    assert refused("adversary", "--dataset_name", "planted") == (
        "--kl_weight and --kl_weight of `model`, not `kl_weights`, --seed or `seed x`"
    )


# Help


def test_usage(capsys):
    for argv in ([], ["-h"], ["--help"]):
        assert main(argv) == 0
        said = capsys.readouterr().out
        assert said.startswith("usage: hf-attn-faith COMMAND")
        assert all(f"\n  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("columns", [80, 200])
def test_help_keeps_to_the_width_of_the_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for argv in (["--help"], ["audit", "--help"], ["report", "--help"]):
        assert main(argv) == 0
        said = capsys.readouterr().out.partition("examples:")[0].partition("\n\n")[2]
        assert max(map(len, said.splitlines())) <= min(columns, 110)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_option_with_a_text(capsys, command):
    assert main([command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    options = importlib.import_module(f"hf_attn_faith.cli.commands.{command.replace('-', '_')}").Options
    assert "--config FILE" in said or not fields(options)
    for field in fields(options):
        text = field.metadata["help"]
        assert text.endswith(".") or text.endswith(")")
        assert f"--{field.name} " in said and "".join(text.split()) in said.replace(" ", ""), field.name
    assert f"hf-attn-faith {command} " in said.partition("examples:")[2]


def test_help_tells_what_is_required_and_what_is_default(capsys):
    assert main(["audit", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Required: --dataset_name PATH .* --output_dir PATH Directory of the run\. Where the texts", said)
    for shown in (
        "Texts a step. [32]",
        "the pooled vector. [0.0]",
        "lower-case the texts. [true; --no_lowercase for false]",
        "worth in TVD. [0.005 0.01 0.02]",
        "--digits {keep,mask} ",
    ):
        assert shown in said
    assert "Directory of the run. [" not in said and "None" not in said


def test_help_waits_for_no_library():
    """In a process of its own, since here all of them are loaded. All the helps took 0.2 s of a CPU
    where this was written; by its clock, since other processes may keep this one waiting."""
    code = f"""
import io, sys, time
from contextlib import redirect_stdout
started = time.process_time()
from hf_attn_faith.cli.main import main
with redirect_stdout(io.StringIO()):
    assert main(["--help"]) == main(["--version"]) == 0
    for command in {list(COMMANDS)!r}:
        assert main([command, "--help"]) == 0
assert not {{"torch", "transformers", "datasets", "numpy", "pandas"}} & sys.modules.keys()
assert time.process_time() - started < 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
