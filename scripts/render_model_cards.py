"""Writes model cards of an audit's models: facts, card, and the picture with the weights it shows.

python scripts/render_model_cards.py runs/sst model_cards/sst base uniform-0 adversary-0.02-warm-0 ...
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_attn_faith.hub.model_cards import facts_from_run, write_card


def main(run_dir: Path, output_dir: Path, names: list[str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run_dir / "models" / "base")
    base = AutoModelForSequenceClassification.from_pretrained(run_dir / "models" / "base")
    for name in names:
        directory = output_dir / name
        directory.mkdir(parents=True, exist_ok=True)
        facts = facts_from_run(run_dir, name)
        model = AutoModelForSequenceClassification.from_pretrained(run_dir / "models" / name)
        heatmaps = write_card(directory, facts, model, tokenizer, None if name == "base" else base)
        (directory / "facts.json").write_text(json.dumps(asdict(facts), indent=2) + "\n")
        if heatmaps:
            shown = [
                {"tokens": h.tokens, "token_attention": {n: w.round(6).tolist() for n, w in h.token_attention.items()}}
                for h in heatmaps
            ]
            (directory / "attention.json").write_text(json.dumps(shown) + "\n")
        print(directory / "README.md")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
