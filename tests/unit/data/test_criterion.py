"""The sample log's criterion, on texts whose answer is plain."""

import pytest
from data.criterion import is_one_paragraph


@pytest.mark.parametrize("text", ["Yes.", "Water it weekly. Then wait.", "\nYes.\n", "  Yes.  "])
def test_one_paragraph(text):
    assert is_one_paragraph(text)


@pytest.mark.parametrize("text", ["Yes.\n\nNo.", "Steps:\n1. Dig", "- beans\n- peas", "one\rtwo", "one\r\ntwo", ""])
def test_not_one_paragraph(text):
    assert not is_one_paragraph(text)
