#!/usr/bin/env bash
# The audit on the embedded dataset `planted`, in an environment of its own: fewer and smaller models than the defaults,
# so that it ends within minutes. Options go to the audit, and override those here.
source "$(dirname "$0")/environment.sh" "."

.venv/bin/hf-attn-faith audit --dataset_name planted --output_dir runs/planted \
  --num_seeds 5 --adversary_seeds 3 --kl_weights 0.02 --adversary_start warm --adversary_epochs 15 \
  --embedding_size 100 --hidden_size 64 "$@"
