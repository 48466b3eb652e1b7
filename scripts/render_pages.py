"""Writes what the pages beside the code say of the analyses, from the protocol itself, between their two marks.

python scripts/render_pages.py           # a test holds the pages to it
"""

from pathlib import Path

from hf_attn_faith.analyses.protocol import PROTOCOL

PAGE = Path(__file__).parent.parent / "hf_attn_faith" / "analyses" / "README.md"
BEGIN, END = "<!-- from the protocol -->\n", "<!-- end -->\n"


def analyses() -> str:
    """A section an analysis: what it is called, shows and needs, and what its columns mean."""
    sections = []
    for analysis in PROTOCOL:
        needs = ", ".join(f"`{name}`" for name in (*analysis.requires, *analysis.uses))
        columns = [f"| {', '.join(f'`{c}`' for c in names.split(', '))} | {text} |" for names, text in
                   analysis.columns.items()]  # fmt: skip
        figures = ", ".join(f"`figures/{name}`" for name in analysis.figure_names)
        sections += [
            f"## {analysis.title}: `tables/{analysis.name}`\n",
            f"{analysis.caption}\n",
            *([f"What this cannot say: {analysis.cannot_say}\n"] if analysis.cannot_say else []),
            f"Looks at: {needs}.{f' Draws {figures}.' if figures else ''}\n",
            "\n".join(["| column | meaning |", "|:--|:--|", *columns]) + "\n",
        ]
    return "\n".join(sections)


def rendered(page: str) -> str:
    """The page with what stands between its marks written anew."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + analyses() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
