"""The scripts whose tables stand in the docs run, on next to nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"
SIZES = ["--embedding_size", "8", "--hidden_size", "4"]


def ran(name: str, *arguments: str) -> str:
    process = subprocess.run([sys.executable, SCRIPTS / name, *arguments], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow
def test_the_study_of_defaults(tmp_path):
    corpus = "planted --max_train_samples 60 --max_length 20 --embedding_size 8 --hidden_size 4"
    shared = ["--epochs", "1", "2", "--output_dir", str(tmp_path)]
    ran("study_defaults.py", corpus, "--seeds", "1", "2", *shared)
    table = ran("study_defaults.py", "--only_table", *shared)
    assert table.count("| planted") == 3 * 2 * 2 and "nan" not in table  # scores, weights, epochs


@pytest.mark.slow
def test_the_study_of_adversaries(tmp_path):
    few = ["--base_epochs", "1", "--epochs", "1", "--kl_weights", "0.1", "--seeds", "1", "--output_dir", str(tmp_path)]
    configurations = ["default", "recipe_2019", "warmup=3"]
    told = ran("study_adversary.py", *SIZES, *few, "--configurations", *configurations).splitlines()
    assert [line.split("|")[3].strip() for line in told if line.startswith("| other-seed")] == configurations
