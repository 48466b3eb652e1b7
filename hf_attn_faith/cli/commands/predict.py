"""
examples:
  hf-attn-faith predict --model base --dataset_name planted --split test --output_dir predictions
  hf-attn-faith predict --model base --dataset_name new_texts.csv --output_dir predictions      (labelled or not)
"""

from dataclasses import dataclass
from typing import Literal

from ...arguments import TextArguments, option
from ..models import ReadoutArguments, load_own_attention, observed
from ..output import new_directory, writing

PATHS = ()


@dataclass
class Options(ReadoutArguments, TextArguments):
    """This command."""

    model: str = option(None, "A saved classifier: a directory or a repo on the Hub.", path=True)
    split: Literal["train", "validation", "test"] = option("test", "The split to predict, where there are several.")
    output_dir: str = option(None, "Directory of the prediction set.", path=True)


def run(options: Options) -> None:
    output_dir = new_directory(options.output_dir)
    from ...data.preparation import prepare_to_predict
    from ...prediction import predict

    model, tokenizer = load_own_attention(options)
    model = observed(model, options.readout)
    dataset = prepare_to_predict(options, model, tokenizer, options.split)
    with writing(output_dir):
        predict(model, dataset).save_to_disk(output_dir)
    print(f"Prediction set of {len(dataset)} texts: {output_dir}")
