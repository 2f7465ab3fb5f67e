"""The frame around every program."""

import errno
import gzip
import sys
import time
import zipfile

import pytest

from jaxepi.console import exit_status, one_sentence_errors, sentence_of
from jaxepi.data.open import find_dataset
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


def test_what_nobody_foresaw_is_one_line_with_how_to_report_it(capsys):
    assert exit_status(raising(RuntimeError("a mistake\nof ours.")), doing="jaxepi eval") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: jaxepi eval failed with RuntimeError: a mistake of ours - ") and "--debug" in line
    assert exit_status(raising(RuntimeError("a mistake")), debug=True) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback") and "in work" in err and err.splitlines()[-1].startswith("error: The program f")
    assert exit_status(raising(JaxepiError("No such file.")), debug=True) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: No such file."


def test_the_line_says_where(capsys):
    assert exit_status(lambda: find_dataset(7)) == 1
    err = capsys.readouterr().err
    assert "The program failed in open.py line " in err and "with TypeError: " in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "x.fa"), "x.fa may not be read or written by this user"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full; make room"),
        (OSError(errno.ENOSPC, "No space left", "out.h5"), "The disk where out.h5 is to be written is full"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x.bw"), "x.bw is a folder, but a file was expected."),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.bw"), "x.bw is not there"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "a/b goes through a file"),
        (OSError(errno.EIO, "Input/output error", "x"), "x cannot be read or written (Input/output error)."),
        (MemoryError(), "The memory is not enough (out of memory)"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), "is not enough (RESOURCE_EXHAUSTED: O"),
        (zipfile.BadZipFile("Bad magic number"), "A packed file that was read is damaged or no whole archive (Bad mag"),
        (KeyError("x"), None),
        (OSError("no number"), None),
    ],
)
def test_what_libraries_often_raise_is_a_sentence(problem, text, capsys):
    found = sentence_of(problem)
    assert found is None if text is None else text in found and "\n" not in found
    assert exit_status(raising(problem)) == (1 if text is None else 2)


def test_a_damaged_file_is_named_though_its_library_does_not(tmp_path, capsys):
    packed, text = tmp_path / "x.tsv.gz", tmp_path / "x.bed"
    packed.write_bytes(b"no gzip at all")
    text.write_bytes(b"chr1\xff")
    assert exit_status(lambda: gzip.open(packed).read() and None) == 2
    assert f"error: {packed} is damaged or no whole archive (Not a gzipped file" in capsys.readouterr().err
    assert exit_status(lambda: text.read_text(encoding="utf-8") and None) == 2
    assert f"error: {text} is no text in UTF-8 (byte 4 of what was read is 0xff)" in capsys.readouterr().err


def test_a_program_without_a_status_leaves_by_itself(capsys):
    with pytest.raises(SystemExit) as end, one_sentence_errors():
        raise JaxepiError("No such file.")
    assert end.value.code == 2 and capsys.readouterr().err == "error: No such file.\n"


def test_a_sentence_is_one_line_whatever_it_quotes():
    assert str(JaxepiError("a\x0cb\u2028c\nd")) == "a b c d"


def test_an_interrupt_in_a_destructor_ends_the_program_too(capsys):
    """Python prints `Exception ignored in` there, and goes on."""

    class Holder:
        def __del__(self):
            raise KeyboardInterrupt

    def work():
        holder = Holder()
        del holder
        for _ in range(1000):
            time.sleep(0.01)

    assert exit_status(work) == 130
    assert capsys.readouterr().err == "interrupted\n"
