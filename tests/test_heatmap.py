"""Heatmaps: what is shown, in HTML, in a terminal and in pictures, and that hostile text stays text."""

import doctest
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

import hf_attn_faith.figures.heatmap as module
from hf_attn_faith.errors import InputError
from hf_attn_faith.figures.heatmap import by_word, draw, fonts, heatmap, save

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</td></tr></table><iframe>",
    "&lt;b&gt;",
    "$\\frac{1$",
    "\x1b[2J\x1b]0;title\x07",
    "one\ntwo\ttabs",
    "\u202egnp.exe",
    "",
    "混合😀é",
]


class Parsed(HTMLParser):
    """The tags and attributes that a page really has, and its text cell by cell."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts, self.open = set(), set(), {}, []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]][-1] += data


def test_examples_of_the_docstrings():
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


def test_html_shades_tokens_by_weight_on_one_scale():
    shown = heatmap(["so", "dull"], {"base": [0.25, 0.5], "other": torch.tensor([1.0, 0.0])}, title="A text")
    page = shown._repr_html_()
    parsed = Parsed(page)
    assert parsed.texts["span"] == ["so", "dull", "so", "dull"]
    assert parsed.texts["th"] == ["base", "other"]
    assert parsed.texts["caption"] == ["A text"]
    # The shade is the weight over the largest of both models, the title the weight itself.
    for shade, weight in ((0.25, "0.250"), (0.5, "0.500"), (1.0, "1.000"), (0.0, "0.000")):
        assert f"rgba(0, 114, 178, {shade})" in page and f'title="{weight}"' in page


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(text, tmp_path):
    shown = heatmap([text, "fine"], {text: [0.5, 0.5], "other": [0.1, 0.9]}, title=text)
    parsed = Parsed(shown._repr_html_())
    assert parsed.tags <= {"table", "caption", "tr", "th", "td", "span"}
    assert parsed.attributes <= {"style", "title"}
    visible = "".join(character if character.isprintable() else "�" for character in text)
    assert parsed.texts["span"][0] == parsed.texts["th"][0] == visible
    # A terminal gets nothing but lines: no escape sequence, no line of somebody else's.
    lines = str(shown).split("\n")
    assert len(lines) == 3 + (text != "")
    assert all(line.isprintable() for line in lines)
    # Dollars are no formula, angle brackets no SVG.
    shown.save(tmp_path / "picture.svg")
    elements = list(ElementTree.parse(tmp_path / "picture.svg").iter())
    assert {element.tag.split("}")[-1] for element in elements} & {"script", "image", "iframe", "a"} == set()
    assert not any(name.startswith("on") for element in elements for name in element.attrib)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=6), st.text(max_size=8))
def test_any_text_gives_the_same_tags(tokens, name):
    weights = np.full(len(tokens), 0.5)
    tags = Parsed(heatmap(tokens, {name: weights})._repr_html_())
    assert tags.tags <= {"table", "tr", "th", "td", "span"}
    assert len(tags.texts.get("span", [])) == len(tokens)


def test_terminal_columns_are_aligned_also_under_wide_characters():
    lines = str(heatmap(["a", "電影", "film"], {"x": [0.2, 0.5, 0.3], "y": [0.6, 0.0, 0.4]})).split("\n")
    assert lines == [
        "      x                       y",
        "a     0.20 ███████            0.60 ████████████████████",
        "電影  0.50 █████████████████  0.00",
        "film  0.30 ██████████         0.40 █████████████",
    ]
    # One model without a name has no heading.
    assert str(heatmap(["a", "b"], [0.0, 1.0])).split("\n") == ["a  0.00", "b  1.00 ████████████████████"]


def test_pictures_hold_every_token_and_weight(tmp_path):
    tokens = [f"token{number}" for number in range(60)]
    figure = draw(
        [heatmap(tokens, {"base": np.full(60, 1 / 60), "other": np.eye(60)[3]}, title="long"), heatmap([], [])]
    )
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert all(texts.count(token) == 2 for token in tokens)
    assert texts.count(".02") == 60 and texts.count("1.00") == 1
    # No text sticks out of the figure, and no two cells overlap.
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.get_size_inches() * figure.dpi
    for text in figure.axes[0].texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    cells = [patch.get_window_extent() for patch in figure.axes[0].patches]
    assert len(cells) == 120
    assert not any(a.overlaps(b) for n, a in enumerate(cells) for b in cells[:n])
    for suffix in (".png", ".svg"):
        for name in ("a", "b"):
            heatmap(["a", "b"], [0.5, 0.5]).save(tmp_path / f"{name}{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert matplotlib.image.imread(tmp_path / "a.png").std() > 0.01


@pytest.mark.parametrize(
    ("tokens", "weights", "message"),
    [
        (["a", "b"], [0.5], "has the shape (1,) and there are 2 tokens"),
        (["a"], [[1.0]], "has the shape (1, 1) and there are 1 tokens"),
        (["a", "b"], {"base": [0.5, 0.5], "evil": [1.5, -0.5]}, "of 'evil' is -0.5 for token 1 ('b')"),
        (["a", "b"], {"base": [float("nan"), 1]}, "of 'base' is nan for token 0 ('a')"),
        (["a", "b"], [1.0, float("inf")], "token_attention is inf for token 1"),
        (["a"], ["much"], "no sequence of numbers"),
        (["a"], {}, "names no model"),
    ],
)
def test_what_does_not_fit_is_named(tokens, weights, message):
    with pytest.raises(InputError) as error:
        heatmap(tokens, weights)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_pictures_are_svg_or_png(tmp_path):
    with pytest.raises(InputError, match=r"\.svg nor \.png"):
        save([heatmap(["a"], [1.0])], tmp_path / "picture.jpg")


def test_a_font_that_has_the_characters_is_found(tmp_path, caplog, recwarn):
    tifinagh = "ⵜⴰⵎⴰⵣⵉⵖ"
    assert fonts("film é — λ") == ["DejaVu Sans Mono"]
    assert fonts(f"film {tifinagh}") == ["DejaVu Sans Mono", "DejaVu Sans"]
    heatmap(["film", tifinagh], [0.5, 0.5]).save(tmp_path / "found.svg")
    glyphs = re.findall(r'id="DejaVuSans-', (tmp_path / "found.svg").read_text())
    assert len(glyphs) == len(set(tifinagh))
    assert not caplog.messages and not recwarn.list


def test_characters_that_no_font_has_are_told_once(tmp_path, caplog, recwarn):
    letter = "\U00011d67"  # of the script Gunjala Gondi
    heatmap(["film", letter, letter], [0.5, 0.2, 0.3], title=letter).save(tmp_path / "missing.png")
    assert caplog.messages == [f"No installed font has the characters {letter}: install one, such as Noto Sans CJK."]
    assert not recwarn.list


def test_pieces_of_a_word_are_put_together():
    pieces = Tokenizer(WordPiece({"[UNK]": 0, "[CLS]": 1, "charm": 2, "##ing": 3, "film": 4}, unk_token="[UNK]"))
    pieces.pre_tokenizer = Whitespace()
    pieces.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    text = "charming  film"
    words, weights = by_word(text, pieces.encode(text), {"base": [0.0, 0.25, 0.5, 0.25]})
    assert words == ["charming", "film"]
    assert weights == {"base": [0.75, 0.25]}
