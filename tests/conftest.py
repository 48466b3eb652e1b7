"""A Hub of our own for every test session, and no other.

Hugging Face libraries read their environment when they are imported, so it is set before any of them can be.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap

import pytest
from loopback_hub import LoopbackHub

# Precedes the code of `run_python`: imports as on a machine where the package is not installed.
WITHOUT_PACKAGE = """
import sys

class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "hf_attn_faith":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent)
"""


def parse_yaml(text):
    import yaml

    return yaml.safe_load(text)


def pytest_configure(config):
    assert "huggingface_hub" not in sys.modules, "huggingface_hub was imported before its environment was set"
    config.loopback_hub = hub = LoopbackHub(parse_yaml).__enter__()
    config.hub_home = home = tempfile.mkdtemp(prefix="hf-attn-faith-")
    config.add_cleanup(hub.__exit__)
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_")):
            del os.environ[name]
    threads = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
    os.environ.update(
        HF_ENDPOINT=hub.url,
        HF_TOKEN="hf_write",
        HF_HOME=home,
        HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_UPDATE_CHECK="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_UPDATE_DOWNLOAD_COUNTS="0",
        DO_NOT_TRACK="1",
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
        TOKENIZERS_PARALLELISM="false",
        OMP_NUM_THREADS=threads,
        MKL_NUM_THREADS=threads,
    )


@pytest.fixture
def hub(pytestconfig):
    """The Hub behind HF_ENDPOINT, empty as is the cache. A request that it does not know fails the test."""
    hub = pytestconfig.loopback_hub
    hub.clear()
    shutil.rmtree(f"{pytestconfig.hub_home}/hub", ignore_errors=True)
    yield hub
    assert not hub.unhandled


@pytest.fixture
def run_python(hub, tmp_path_factory):
    """Run code in another process, with the same Hub, empty caches and, unless told otherwise, without the package."""

    def run(code, *, without_package=True, env=None):
        folder = tmp_path_factory.mktemp("python")
        environment = {**os.environ, "HF_HOME": str(folder / "home"), **(env or {})}
        environment.pop("PYTHONPATH", None)
        code = (WITHOUT_PACKAGE if without_package else "") + textwrap.dedent(code)
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        if result.returncode:
            raise RuntimeError(f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result.stdout

    return run


@pytest.fixture
def bert():
    """A word-level tokenizer that puts [CLS] and [SEP] around a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "film"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $0 [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def pytest_make_parametrize_id(config, val, argname):
    """Compressed files hold the time at which they were made, and every process has to find the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="module")
def command_process(tmp_path_factory):
    """What the command sets for its whole process, as it was before; a cache of our own."""
    import datasets
    import torch
    from transformers.utils import logging as transformers_logging

    verbosity, threads = transformers_logging.get_verbosity(), torch.get_num_threads()
    level = logging.getLogger("hf_attn_faith").level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        # In this process, where what a test replaces is replaced.
        patch.setattr("hf_attn_faith.run.audit.default_workers", lambda: 1)
        yield
    transformers_logging.set_verbosity(verbosity)
    datasets.enable_progress_bars()
    torch.set_num_threads(threads)
    logging.getLogger("hf_attn_faith").setLevel(level)


@pytest.fixture
def refused(tmp_path, capsys):
    """Run a command that fails: in one line, which is returned, and leaving every file as it was."""
    from helpers.commands import snapshot

    from hf_attn_faith.cli.main import main

    def refused(*arguments, code=2):
        before = snapshot(tmp_path)
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == code
        said = capsys.readouterr()
        # What the progress bars say, the audit's and Trainer's, is no message.
        lines = [
            line for line in said.err.splitlines() if line.strip() and " left: " not in line and "it/s]" not in line
        ]
        assert len(lines) == 1 and lines[0].startswith("hf-attn-faith: "), said.err
        assert snapshot(tmp_path) == before
        return lines[0].removeprefix("hf-attn-faith: ")

    return refused
