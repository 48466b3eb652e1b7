"""Texts that were taken from web pages."""

import html
import re

# The characters whose entities lose their ampersand: quotes, dashes, signs. Other numbers are tickets and the like.
LOST_NUMBERS = "3[4689]|6[02]|14[5-8]|15[01]|16[03]|821[1267]|822[0-2]|8230|8364"
TAG = re.compile(
    # A name and attributes with values, so that "a <b and c> d" is none; a quoted value may hold a ">".
    r"""</?[A-Za-z][\w:-]*(?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?>|<!--.*?-->""",
    re.DOTALL,
)


def remove_markup(text: str) -> str:
    """The text without HTML tags and entities, those that lost their ampersand included; white space collapsed.

    >>> remove_markup("Tuesday #39;s deal &amp; more<br /><br />to come")
    "Tuesday's deal & more to come"
    """
    # A suffix goes back to its word.
    text = re.sub(r"(?<=\w) #39;(?=(?:s|t|d|m|re|ve|ll)\b)", "'", text)
    # What was escaped twice has its ampersand still.
    text = re.sub(rf"(?<!&)(?<!&amp;)#({LOST_NUMBERS});", r"&#\1;", text)
    text = re.sub(r"(?<![&\w])(?<!&amp;)(quot|amp|lt|gt|nbsp);", r"&\1;", text)
    return " ".join(TAG.sub(" ", html.unescape(text)).split())
