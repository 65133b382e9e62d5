"""The pages are those of the tests as they are."""

import os

import document
import pytest


@pytest.mark.skipif(os.environ.get("WRITE_CLIENTS") == "1", reason="they are written by this run")
@pytest.mark.parametrize("language", document.PAGES)
def test_the_page_is_not_older_than_what_it_is_made_from(language):
    text = document.PAGES[language].read_text()
    assert f"made from {document.digest()}" in text, "run: WRITE_CLIENTS=1 tests/run --only clients"
