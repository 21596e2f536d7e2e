"""Every command says what it does, with examples that are commands."""

import re
import shlex

import pytest
import typer.main

from onnxq.cli.main import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
EXAMPLE = re.compile(r"^ +onnxq (.+)$", re.M)


@pytest.mark.parametrize("name", COMMANDS)
def test_its_examples_are_commands(name: str) -> None:
    command = COMMANDS[name]
    examples = [shlex.split(line) for line in EXAMPLE.findall(command.help)]
    assert examples
    for words in examples:
        assert words[0] == name
        with command.make_context(name, words[1:]) as context:  # a usage error is raised
            assert context.params


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is(name: str) -> None:
    assert [entry.name for entry in COMMANDS[name].params if not getattr(entry, "help", None)] == []


def test_the_first_help_has_the_exit_codes_and_an_example() -> None:
    said = " ".join((typer.main.get_command(app).help or "").split())
    assert "Exit codes: 0 done; 1 " in said and "onnxq quantize digits_mobilenet" in said
