#!/usr/bin/env bash
# The audit on the embedded dataset `planted`, in an environment of its own. Options go to the audit.
source "$(dirname "$0")/environment.sh" "."

.venv/bin/hf-attn-faith audit --dataset_name planted --output_dir runs/planted "$@"
