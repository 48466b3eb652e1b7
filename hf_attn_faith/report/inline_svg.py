"""A figure as SVG inside a page: real text, the page's colours, and names that no other figure of the page has."""

import io
import re
import xml.etree.ElementTree as ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

from ..figures.style import named_marks

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# What is drawn in greys follows the page's light or dark.
VARIABLES = {
    "#000000": "--ink", "#ffffff": "--paper", "#555555": "--soft", "#666666": "--soft", "#999999": "--soft",
    "#cccccc": "--line", "#dddddd": "--line", "#b0b0b0": "--line",
}  # fmt: skip


def inline_svg(figure: Figure, name: str, title: str) -> Markup:
    """The SVG element of a figure.

    Args:
        name: put before every id of the figure.
        title: what a screen reader says of it.
    """
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    # A label may hold what XML does not.
    root = ElementTree.fromstring(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "�", file.getvalue().decode()))
    # The style sheet would be the whole page's, the metadata are nobody's.
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}style", f"{{{SVG}}}metadata") or child.tag.endswith("}metadata"):
                parent.remove(child)
    for element in root.iter():
        if names := named_marks(element.get("id", "")):
            for use, mark in zip(element.iter(f"{{{SVG}}}use"), names, strict=True):
                use.set("data-models", mark)
        for key, value in element.attrib.items():
            if key == "id":
                value = f"{name}-{value}"
            elif key == f"{{{XLINK}}}href":
                value = value.replace("#", f"#{name}-", 1)
            else:
                value = value.replace("url(#", f"url(#{name}-")
            if key == "style":
                value = re.sub("#[0-9a-f]{6}", lambda match: _variable(match[0]), value)
            element.set(key, value)
    root.attrib |= {"role": "img", "aria-label": title}
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _variable(colour: str) -> str:
    return f"var({VARIABLES[colour]})" if colour in VARIABLES else colour
