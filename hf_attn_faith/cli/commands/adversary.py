"""
examples:
  hf-attn-faith adversary --base_model base --dataset_name planted --kl_weight 0.02 --output_dir adversary
  hf-attn-faith adversary --base_model me/base --dataset_name reviews/ --adversary_start warm --output_dir adversary
  hf-attn-faith adversary --base_model me/bert-reviews --dataset_name reviews/ --adversary_start warm --kl_weight 0.5 \
      --trainable_layers 1 --output_dir adversary
"""

from dataclasses import dataclass

from ...arguments import AdversaryArguments, FineTunedAdversaryArguments, TextArguments, option, refuse_given
from ...errors import InputError
from ...specs import Start
from ..output import new_directory, writing

PATHS = ()


@dataclass
class Options(FineTunedAdversaryArguments, AdversaryArguments, TextArguments):
    """This command."""

    base_model: str = option(None, "The classifier under audit: a directory or a repo on the Hub.", path=True)
    output_dir: str = option(None, "Directory of the trained adversary.", path=True)
    kl_weight: float = option(0.01, "λ: what a nat of KL between the attentions is worth in TVD of the outputs.")
    adversary_start: Start = option("other-seed", "Where it starts from.")
    word_vectors: str | None = option(None, "Word vectors the base started from, for a start from scratch.", path=True)
    pretrained: str | None = option(
        None, "Transformers: what the base was fine-tuned from, for a start from there.", path=True
    )
    seed: int = option(1, "Everything random in training; another than the base's for a start from another seed.")
    hub_model_id: str | None = option(None, "Push the trained adversary to this repo.")


def run(options: Options) -> None:
    output_dir = new_directory(options.output_dir)
    from ...analyses.scores import positive_index
    from ...attention.loading import load_classifier
    from ...attention.readout import Readout
    from ...data.labels import with_labels_of
    from ...data.preparation import prepare
    from ...data.word_vectors import read_word_vectors
    from ...hub.publishing import new_model_repo
    from ...process import set_up
    from ...recipes import adversary_recipe, fine_tuned_adversary_recipe
    from ...training.adversarial import ModelConsistentAdversarialTrainer, new_adversary
    from ...training.classification import train_and_save
    from ..training import finish, tell_epochs

    set_up(options.num_threads)
    base, tokenizer = load_classifier(options.base_model, "base_model")
    splits = with_labels_of(base.config, prepare(options, tokenizer)[0], "base_model")
    positive_index(splits["test"], options.positive_label)
    if isinstance(base, Readout):
        refuse_given(options, AdversaryArguments, "`base_model` is a transformer")
        refuse_given(options, Options, "`base_model` is a transformer", "word_vectors")
    else:
        refuse_given(options, FineTunedAdversaryArguments, "`base_model` is no transformer")
        refuse_given(options, Options, "`base_model` is no transformer", "pretrained")
    vectors = options.word_vectors and read_word_vectors(options.word_vectors, tokenizer.get_vocab())
    if vectors is not None and vectors.matrix.shape[1] != base.config.embedding_size:
        raise InputError(
            f"`word_vectors` {options.word_vectors} have {vectors.matrix.shape[1]} dimensions, `base_model` has "
            f"{base.config.embedding_size}: give the file the base started from."
        )
    if options.hub_model_id is not None:
        options.hub_model_id = new_model_repo(options.hub_model_id, own_vocabulary=False)
    recipe = fine_tuned_adversary_recipe if isinstance(base, Readout) else adversary_recipe
    arguments = recipe(options, options.kl_weight, str(output_dir / "checkpoints"), options.seed, disable_tqdm=False)
    with writing(output_dir):
        trainer = ModelConsistentAdversarialTrainer(
            new_adversary(
                base, options.adversary_start, options.seed, vectors, options.pretrained, options.trainable_layers
            ),
            base,
            arguments,
            splits["train"],
            splits["validation"],
            processing_class=tokenizer,
        )
        tell_epochs(trainer)
        train_and_save(trainer, output_dir)
    finish(trainer, splits, output_dir, options, base)
