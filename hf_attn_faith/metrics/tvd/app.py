"""The page of the Space: rows of weights in two boxes, the TVD of each pair of rows."""

import gradio as gr
from tvd import Tvd

from tests import test_cases


def rows(text):
    return [[float(weight) for weight in line.replace(",", " ").split()] for line in text.splitlines() if line.strip()]


def text(distributions):
    return "\n".join(" ".join(map(str, row)) for row in distributions)


def compare(predictions, references):
    """What the metric says, or why it says nothing."""
    try:
        result = Tvd(keep_in_memory=True).compute(
            predictions=rows(predictions), references=rows(references), per_instance=True
        )
    except ValueError as error:
        return str(error)
    values = "\n".join(f"row {number}: {value:.4f}" for number, value in enumerate(result["tvd_per_instance"]))
    return f"{values}\nmean: {result['tvd']:.4f}"


page = gr.Interface(
    compare,
    [gr.Textbox(label=name, lines=4, placeholder="0.2 0.3 0.5") for name in ("predictions", "references")],
    gr.Textbox(label="TVD", lines=4),
    examples=[[text(case["predictions"]), text(case["references"])] for case in test_cases],
    title="TVD",
    description="One distribution a line, its weights separated by spaces; the boxes are compared line by line.",
    flagging_mode="never",
)

if __name__ == "__main__":
    page.launch()
