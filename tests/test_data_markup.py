"""Texts of web pages."""

import datasets
import pytest
from helpers.tables import frame, write

from hf_attn_faith.data.sources import load_text_classification, remove_markup


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("A film.<br /><br />Good", "A film. Good"),
        ("<p class='x'>a &amp; b</p>", "a & b"),
        ("tuesday #39;s don #39;t #36;5 a quot;b quot; AT amp;T", "tuesday's don't $5 a \"b \" AT &T"),
        ("&lt;b&gt;bold&lt;/b&gt; &#39;x&#39;", "bold 'x'"),
        ("I <3 it, 1 < 2 > 0; #1; #hash; R&D;", "I <3 it, 1 < 2 > 0; #1; #hash; R&D;"),
    ],
)
def test_markup(tmp_path, text, clean):
    assert remove_markup(text) == clean
    folder = write(tmp_path / "data", train=frame(), test=frame(2, text=[text, "x"]))
    assert load_text_classification(folder, clean_markup=True)["test"]["text"][0] == clean
    assert load_text_classification(folder)["test"]["text"][0] == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("ticket #1234; it is issue #404; now", None),
        ("Tom &amp;amp; Jerry", "Tom &amp; Jerry"),
        ("say &amp;#39;x&amp;#39; and &amp;quot;", "say &#39;x&#39; and &quot;"),
        ("if a <b and c> d then", None),
        ("#8217;s and #151; and #145;s", "’s and — and ‘s"),
        ("<a href='x>y' class=z>link</a><br/>on", "link on"),
    ],
)
def test_what_is_no_markup_stays(text, clean):
    assert remove_markup(text) == (text if clean is None else clean)
