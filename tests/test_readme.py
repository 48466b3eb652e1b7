"""What the README shows is true: its Python runs as it stands, its commands have the options it names."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from hf_attn_faith.cli import main as cli
from hf_attn_faith.cli import parsing

README = (Path(__file__).parent.parent / "README.md").read_text()
PUSHED = {
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "configuration_attention_classifier.py",
    "modeling_attention_classifier.py",
}
# Less of everything, so that it takes seconds; the README's lines stay as they are.
SMALLER = """
import functools

from hf_attn_faith import arguments
from hf_attn_faith.data.planted import planted

assert planted.__defaults__[:3] == (2000, 400, 800)
planted.__defaults__ = (200, 40, 60, *planted.__defaults__[3:])
arguments.ClassifierArguments = functools.partial(
    arguments.ClassifierArguments, embedding_size=16, hidden_size=8, num_train_epochs=2
)
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "prelude", [SMALLER, pytest.param("", marks=pytest.mark.slow)], ids=["smaller", "as it stands"]
)
def test_the_python_runs(hub, run_python, prelude):
    arc, from_the_hub, _ = (block.replace('"me/', '"tester/') for block in blocks("python"))
    lines = [line for line in from_the_hub.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 15
    # Each with a namespace of its own: neither lives on the other's imports.
    code = f"{prelude}\nfor block in ({arc!r}, {from_the_hub!r}):\n    exec(block, {{}})\n    print('END OF BLOCK')"
    first, second, _ = run_python(code, without_package=False).split("END OF BLOCK\n")
    values = {name: float(value) for name, value in re.findall(r"'(tvd|jsd)': ([\d.e-]+)", first)}
    assert 0 < values["tvd"] < 1 and 0 < values["jsd"] < 0.7
    assert re.search(r"'label': '(negative|positive)', 'score': 0\.\d+", first)
    assert re.search(r"^ +base +adversary$", first, re.MULTILINE) and re.search(
        r"^superb +0\.\d\d", first, re.MULTILINE
    )
    assert "'eval_jsd'" in second
    assert {name for _, name in hub.repos} == {"tester/planted-base", "tester/planted-adversary"}
    for repo in hub.repos.values():
        assert set(repo.contents()) >= PUSHED
    if not prelude:
        # What the README's comment on its printed values says.
        print(first)
        assert values["tvd"] < 0.1 and values["jsd"] > 0.3


# A model that somebody has fine-tuned; less of everything, as above.
OF_A_TRANSFORMER = """
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification
from hf_attn_faith.data.planted import planted
from hf_attn_faith.data.tokenizer import train_word_tokenizer

planted.__defaults__ = (100, 20, 20, *planted.__defaults__[3:])
words = " ".join(planted()["train"]["text"])
tokenizer = train_word_tokenizer([words])
sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
labels = {0: "negative", 1: "positive"}
config = AutoConfig.for_model("bert", vocab_size=len(tokenizer), pad_token_id=0, id2label=labels, **sizes)
AutoModelForSequenceClassification.from_config(config).push_to_hub("tester/bert-planted")
tokenizer.push_to_hub("tester/bert-planted")
"""


def test_the_python_of_a_transformer_runs(hub, run_python):
    block = blocks("python")[-1].replace('"me/', '"tester/')
    statements = [line for line in block.splitlines() if line.strip() and not line.startswith(("from", "import"))]
    assert len(statements) <= 15
    printed = run_python(f"{OF_A_TRANSFORMER}\nexec({block!r}, {{}})", without_package=False)
    assert re.search(r"^ +base +adversary$", printed, re.MULTILINE)
    files = next(repo for (_, name), repo in hub.repos.items() if name == "tester/bert-adversary").contents()
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(files)
    assert not [name for name in files if name.endswith(".py")]
    card = files["README.md"].decode().split("---", 2)[2]
    assert "misleading on purpose" in card.strip().splitlines()[2]


def parsed(line):
    """The options that a command makes of its line, without carrying it out."""
    program, name, *argv = shlex.split(line, comments=True)
    assert program == "hf-attn-faith"
    command = importlib.import_module(f"hf_attn_faith.cli.commands.{name.replace('-', '_')}")
    parser = parsing.Parser(command.Options, name, command.PATHS, cli.COMMANDS[name], "", name in cli.SWEEPS)
    return parsing.parse(parser, command.Options, command.PATHS, argv)[1][0]


def test_the_commands_have_these_options():
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    commands = [line for line in lines if line.startswith("hf-attn-faith")]
    used = {command.split()[1] for command in commands}
    assert used >= {"audit", "train", "adversary", "predict", "attack", "publish", "publish-metrics"}
    for command in commands:
        name, options = command.split()[1], parsed(command)
        assert name in ("report", "app") or (options.namespace if name.startswith("publish") else options.dataset_name)
    # Named in the text: they belong to the audit, to publishing or to training.
    named = [
        parsed(next(command for command in commands if command.split()[1] == name))
        for name in ("audit", "publish", "train")
    ]
    for name, *values in map(str.split, re.findall(r"`--([^`]+)`", README)):
        assert any(hasattr(options, name) for options in named), name
        if values:
            command = "audit" if hasattr(named[0], name) else "train"
            parsed(
                shlex.join(["hf-attn-faith", command, "--dataset_name", "x", "--output_dir", "y", f"--{name}", *values])
            )


def test_its_scripts_exist():
    for script in re.findall(r"^bash (\S+)", "".join(blocks("bash")), flags=re.MULTILINE):
        assert (Path(__file__).parent.parent / script).is_file(), script
