"""The app on the loopback interface: what it says of a text, and that a hostile text stays text."""

import sys

import pytest
from helpers.toy import toy_model
from test_heatmap import HOSTILE, Parsed

from hf_attn_faith.cli.main import main
from hf_attn_faith.data.tokenizer import train_word_tokenizer
from hf_attn_faith.errors import InputError
from hf_attn_faith.report.app import LONGEST, NOTE, Models, build_app, compared, launch
from hf_attn_faith.specs import ModelSpec

CHROMIUM = "/usr/bin/chromium"
ADVERSARY = ModelSpec("adversary", 0, 0.02, "warm")


@pytest.fixture(scope="module")
def shown():
    models = {ModelSpec("base"): toy_model(0), ModelSpec("seed", 1): toy_model(1), ADVERSARY: toy_model(2)}
    models[ModelSpec("seed", 2)] = models[ModelSpec("base")]
    return Models(models, train_word_tokenizer(["a good film", "a dull film"]))


def test_what_is_said_of_a_text(shown):
    parsed = Parsed(compared("a good film", shown))
    assert parsed.texts["b"] == ["base", "seed-1", ADVERSARY.name, "seed-2"]
    assert parsed.texts["span"] == ["a", "good", "film"] * 4
    base, seed, adversary, same = parsed.texts["div"]
    assert "TVD" not in base and base.startswith(" p(") and "most weight: " in base
    assert "TVD of the output 0.000; JSD of the attention in nats 0.000; " in same
    tvd = seed.split("TVD of the output ")[1].split(";")[0]
    assert f"the seeds' 0.000 to {tvd})" in adversary and "no explanation" in adversary
    assert "the seeds'" not in seed + same


def test_texts_that_cannot_be_compared(shown):
    with pytest.raises(InputError, match="no word"):
        compared(" \n", shown)
    with pytest.raises(InputError, match="at most 10,000"):
        compared("a" * (LONGEST + 1), shown)


def test_a_run_without_gradio(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["app", str(tmp_path)]) == 2
    assert "pip install 'hf-attn-faith[app]'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def address(shown):
    pytest.importorskip("gradio", reason="the extra `app` is not installed")
    app = build_app(shown, ["a good film", HOSTILE[0]], HOSTILE[0])
    yield launch(app, block=False)
    app.close()


def test_hostile_texts_over_the_wire(address):
    from gradio_client import Client

    client = Client(address, verbose=False)
    assert address.startswith("http://127.0.0.1:")
    assert client.config["analytics_enabled"] is False
    assert any(NOTE in str(component["props"].get("value")) for component in client.config["components"])
    for text in [*HOSTILE, "${alert(1)}"]:
        parsed = Parsed(client.predict(text, api_name="/compare"))
        assert parsed.tags <= {"table", "tr", "td", "span", "div", "b", "p"}
        assert parsed.attributes <= {"style", "title"}
    assert "at most" in client.predict("a" * (LONGEST + 1), api_name="/compare")


@pytest.mark.slow
def test_hostile_texts_in_a_browser(address):
    """Nothing runs, and nothing is asked of another machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as engine:
        try:
            browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        except playwright.Error as error:
            pytest.skip(f"there is no {CHROMIUM}: {error}")
        page, dialogs, asked = browser.new_page(), [], []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        for text in ("<script>alert(1)</script>", "${alert(1)}", "<img src=x onerror=alert(1)>"):
            page.fill("textarea", text)
            page.get_by_role("button", name="Compare").click()
            page.wait_for_function("word => document.querySelector('table td')?.innerText.includes(word)", arg="alert")
        page.get_by_role("radio").first.check()
        page.wait_for_function("document.querySelector('table td')?.innerText.includes('good')")
        assert dialogs == []
        assert all(url.startswith((address, "data:", "blob:")) for url in asked)
        browser.close()
