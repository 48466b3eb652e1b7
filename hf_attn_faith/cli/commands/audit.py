"""
examples:
  hf-attn-faith audit --dataset_name planted --output_dir runs/planted
  hf-attn-faith audit --dataset_name reviews/ --word_vectors crawl-300d-2M.vec --output_dir runs/reviews --dry_run
  hf-attn-faith audit --config runs/reviews/audit.yaml --kl_weights 0.005 0.01 0.02 0.05
"""

from dataclasses import dataclass, fields

from ...arguments import AuditArguments, option
from . import report

PATHS = ()


@dataclass
class Options(AuditArguments):
    """This command."""

    overwrite: bool = option(
        False, "Take away what was made with other settings, and what these do not need; make it again."
    )
    tables: bool = option(False, "Print all tables at the end, and a sentence on each.")
    dry_run: bool = option(False, "Say what would be done and about how long it takes, and do nothing.")


def run(options: Options) -> None:
    from ...run.audit import describe, run_audit

    config = AuditArguments(**{f.name: getattr(options, f.name) for f in fields(AuditArguments)})
    if options.dry_run:
        print(describe(config))
        return
    run_audit(config, overwrite=options.overwrite)
    report.run(config.output_dir, report.Options(options.tables))
