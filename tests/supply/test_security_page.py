"""The page on security points to what there is."""

import re

import pytest

from deploy.supply.locks import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:tests|shared|services|deploy|souche)/[\w./]*)`", PAGE)))
LINKED = sorted(set(re.findall(r"\]\(([\w./-]*)(?:#[\w-]*)?\)", PAGE)) - {""})


@pytest.mark.parametrize("path", NAMED)
def test_a_file_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("link", LINKED)
def test_a_page_that_is_linked_is_there(link: str) -> None:
    assert (ROOT / "docs" / link).exists()


@pytest.mark.parametrize(("page", "anchor"), sorted(set(re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", PAGE))))
def test_a_heading_that_is_linked_is_there(page: str, anchor: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8") if page else PAGE
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_chapter_of_the_standard_is_answered() -> None:
    assert [f"### V{number} " in PAGE for number in range(1, 18)] == [True] * 17
