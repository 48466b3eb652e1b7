"""What a model of an audit is. Its name is derived from that, and never taken apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Role = Literal["base", "seed", "uniform", "adversary", "guided"]
Start = Literal["other-seed", "same-seed", "warm"]


@dataclass(frozen=True)
class ModelSpec:
    """A model of an audit.

    Args:
        role: `base`, the classifier under audit; `seed`, the same training under another seed; `uniform`, the same
            with uniform attention; `adversary`; `guided`, a token-wise MLP.
        seed: which of those that differ in their seed alone.
        kl_weight, start: λ and start of an adversary, or of the adversary that guides an MLP.
        guide: the name of the guide (see `guides`) of a guided MLP.

    >>> ModelSpec("adversary", 2, kl_weight=0.02, start="warm").name
    'adversary-0.02-warm-2'
    """

    role: Role
    seed: int = 0
    kl_weight: float | None = None
    start: Start | None = None
    guide: str | None = None

    @property
    def name(self) -> str:
        """Its directory in a run, and the end of its repo's name."""
        return self.role if self.role == "base" else f"{self.group}-{self.seed}"

    @property
    def group(self) -> str:
        """What it has in common with the models that differ from it in their seed alone."""
        return f"guided-{self.guided_by}" if self.role == "guided" else self._adversary or self.role

    @property
    def guided_by(self) -> str | None:
        """The guide as tables name it; an adversary with its λ and start."""
        return self._adversary or self.guide

    @property
    def _adversary(self) -> str | None:
        # Never 1e-05: people read it.
        return None if self.kl_weight is None else f"adversary-{decimal(self.kl_weight)}-{self.start}"

    @property
    def as_adversary(self) -> "ModelSpec":
        """The adversary that guides this MLP; the model itself where it is none of these."""
        guided = self.role == "guided" and self.kl_weight is not None
        return ModelSpec("adversary", self.seed, self.kl_weight, self.start) if guided else self

    @property
    def columns(self) -> dict:
        """What tables say of it beside its name."""
        return {
            "role": self.role,
            "kl_weight": self.kl_weight,
            "start": self.start,
            "guide": self.guided_by if self.role == "guided" else None,
            "seed": self.seed,
        }


def decimal(value: float) -> str:
    """A number in full, without an exponent: 0.00001."""
    return format(Decimal(repr(float(value))).normalize(), "f")


def by_group(specs: Iterable[ModelSpec]) -> dict[str, list[ModelSpec]]:
    """Models that differ in their seed alone, in the order in which they come; the base counts as one of the seeds."""
    groups: dict[str, list[ModelSpec]] = {}
    for spec in specs:
        groups.setdefault("base" if spec.role == "seed" else spec.group, []).append(spec)
    return groups
