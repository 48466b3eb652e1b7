"""Token attention as a picture: one text, the weights of one or several models."""

import html
import logging
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..errors import InputError

logger = logging.getLogger(__name__)

RGB = (0, 114, 178)  # of Okabe and Ito, as in the figures
BAR = 20  # characters of the longest bar in a terminal
FONT_SIZE = 9  # points
ROOM = 88  # characters of tokens in a line of a picture
FONT = "DejaVu Sans Mono"  # comes with matplotlib
STYLE = {"font.size": FONT_SIZE, "svg.hashsalt": "hf_attn_faith"}


def heatmap(tokens: Sequence[str], token_attention, title: str | None = None) -> "Heatmap":
    """The token attention of one text: HTML in a notebook, plain text where printed, a file by `save`.

    Shades and bars are scaled to the largest weight shown, the same for all models. Tokens and names are shown as they
    are, whatever they contain; characters without a shape (line breaks, say) as `�`.

    Args:
        tokens: T tokens.
        token_attention: T weights ≥ 0, a list, array or tensor; or a mapping from names of models to such.
        title: a line above.

    Raises:
        InputError: another number of weights than of tokens, or a weight that is negative or no finite number; names
            the model and the token.

    Example:
        >>> print(heatmap(["a", "dull", "film"], {"base": [0.1, 0.8, 0.1], "adversary": [0.9, 0.0, 0.1]}))
              base                     adversary
        a     0.10 ██                  0.90 ████████████████████
        dull  0.80 ██████████████████  0.00
        film  0.10 ██                  0.10 ██
    """
    if not isinstance(token_attention, Mapping):
        token_attention = {"": token_attention}
    if not token_attention:
        raise InputError("token_attention names no model: give the weights of at least one.")
    tokens = [str(token) for token in tokens]
    weights = {str(name): _weights(str(name), tokens, values) for name, values in token_attention.items()}
    return Heatmap(tokens, weights, title)


def by_word(text: str, encoding, token_attention: Mapping[str, Sequence[float]]) -> tuple[list[str], dict]:
    """Tokens and weights for `heatmap`, the pieces of a word put together and their weights added; special tokens,
    which are of no word, left out.

    Args:
        text: what was encoded.
        encoding: the `tokenizers.Encoding` of it, such as `tokenizer([text])[0]`.
        token_attention: from names of models to a weight for each token.
    """
    words = words_of(text, encoding)
    weights = {
        name: [sum(w for w, of in zip(row, encoding.word_ids, strict=True) if of == word) for word in words]
        for name, row in token_attention.items()
    }
    return list(words.values()), weights


def words_of(text: str, encoding) -> dict[int, str]:
    """The words of a text, by the numbers that `encoding.word_ids` has for their pieces."""
    spans: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
        if word is not None:
            spans[word] = (min(start, spans[word][0]), max(end, spans[word][1])) if word in spans else (start, end)
    return {word: text[start:end].strip() for word, (start, end) in spans.items()}


def _weights(name: str, tokens: list[str], values) -> np.ndarray:
    whose = f"token_attention of {name!r}" if name else "token_attention"
    try:
        weights = torch.as_tensor(values, dtype=torch.float64).detach().cpu().numpy()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{whose} is no sequence of numbers ({error}): give one weight for each token.") from error
    if weights.shape != (len(tokens),):
        raise InputError(
            f"{whose} has the shape {weights.shape} and there are {len(tokens)} tokens: give one weight for each "
            "token of one text, without padding."
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise InputError(
            f"{whose} is {weights[wrong[0]]} for token {wrong[0]} ({tokens[wrong[0]]!r}): give finite weights ≥ 0, "
            "probabilities and not their logarithms."
        )
    return weights


@dataclass(frozen=True)
class Heatmap:
    """One text's tokens and the weights of each model, (T,); see `heatmap`."""

    tokens: list[str]
    token_attention: dict[str, np.ndarray]
    title: str | None = None

    @property
    def shades(self) -> dict[str, np.ndarray]:
        """Weights over the largest of all models, in [0, 1]."""
        largest = max(weights.max(initial=0) for weights in self.token_attention.values())
        return {name: weights / (largest or 1) for name, weights in self.token_attention.items()}

    def _repr_html_(self) -> str:
        rows = []
        for name, shades in self.shades.items():
            spans = " ".join(
                f'<span title="{weight:.3f}" style="padding:1px 3px;border-radius:2px;'
                f'color:{"#fff" if shade > 0.9 else "#000"};background:rgba{(*RGB, round(float(shade), 3))}">'
                f"{html.escape(printable(token))}</span>"
                for token, weight, shade in zip(self.tokens, self.token_attention[name], shades, strict=True)
            )
            style = "text-align:right;vertical-align:top;white-space:nowrap"
            head = f'<th style="{style}">{html.escape(printable(name))}</th>' if any(self.token_attention) else ""
            rows.append(
                f'<tr style="background:#fff">{head}<td style="text-align:left;line-height:1.7">{spans}</td></tr>'
            )
        # A notebook's dark theme colours what has no colour of its own.
        style = "color:#000;background:#fff"
        caption = f'<caption style="{style}">{html.escape(printable(self.title))}</caption>' if self.title else ""
        return f'<table style="{style}">{caption}{"".join(rows)}</table>'

    def __str__(self) -> str:
        columns = [["", *map(printable, self.tokens)]]
        for name, shades in self.shades.items():
            bars = ("█" * round(BAR * shade) for shade in shades)
            cells = (f"{w:.2f} {bar}" for w, bar in zip(self.token_attention[name], bars, strict=True))
            columns.append([printable(name), *cells])
        widths = [max(map(_width, column)) for column in columns]
        lines = [
            "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in zip(*columns, strict=True)
        ]
        heading = [printable(self.title)] if self.title else []
        return "\n".join([*heading, *(lines if any(self.token_attention) else lines[1:])])

    def save(self, path: str | Path) -> None:
        """Writes a picture, `.svg` or `.png`. Raises `InputError` for another suffix."""
        save([self], path)


def save(heatmaps: Iterable[Heatmap], path: str | Path) -> None:
    """Writes the heatmaps of several texts into one picture, one below the other."""
    path = Path(path)
    if path.suffix not in (".svg", ".png"):
        raise InputError(f"{path} is neither .svg nor .png: give a path that ends in one of them.")
    heatmaps = list(heatmaps)
    text = "".join(chain.from_iterable([h.title or "", *h.tokens, *h.token_attention] for h in heatmaps))
    with matplotlib.rc_context(STYLE | {"font.family": fonts(printable(text))}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # `fonts` has told it
        # The same heatmaps give the same file.
        options = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 160}
        draw(heatmaps).savefig(path, **options)


def fonts(text: str) -> list[str]:
    """The font of pictures and, where it lacks characters of a text, installed ones that have them."""
    found, missing = [FONT], set(map(ord, text)) - _characters(font_manager.findfont(FONT))
    others = {
        font.name: font.fname
        for font in font_manager.fontManager.ttflist
        # Matplotlib's last resort has a box for every character.
        if font.style == "normal" and font.weight == 400 and not font.name.startswith("Last Resort")
    }
    while missing:
        name = max(others, key=lambda name: len(missing & _characters(others[name])))
        if not missing & _characters(others[name]):
            shown = "".join(map(chr, sorted(missing)[:10]))
            logger.warning("No installed font has the characters %s: install one, such as Noto Sans CJK.", shown)
            break
        found.append(name)
        missing -= _characters(others[name])
    return found


@cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(path).get_charmap())


def draw(heatmaps: Iterable[Heatmap]) -> Figure:
    """A figure of the texts one below the other: cells with the tokens, shaded, and the weights below them. The models'
    rows stand below each other, and long texts go on in the next line."""
    heatmaps = list(heatmaps)
    names = [_short(name) for heatmap in heatmaps for name in heatmap.token_attention]
    left = max(map(_width, names)) + 1 if any(names) else 0.3
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    # Text is never mathematics here, whatever dollars it contains.
    plain = {"parse_math": False, "va": "center"}
    y, width = 0.5, 0.0
    for heatmap in heatmaps:
        if heatmap.title:
            title = _short(heatmap.title, ROOM)
            axes.text(0.3, y + 0.5, title, weight="bold", **plain)
            y, width = y + 1.3, max(width, _width(title) + 0.3)
        for start, ends in _lines(heatmap.tokens):
            for name, shades in heatmap.shades.items():
                axes.text(left - 0.5, y + 0.5, _short(name), ha="right", **plain)
                x = left
                for number, end in enumerate(ends, start):
                    shade, weight, size = shades[number], heatmap.token_attention[name][number], left + end - x - 0.3
                    colour = (*(value / 255 for value in RGB), shade)
                    axes.add_patch(Rectangle((x, y), size, 1, facecolor=colour, edgecolor="#cccccc", linewidth=0.4))
                    at = {"x": x + size / 2, "ha": "center", **plain}
                    token = _short(heatmap.tokens[number])
                    axes.text(y=y + 0.5, s=token, color="white" if shade > 0.9 else "black", **at)
                    if weight >= 0.005:
                        figures = f"{weight:.2f}".removeprefix("0")
                        axes.text(y=y + 1.3, s=figures, size=0.72 * FONT_SIZE, color="#555555", **at)
                    x = left + end
                y, width = y + 1.9, max(width, x)
            y += 0.3
        y += 0.4
    # A character is 0.602 of the font's size wide; a line gets 1.45 of it.
    width, height = width + 0.2, y - 0.2
    axes.set(xlim=(0, width), ylim=(height, 0))
    figure.set_size_inches(width * 0.602 * FONT_SIZE / 72, height * 1.45 * FONT_SIZE / 72)
    return figure


def _lines(tokens: list[str]) -> Iterable[tuple[int, list[float]]]:
    """The lines tokens fill: the number of the first token, and where each one's cell ends, in characters."""
    start, ends = 0, []
    for number, token in enumerate(tokens):
        width = max(_width(_short(token)), 2) + 1.3
        if ends and ends[-1] + width > ROOM:
            yield start, ends
            start, ends = number, []
        ends.append((ends[-1] if ends else 0) + width)
    if ends:
        yield start, ends


def printable(text: str) -> str:
    """Without characters that would move the cursor, break the line or turn the direction of what follows."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _short(name: str, length: int = 24) -> str:
    name = printable(name)
    return name if len(name) <= length else name[: length - 1] + "…"


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
