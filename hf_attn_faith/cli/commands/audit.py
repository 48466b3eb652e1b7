"""
examples:
  hf-attn-faith audit --dataset_name planted --output_dir runs/planted
  hf-attn-faith audit --dataset_name reviews/ --word_vectors crawl-300d-2M.vec --output_dir runs/reviews --dry_run
  hf-attn-faith audit --config runs/reviews/audit.yaml --kl_weights 0.005 0.01 0.02 0.05
  hf-attn-faith audit --config sst.yaml imdb.yaml --num_workers 16    (and a comparison; each names its output_dir)
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


def run(*options: Options) -> None:
    from ...errors import InputError
    from ...run.audit import describe, run_audit, run_audits
    from ...run.store import StageError

    configs = [AuditArguments(**{f.name: getattr(given, f.name) for f in fields(AuditArguments)}) for given in options]
    first, *others = options
    if first.dry_run:
        print(describe(*configs))
        return
    if not others:
        run_audit(configs[0], overwrite=first.overwrite)
        report.run(first.output_dir, report.Options(first.tables))
        return
    ended = run_audits(configs, overwrite=first.overwrite)
    finished = [str(audit.path) for audit, error in ended.items() if error is None]
    if finished:
        report.run(*finished, report.Options(first.tables))
    errors = {audit.path: error for audit, error in ended.items() if error is not None}
    if errors:
        kind = InputError if all(isinstance(error, InputError) for error in errors.values()) else StageError
        told = " ".join(f"({number}) {path}: {error}" for number, (path, error) in enumerate(errors.items(), 1))
        raise kind(f"{len(errors)} of {len(ended)} audits did not end well, the others did. {told}")
