"""The runbook names commands that there are: nobody should find out at night that one was renamed."""

import re
import shlex
from pathlib import Path

import click
import pytest

from souche.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
BLOCK = re.compile(r"^ *```\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(souche [a-z][^`]*)`")
SUBSTITUTED = re.compile(r"\$\((souche [^)]*)\)")


def _commands() -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    blocks = "\n".join(BLOCK.findall(text)).replace("\\\n", " ")
    lines = [line.strip() for line in blocks.splitlines() if line.strip().startswith("souche ")]
    found = [*lines, *SUBSTITUTED.findall(blocks), *INLINE.findall(BLOCK.sub("", text))]
    return sorted({line.partition(" > ")[0].replace("<", "").replace(">", "") for line in found})


@pytest.mark.parametrize("command_line", _commands())
def test_every_command_of_the_runbook_is_there_with_its_options(command_line: str) -> None:
    words = shlex.split(command_line)[1:]
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no {words[0]}"
        command, words = found, words[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options


def test_the_runbook_is_read() -> None:
    assert len(_commands()) > 15
