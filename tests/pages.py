"""Examples on pages of Markdown are true: fenced Python, run from top to bottom."""

import doctest
import re


def examples(text):
    """The fenced Python of a page, as one text."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))


def are_true(text, name, least=3):
    """Assert that a text's examples give what they show, and that there are some."""
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    said = []
    failed, tried = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert not failed, "".join(said)
    assert tried >= least, name
