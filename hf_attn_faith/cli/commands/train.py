"""
examples:
  hf-attn-faith train --dataset_name planted --output_dir base
  hf-attn-faith train --dataset_name reviews/ --word_vectors crawl-300d-2M.vec --output_dir base
"""

from dataclasses import dataclass
from typing import Literal

from ...arguments import ClassifierArguments, DataArguments, option
from ..output import new_directory, writing

PATHS = ()


@dataclass
class Options(ClassifierArguments, DataArguments):
    """This command."""

    output_dir: str = option(None, "Directory of the trained model.", path=True)
    architecture: Literal["lstm", "mlp"] = option("lstm", "BiLSTM or token-wise MLP.")
    attention_type: Literal["additive", "dot", "uniform"] = option("additive", "Attention of the classifier.")
    hub_model_id: str | None = option(None, "Push the trained model to this repo.")


def run(options: Options) -> None:
    output_dir = new_directory(options.output_dir)
    from ...analyses.scores import positive_index
    from ...data.preparation import prepare
    from ...data.word_vectors import read_word_vectors
    from ...hub.publishing import new_model_repo
    from ...process import set_up
    from ...training.classification import classifier_trainer, train_and_save
    from ..training import finish, tell_epochs

    set_up(options.num_threads)
    splits, tokenizer = prepare(options)
    positive_index(splits["test"], options.positive_label)
    vectors = options.word_vectors and read_word_vectors(options.word_vectors, tokenizer.get_vocab())
    if options.hub_model_id is not None:  # what stands in its way is better known before hours of training
        options.hub_model_id = new_model_repo(options.hub_model_id, own_vocabulary=options.tokenizer is None)
    with writing(output_dir):
        trainer = classifier_trainer(
            options.architecture,
            options.attention_type,
            splits["train"],
            splits["validation"],
            tokenizer,
            options,
            output_dir=str(output_dir / "checkpoints"),
            seed=options.seed,
            word_vectors=vectors,
            disable_tqdm=False,
        )
        tell_epochs(trainer)
        train_and_save(trainer, output_dir)
    finish(trainer, splits, output_dir, options)
