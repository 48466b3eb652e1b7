"""How much the pass of one row saves: permutation and instance attack of a transformer, beside the same computations by
the whole model each time; with gradient and leave-one-out, which take the whole model either way. Seconds are of the
CPU, whatever else the machine does; on SST and a model of MiniLM's size it takes about a minute of a core.

python scripts/benchmark_readout.py --model CLASSIFIER --dataset_name CORPUS
"""

import argparse
import statistics
import time

import torch

from hf_attn_faith.analyses.importance import gradient_importance, leave_one_out
from hf_attn_faith.analyses.instance_attack import Search, readout_attack
from hf_attn_faith.analyses.permutation import readout_permutation
from hf_attn_faith.arguments import TextArguments
from hf_attn_faith.attention.loading import load_classifier
from hf_attn_faith.data.preparation import prepare
from hf_attn_faith.prediction import predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="A fine-tuned transformer, by name or path.")
    parser.add_argument("--dataset_name", required=True)
    parser.add_argument("--max_test_samples", type=int, default=30, help="The plain runs take long.")
    parser.add_argument("--permutations", type=int, default=20)
    parser.add_argument("--steps", type=int, default=5, help="Of the attack.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--num_threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.num_threads)
    readout, tokenizer = load_classifier(options.model, "model")
    if not readout.one_row:
        parser.error(f"{options.model} has to be run in full for every attention: there is nothing to compare.")
    arguments = TextArguments(dataset_name=options.dataset_name, max_test_samples=options.max_test_samples)
    texts = prepare(arguments, tokenizer)[0]["test"]
    prediction_set = predict(readout, texts, progress=False)
    search = Search(restarts=2, steps=options.steps, learning_rate=0.3)

    def permutation():
        return readout_permutation(readout, texts, prediction_set, options.permutations).tvd_mean

    def attack():
        return readout_attack(readout, texts, prediction_set, (0.05,), search).jsd

    words = sum(len(ids) for ids in texts["input_ids"]) / len(texts)
    print(f"{len(texts)} texts of {words:.0f} tokens in the mean, {options.num_threads} threads")
    for name, compute in (("permutation", permutation), ("attack", attack)):
        seconds: dict[bool, list[float]] = {True: [], False: []}
        found = {}
        for _ in range(options.repeats):
            for one_row in (True, False):
                readout.one_row = one_row
                started = time.process_time()
                found[one_row] = compute()
                seconds[one_row].append(time.process_time() - started)
        readout.one_row = True
        ratios = [whole / row for row, whole in zip(seconds[True], seconds[False], strict=True)]
        print(
            f"{name}: one row {statistics.median(seconds[True]):.2f} s, whole model "
            f"{statistics.median(seconds[False]):.2f} s, {statistics.median(ratios):.1f} times "
            f"[{min(ratios):.1f}, {max(ratios):.1f}]; largest difference {(found[True] - found[False]).abs().max():.1e}"
        )
    for name, compute in (("gradient", gradient_importance), ("leave-one-out", leave_one_out)):
        started = time.process_time()
        compute(readout, texts, progress=False)
        print(f"{name}: {time.process_time() - started:.2f} s")


if __name__ == "__main__":
    main()
