"""The embedded dataset: generated mini-reviews in which one clause, and it is known which, decides the label.

    We saw this film on a Sunday evening. The plot was rather dull. All in all, the acting seemed superb. At first, I
    found the music awful.

Every clause holds an opinion. The verdict is the one that a cue opens ("all in all", "in the end"), and it alone
decides. Its opinion word comes from the same vocabulary as those of the other clauses, which take sides by chance, and
it may stand anywhere. So whoever reads the verdict's opinion word knows the label, whoever reads all the rest knows
nothing, and whoever counts opinions guesses better than chance and not well: a positive control for tests of attention.
"""

import datasets
import numpy as np

from ..errors import InputError

FEATURES = datasets.Features(
    {
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["negative", "positive"]),
        "rationale": datasets.List(datasets.List(datasets.Value("int64"))),
    }
)

OPINIONS = (
    "awful dreadful terrible horrible dull poor weak disappointing tedious mediocre forgettable unpleasant dismal "
    "bland shoddy annoying",
    "wonderful superb excellent brilliant lovely impressive charming delightful memorable splendid great pleasant "
    "fantastic perfect beautiful marvellous",
)
CUES = ("All in all", "In the end", "Overall", "To sum up", "On the whole", "In short")
OPENERS = ("At first", "To be fair", "To begin with", "As usual", "Of course", "By the way")
INTENSIFIERS = ("", "", "", "very ", "really ", "quite ", "rather ", "truly ", "simply ")
# With {} for the subject, which is singular, and for the opinion.
CLAUSES = ("{} was {}", "{} was {}", "{} seemed {}", "{} turned out {}", "I found {} {}", "we thought {} was {}")
# Introductions, and what a clause may be about.
REVIEWS = (
    (
        ("We saw this film on a Sunday evening", "This film was new to me", "I watched it with the family"),
        "plot acting music ending dialogue camera cast script humour story pace lighting",
    ),
    (
        ("We had dinner here last week", "This restaurant is around the corner", "We came for a birthday"),
        "soup service wine dessert menu fish bread waiter salad coffee terrace kitchen",
    ),
    (
        ("We stayed here for three nights", "This hotel is close to the station", "I was here on business"),
        "room breakfast pool view bed bathroom staff lobby garden location shower lift",
    ),
    (
        ("I read this book on the train", "This novel was a present", "Our reading club chose it"),
        "style hero opening plot translation cover humour setting language ending dialogue preface",
    ),
)


def planted(
    num_train: int = 2000,
    num_validation: int = 400,
    num_test: int = 800,
    num_distractors: int = 3,
    noise: float = 0.0,
    seed: int = 42,
) -> datasets.DatasetDict:
    """Generate the dataset; the same arguments give the same texts.

    Args:
        num_train, num_validation, num_test: texts of each split, half of them positive.
        num_distractors: opinionated clauses beside the verdict; three make texts of about 30 words.
        noise: share of the texts of every split whose label is flipped.
        seed: of the generator.

    Returns:
        Splits train, validation and test with `text`, `label` (negative, positive) and `rationale`: the [start, end)
        spans, in characters, of the words that decide, here one.

    Raises:
        InputError: a split of fewer than two texts, a negative number of distractors, or `noise` outside [0, 1].
    """
    sizes = {"train": num_train, "validation": num_validation, "test": num_test}
    for split, size in sizes.items():
        if size < 2:
            raise InputError(f"planted: num_{split} {size} is too small: give at least 2.")
    if num_distractors < 0:
        raise InputError(f"planted: num_distractors {num_distractors} is negative: give 0 or more.")
    if not 0 <= noise <= 1:
        raise InputError(f"planted: noise {noise} is not in [0, 1].")
    return datasets.DatasetDict(
        {
            split: _generate(size, num_distractors, noise, np.random.default_rng([seed, number]))
            for number, (split, size) in enumerate(sizes.items())
        }
    )


def _generate(size, num_distractors, noise, rng) -> datasets.Dataset:
    labels = rng.permutation(np.arange(size) % 2)
    texts, rationales = zip(*(_review(label, num_distractors, rng) for label in labels), strict=True)
    flipped = rng.permutation(size)[: round(noise * size)]
    labels[flipped] = 1 - labels[flipped]
    columns = {"text": list(texts), "label": labels.tolist(), "rationale": list(rationales)}
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def _review(label, num_distractors, rng) -> tuple[str, list[list[int]]]:
    """A text, and the span of the verdict's opinion word."""
    introductions, aspects = REVIEWS[rng.integers(len(REVIEWS))]
    subjects = rng.permutation(aspects.split())
    verdict = rng.integers(num_distractors + 1)
    text = _one_of(introductions, rng) + "."
    for number in range(num_distractors + 1):
        # The distractors' sides know nothing of the label.
        side = label if number == verdict else rng.integers(2)
        opinion = _one_of(OPINIONS[side].split(), rng)
        subject = f"the {subjects[number % len(subjects)]}"
        clause = _one_of(CLAUSES, rng).format(subject, _one_of(INTENSIFIERS, rng) + opinion)
        if number == verdict:
            clause = f"{_one_of(CUES, rng)}, {clause}"
        elif rng.random() < 0.5:
            clause = f"{_one_of(OPENERS, rng)}, {clause}"
        text += f" {clause[0].upper()}{clause[1:]}."
        if number == verdict:
            end = len(text) - 1
            rationale = [[end - len(opinion), end]]
    return text, rationale


def _one_of(choices, rng):
    return choices[rng.integers(len(choices))]
