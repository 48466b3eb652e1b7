"""The page that is sent around: what is in it, what is not, and how it behaves in a browser."""

import base64
import hashlib
import json
import os
import re
import time
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import BASE, SPECS, made_up_run

from hf_attn_faith.analyses.verdicts import PLAIN, in_short
from hf_attn_faith.errors import InputError
from hf_attn_faith.report import build, html
from hf_attn_faith.report.explorer import _tokens, draw
from hf_attn_faith.report.tables import rounded
from hf_attn_faith.specs import ModelSpec

CANARIES = [f"qz{number}canary" for number in range(50)]
PAYLOADS = [
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "${alert(1)}", "{{7*7}}", "\u202eevil",
    "' onclick=alert(1) x='", "&amp;", "a\x0bb",
]  # fmt: skip


def write(run, **options) -> str:
    return html.write(run, build.sections(run), **options).read_text(encoding="utf-8")


class Page(HTMLParser):
    """The elements, the text of scripts, and the cells of each table."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.tables, self.text = [], [], [], ""
        self.tag, self.in_cell = None, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True
        elif tag == "script":
            self.scripts.append("")
        self.tag = tag

    def handle_data(self, data):
        if self.tag == "script":
            self.scripts[-1] += data
        elif self.tables and self.tables[-1] and self.in_cell:
            self.tables[-1][-1][-1] += data
        self.text += data

    def handle_endtag(self, tag):
        self.tag = None
        if tag in ("td", "th"):
            self.in_cell = False


def blob(text) -> bytes:
    (source,) = re.findall(r'<script type="application/json" id="data">"(.*?)"</script>', text)
    return zlib.decompress(base64.b64decode(source))


def columns(packed: bytes) -> dict:
    start = 4 + int.from_bytes(packed[:4], "little")
    found = json.loads(packed[4:start])
    for name, kind, size in found["columns"]:
        found[name] = np.frombuffer(packed, kind, size, start)
        start += found[name].nbytes
    assert start == len(packed)
    return found


def test_no_word_of_the_data_is_in_any_byte_unless_asked_for(tmp_path):
    run = made_up_run(tmp_path / "run", CANARIES)
    text = write(run)
    assert b"canary" not in text.encode() + blob(text) and "holds texts of the data" not in text
    text = write(run, with_text=True)
    assert "holds texts of the data" in text
    told = columns(blob(text))
    assert set(told["words"]) == set(CANARIES)
    # The first carried text, token by token.
    first = 5 * told["index"][0]
    assert [told["words"][token] for token in told["token"][:5]] == [CANARIES[(first + n) % 50] for n in range(5)]


PIECES = ["charm", "##ing", "n", "'", "t"]


def test_pieces_of_words(tmp_path):
    """Which tokens are of one word, and with the texts what it says; a text with an unknown word has tokens alone."""
    run = made_up_run(tmp_path / "run", PIECES)
    told = columns(blob(write(run)))
    assert told["continues"].tolist() == 60 * [0, 1, 0, 0, 0] and "words" not in told and "word" not in told
    told = columns(blob(write(run, with_text=True)))
    for column, first in (("token", PIECES), ("word", ["charming", "charming", *PIECES[2:]])):
        assert [told["words"][place] for place in told[column][:5]] == first
    tokens = _tokens(run.data.tokenizer(), [[2, 3], [2, 3, 0]])
    assert tokens.continues.tolist() == [False, True, False, False, False]
    assert columns(blob(write(made_up_run(tmp_path / "whole", CANARIES)))).get("continues") is None


def test_numbers_are_those_of_the_summaries(tmp_path):
    run = made_up_run(tmp_path / "run", CANARIES)
    page = Page(write(run))
    for name, result in run.results().items():
        if name == "verdicts":
            for row in result.table[result.table.low.notna()].itertuples():
                assert f"{row.estimate:+.3f}" in page.text and f"[{row.low:+.3f}, {row.high:+.3f}]" in page.text
        else:
            cells = rounded(result.table).to_numpy().tolist()
            assert [list(result.table.columns), *cells] in page.tables
    verdicts = run.results()["verdicts"].table
    assert in_short(verdicts) in page.text and "judged on 60 test texts" in page.text
    for row in verdicts[verdicts.state != "not tested"].itertuples():
        assert PLAIN[row.reading][row.state] in page.text


def test_weights_are_those_of_the_prediction_sets(tmp_path):
    run = made_up_run(tmp_path / "run", CANARIES, lengths=1 + np.arange(60) % 7)
    told = columns(blob(write(run)))
    shown = [spec for spec in SPECS if spec.role in ("base", "seed", "adversary")]
    assert [model["name"] for model in told["models"]] == [spec.name for spec in shown]
    attention = [run.predictions(spec).splits()["test"]["token_attention"][:] for spec in shown]
    expected = np.concatenate([of_model[text] for text in told["index"] for of_model in attention])
    assert np.abs((told["weight"] / 255) ** 2 - expected).max() < 0.005
    assert told["length"].tolist() == (1 + np.arange(60) % 7).tolist()
    assert sorted(told["rows"]) == list(range(60))


def test_nothing_of_the_data_is_markup(tmp_path):
    run = made_up_run(tmp_path / "run", PAYLOADS, names=PAYLOADS[:2], dataset_name=PAYLOADS[0])
    text = write(run, with_text=True)
    page = Page(text)
    assert len(page.scripts) == 2 and not [tag for tag, _ in page.elements if tag == "img"]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert f"script-src 'sha256-{digest}'" in policy and policy.startswith("default-src 'none'")
    assert set(columns(blob(text))["words"]) == set(PAYLOADS)


def test_the_budget(tmp_path):
    run = made_up_run(tmp_path / "run", CANARIES, texts=400, lengths=np.full(400, 100))
    whole = columns(blob(write(run)))
    assert len(whole["index"]) == 400
    size = len(write(run).encode())
    smaller = write(run, megabytes=0.8 * size / 1e6)
    assert len(smaller.encode()) <= 0.8 * size
    part = columns(blob(smaller))["index"]
    assert 0 < len(part) < 400 and (part == whole["index"][: len(part)]).all()
    with pytest.raises(InputError, match=r"`report_megabytes` 0\.01 has no room"):
        write(run, megabytes=0.01)


def test_rare_kinds_are_drawn_as_often():
    label = np.repeat([0, 1], [980, 20]).astype(np.uint16)
    columns = {"label": label, "predicted": label, "jsd": np.random.default_rng(0).permutation(1000)}
    first = draw(columns, 0)[:20]
    assert (label[first] == 1).sum() >= 5 and len(set(draw(columns, 0))) == 1000
    assert (draw(columns, 0) == draw(columns, 0)).all() and (draw(columns, 0) != draw(columns, 1)).any()


def test_a_run_without_verdicts_says_so(tmp_path):
    run = made_up_run(tmp_path / "run", CANARIES)
    (tmp_path / "run" / "analyses" / "verdicts" / "stage.json").unlink()
    text = write(run)
    assert "there is no verdict yet" in text and 'class="verdict ' not in text


BIG = [
    BASE,
    *(ModelSpec("seed", seed) for seed in range(1, 3)),
    *(ModelSpec("adversary", s, 0.01, "warm") for s in range(6)),
]


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """25,000 texts of 238 tokens and nine models."""
    lengths = np.random.default_rng(0).integers(20, 457, 25_000)
    run = made_up_run(tmp_path_factory.mktemp("big") / "run", CANARIES, texts=25_000, lengths=lengths, specs=BIG)
    write(run)
    return run


CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM} (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """Open a page of a run; whatever it asks of the network, says on the console, or opens as a dialog, fails."""
    contexts, faults = [], []

    def opened(run, wait=True, fragment="", **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        uri = run.report.resolve().as_uri()
        page.on("request", lambda request: request.url.split("#")[0] != uri and faults.append(request.url))
        page.on("console", lambda message: message.type in ("error", "warning") and faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.goto(uri + fragment)
        if wait:
            page.wait_for_selector("#explorer .token, #explorer .tokens", state="visible")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture(scope="module")
def payload_run(tmp_path_factory):
    run = made_up_run(tmp_path_factory.mktemp("payloads") / "run", PAYLOADS, PAYLOADS[:2], dataset_name=PAYLOADS[0])
    write(run, with_text=True)
    return run


@pytest.mark.slow
def test_with_and_without_javascript(opened, payload_run):
    """No request, no error, no dialog; words and labels as they are."""
    page = opened(payload_run)
    words = page.locator(".model.base .word").all_text_contents()
    assert len(words) == 5 and set(words) <= set(PAYLOADS)
    assert page.locator(".text h3 bdi").text_content() in PAYLOADS
    page.click("text=Next text")
    assert "2 of 60" in page.locator(".steps [role=status]").text_content()
    page = opened(payload_run, wait=False, java_script_enabled=False)
    assert page.locator(".verdict").count() == 4 and page.locator("figure svg").count() >= 3
    assert page.locator("noscript").is_visible() and not page.locator("#explorer").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(opened, payload_run, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = opened(payload_run, color_scheme=scheme)
    # Axe is put into the page by the test, which the policy of the page does not bind.
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(21, 23, 26)" if scheme == "dark" else "rgb(255, 255, 255)"
    )
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme


@pytest.mark.slow
def test_by_keyboard(opened, payload_run):
    """From the top to the next text, along its tokens, and back to the verdicts."""
    page = opened(payload_run)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Next text":
            break
    page.keyboard.press("Enter")
    assert "2 of 60" in page.locator(".steps [role=status]").text_content()
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.tokens') !== null"):
            break
    page.keyboard.press("ArrowRight")
    assert page.locator("#explorer > p[role=status]").text_content().startswith("Token 2: base 0.")
    assert page.locator("li.same").count() == page.locator("#explorer .model").count()
    page.keyboard.press("Tab")  # one stop a text
    assert page.evaluate("document.activeElement.closest('.tokens') === null")
    page.focus("a.skip")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#verdicts"


@pytest.mark.slow
def test_filters_and_their_address(opened, payload_run):
    page = opened(payload_run)
    page.select_option("select[name=outcome]", "wrong")
    page.select_option("select[name=scale]", "shared")
    told = page.locator(".steps [role=status]").text_content()
    base = payload_run.predictions(BASE).splits()["test"]
    wrong = (np.array(base["probabilities"][:]).argmax(1) != np.array(base["label"][:])).sum()
    assert f"of {wrong} carried texts that match ({wrong} of all 60" in told
    again = opened(payload_run, fragment=page.evaluate("location.hash"))
    assert again.locator(".steps [role=status]").text_content() == told
    assert again.locator(".text h3").text_content() == page.locator(".text h3").text_content()


@pytest.mark.slow
def test_words_and_their_pieces(opened, tmp_path):
    run = made_up_run(tmp_path / "run", PIECES)
    write(run, with_text=True)
    page = opened(run, fragment="#view=pieces")

    def shown():
        row = page.locator(".model.base")
        return row.locator(".word").all_text_contents(), [float(w) for w in row.locator(".weight").all_text_contents()]

    words, weights = shown()
    assert len(words) == 5 and words[:2] == ["charm", "##ing"]
    page.select_option("select[name=view]", "words")
    whole, added = shown()
    assert whole == ["charming", *words[2:]] and abs(added[0] - weights[0] - weights[1]) < 0.011


@pytest.mark.slow
def test_a_mark_of_a_figure_shows_its_models(opened, payload_run):
    page = opened(payload_run)
    assert page.locator(".model").count() == 3
    page.locator("[data-models='adversary-0.01-warm']").click()
    names = page.locator(".who strong")
    assert names.all_text_contents() == ["base", "adversary-0.01-warm-0", "adversary-0.01-warm-1"]
    page.locator("[data-models='seed-2']").focus()
    page.keyboard.press("Enter")
    assert names.all_text_contents() == ["base", "seed-2"] and "models=seed-2" in page.evaluate("location.hash")


@pytest.mark.slow
def test_printed(opened, payload_run):
    """What is folded is open, and the carried texts are added."""
    page = opened(payload_run)
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("#appendix .text").count() == 10
    assert page.locator("#reproduce details table").last.is_visible()
    assert not page.locator("nav").is_visible()


@pytest.mark.slow
def test_right_to_left(opened, tmp_path):
    run = made_up_run(tmp_path / "run", ["سيئ", "فيلم", "جيد", "جدا", "هنا"])
    write(run, with_text=True)
    page = opened(run)
    left = [box["x"] for box in (item.bounding_box() for item in page.locator(".model.base .tokens li").all())]
    assert left == sorted(left, reverse=True) and len(left) == 5


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_twenty_labels_and_long_texts(opened, tmp_path, width):
    """Nothing but tables and figures goes beyond the page."""
    lengths = np.full(60, 40)
    lengths[::7] = 5000
    run = made_up_run(tmp_path / "run", CANARIES, [f"a rather long label {n}" for n in range(20)], lengths=lengths)
    write(run, with_text=True)
    page = opened(run, fragment="#order=length-", viewport={"width": width, "height": 800})
    assert page.locator(".model.base .tokens li").count() == 5000
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_a_page_of_25_000_texts(opened, big):
    """Below 5 MB; drawn within a second of the processor's time, whatever else runs."""
    assert big.report.stat().st_size < 5e6
    assert len(columns(blob(big.report.read_text(encoding="utf-8")))["index"]) == 1000
    begun = time.perf_counter()
    page = opened(big)
    waited = time.perf_counter() - begun
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert painted < 1000 * max(1, os.getloadavg()[0] / os.cpu_count()), (painted, waited)
    assert "1,000 of all" not in page.locator(".steps [role=status]").text_content()
    assert "25,000 of all 25,000 match" in page.locator(".steps [role=status]").text_content()
