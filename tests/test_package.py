"""What importing the package does, and what it offers."""

import ast
import inspect

import pytest

import hf_attn_faith


def test_importing_loads_nothing_of_weight(run_python):
    printed = run_python(
        """
        import sys
        import time

        started = time.process_time()
        import hf_attn_faith

        assert time.process_time() - started < 0.1
        print({name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "datasets", "numpy"})
        from hf_attn_faith import InputError
        print("torch" in sys.modules)
        """,
        without_package=False,
    )
    assert printed.split() == ["set()", "False"]


ORDERS = [
    "import hf_attn_faith; import transformers",
    "import transformers; import hf_attn_faith",
    "from transformers import AutoConfig; import hf_attn_faith",
    "from transformers import AutoModelForSequenceClassification; import hf_attn_faith",
    "import hf_attn_faith; import transformers.trainer",
    "from hf_attn_faith import MlpAttentionForSequenceClassification; import transformers",
]


@pytest.mark.parametrize("imports", ORDERS)
def test_the_auto_classes_know_the_models_in_whatever_order(run_python, imports):
    printed = run_python(
        f"{imports}\n"
        + """
import transformers
config = transformers.AutoConfig.for_model("mlp_attention")
model = transformers.AutoModelForSequenceClassification.from_config(config)
print(type(model).__module__)
import pickle
model.config.vocab_size = 7
again = pickle.loads(pickle.dumps(model))
print(again.config.vocab_size)
""",
        without_package=False,
    )
    assert printed.split() == ["hf_attn_faith.models.modeling_attention_classifier", "7"]


def test_children_unpickle_models_and_know_the_auto_classes(run_python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """
import multiprocessing
import transformers

def child(config):
    print(type(transformers.AutoModelForSequenceClassification.from_config(config)).__name__, flush=True)

if __name__ == "__main__":
    import hf_attn_faith
    config = hf_attn_faith.LstmAttentionConfig(vocab_size=7, embedding_size=2, hidden_size=2)
    for method in ("spawn", "forkserver"):
        process = multiprocessing.get_context(method).Process(target=child, args=(config,))
        process.start()
        process.join()
        assert process.exitcode == 0
"""
    )
    code = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    assert run_python(code, without_package=False).split() == ["LstmAttentionForSequenceClassification"] * 2


def test_public_names_are_there_and_type_checkers_see_them():
    tree = ast.parse(inspect.getsource(hf_attn_faith))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert all(alias.asname == alias.name for node in block.body for alias in node.names)
    assert seen == {"metrics": None, **hf_attn_faith._MODULES}
    for name in hf_attn_faith.__all__:
        assert name in dir(hf_attn_faith)
        assert getattr(hf_attn_faith, name).__name__.split(".")[-1] == name
    with pytest.raises(AttributeError, match="module 'hf_attn_faith' has no attribute 'tvdd'"):
        _ = hf_attn_faith.tvdd
