"""The pages beside the code say what the code says."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *ROOT.glob("hf_attn_faith/*/README.md"), *ROOT.glob(".github/*.md")]


def test_the_page_of_the_analyses_is_that_of_the_protocol():
    spec = importlib.util.spec_from_file_location("render_pages", ROOT / "scripts" / "render_pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    text = pages.PAGE.read_text(encoding="utf-8")
    assert text == pages.rendered(text), "run python scripts/render_pages.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_a_folder_are_there(page):
    for name in re.findall(r"`([a-z_]+\.py)(?::[^`]*)?`", page.read_text(encoding="utf-8")):
        assert list((ROOT / "hf_attn_faith").rglob(name)) or (ROOT / "scripts" / name).exists(), name
