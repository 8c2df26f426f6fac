"""Every command that the pages tell somebody to type is one that the command line takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from souche.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(souche [^`\n]+)`")
_ID = "019e2f0c-6a41-7c1e-9d2b-0d3c5a4f1b22"


def commands() -> Iterator[tuple[str, str]]:
    """The page and the command; `…` stands for arguments that are not said, and is no command to type."""
    for page in PAGES:
        text = re.sub(r"^ {1,3}", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        fenced = "\n".join(_FENCED.findall(text)).replace("\\\n", " ")
        typed = [line.strip() for line in fenced.splitlines() if line.strip().startswith("souche ")]
        for command in dict.fromkeys([*typed, *_INLINE.findall(_FENCED.sub("", text))]):
            if "…" not in command:
                yield page.name, command


def _arguments(command: str) -> list[str]:
    words = re.sub(r"<[^>]+>", _ID, re.split(r" [>|#] ?| {2,}", command)[0])
    return shlex.split(words)[1:]


@pytest.mark.parametrize(("page", "command"), list(commands()))
def test_a_command_of_the_pages_is_taken(page: str, command: str) -> None:
    words = _arguments(command)
    found: click.Command = main
    context = click.Context(main)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        inner = found.get_command(context, words[0])
        assert inner is not None, f"{page}: there is no command {words[0]!r}"
        found, words = inner, words[1:]
    _parse(page, found, words)


def _parse(page: str, command: click.Command, words: list[str]) -> None:
    """What is named in passing, without its options and arguments, is only looked up."""
    if not words:
        return
    try:
        command.make_context(command.name, words)
    except click.exceptions.MissingParameter:
        return  # a command may be named by the one option that matters there
    except click.BadParameter:
        return  # a file that is not here, an id that stands for another
    except click.UsageError as error:
        pytest.fail(f"{page}: {error.format_message()}")
