"""The frame around every program."""

import sys

import pytest

from jaxepi.console import exit_status, one_sentence_errors
from jaxepi.errors import JaxepiError


def raising(problem):
    def work():
        raise problem

    return work


def test_status_and_sentence(capsys):
    assert exit_status(lambda: None) == 0 and exit_status(lambda: 3) == 3
    assert exit_status(raising(JaxepiError("No such file."))) == 2
    assert capsys.readouterr().err == "error: No such file.\n"
    assert exit_status(raising(KeyboardInterrupt()), interrupted="stopped") == 130
    assert capsys.readouterr().err == "stopped\n"
    assert exit_status(lambda: sys.exit(0)) == 0 == exit_status(sys.exit) and exit_status(lambda: sys.exit("no")) == 1
    with pytest.raises(RuntimeError):
        exit_status(raising(RuntimeError("a mistake of ours")))


def test_a_program_without_a_status_leaves_by_itself(capsys):
    with pytest.raises(SystemExit) as end, one_sentence_errors():
        raise JaxepiError("No such file.")
    assert end.value.code == 2 and capsys.readouterr().err == "error: No such file.\n"


def test_a_sentence_is_one_line_whatever_it_quotes():
    assert str(JaxepiError("a\x0cb\u2028c\nd")) == "a b c d"
