"""Writes model cards of an audit's models: facts, card, and the picture with the weights it shows.

python scripts/render_model_cards.py runs/sst model_cards/sst base uniform-0 adversary-0.02-warm-0 ...
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from hf_attn_faith.data.tokenizer import text_settings
from hf_attn_faith.hub.model_cards import facts_from_run, write_card
from hf_attn_faith.run.layout import Run
from hf_attn_faith.specs import ModelSpec


def main(run_dir: Path, output_dir: Path, names: list[str]) -> None:
    run = Run.open(run_dir)
    base = run.model(ModelSpec("base"))
    tokenizer, base_model = base.tokenizer(), base.load()
    for name in names:
        spec = run.spec(name)
        directory = output_dir / name
        directory.mkdir(parents=True, exist_ok=True)
        facts = facts_from_run(run, spec)
        facts.settings |= text_settings(tokenizer)
        others = None if spec.role == "base" else base_model
        heatmaps = write_card(directory, facts, run.model(spec).load(), tokenizer, others)
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
