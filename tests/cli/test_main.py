"""Every command says what it does, with examples that are commands."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from onnxq.cli.main import app

EXAMPLE = re.compile(r"^ {4}(?:.*\$\()?onnxq ([^>)\n]+)", re.M)


def commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """By the words that call them; of a group those it has."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))
each_command = pytest.mark.parametrize("names", COMMANDS, ids=" ".join)


@each_command
def test_its_examples_are_commands(names: tuple[str, ...]) -> None:
    examples = [tuple(shlex.split(line)) for line in EXAMPLE.findall(COMMANDS[names].help)]
    assert examples
    for words in examples:
        assert words[: len(names)] == names
        COMMANDS[names].make_context(" ".join(names), list(words[len(names) :])).close()  # a usage error is raised


@each_command
def test_every_option_says_what_it_is(names: tuple[str, ...]) -> None:
    assert [entry.name for entry in COMMANDS[names].params if not getattr(entry, "help", None)] == []


def test_the_first_help_has_the_exit_codes_and_an_example() -> None:
    said = " ".join((typer.main.get_command(app).help or "").split())
    assert "Exit codes: 0 done; 1 " in said and "onnxq quantize digits_mobilenet" in said
