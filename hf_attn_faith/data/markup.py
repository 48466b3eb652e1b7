"""Texts that were taken from web pages."""

import html
import re


def remove_markup(text: str) -> str:
    """The text without HTML tags and entities, those that lost their ampersand included; white space collapsed.

    >>> remove_markup("Tuesday #39;s deal &amp; more<br /><br />to come")
    "Tuesday's deal & more to come"
    """
    # A suffix goes back to its word.
    text = re.sub(r"(?<=\w) #39;(?=(?:s|t|d|m|re|ve|ll)\b)", "'", text)
    text = re.sub(r"(?<!&)#(\d{2,4});", r"&#\1;", text)
    text = re.sub(r"(?<![&\w])(quot|amp|lt|gt|nbsp);", r"&\1;", text)
    text = re.sub(r"</?[A-Za-z][^<>]*>|<!--.*?-->", " ", html.unescape(text))
    return " ".join(text.split())
