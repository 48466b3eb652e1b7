"""How far an audit is."""

from collections.abc import Callable

from tqdm.auto import tqdm

from .stage import Stage


class Progress:
    """One bar over the whole audit, by the cost of its stages."""

    def __init__(self, unfinished: list[Stage], shown: bool):
        self.number, self.total = 0, len(unfinished)
        self.shares: dict[Stage, float] = {}
        self.bar = tqdm(
            total=sum(stage.cost for stage in unfinished) + 1e-6,  # shares do not add up to the last digit
            disable=not shown,
            bar_format="{percentage:3.0f}% |{bar:24}| {elapsed}, {remaining} left: {desc}",
            smoothing=0,  # stages take their time unevenly: by the mean of all so far
        )

    def begun(self, stage: Stage) -> Callable[[float], None]:
        """Tells of a stage that begins; what it returns tells of its share."""
        self.number += 1
        self.bar.set_description_str(f"{stage.name} ({self.number} of {self.total})")
        self.shares[stage] = 0.0

        def tell(share: float) -> None:
            self.bar.update((share - self.shares[stage]) * stage.cost)
            self.shares[stage] = share

        return tell

    def done(self, stage: Stage) -> None:
        self.bar.update((1 - self.shares[stage]) * stage.cost)
        self.shares[stage] = 1.0

    def close(self) -> None:
        self.bar.close()
