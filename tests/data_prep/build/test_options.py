"""Options that all commands share: what was typed, what would do nothing, and Beam's runners."""

import argparse

import numpy as np
import pytest

from data_prep.build.options import check_least, check_running, parse_options, refuse_beside, refuse_unused
from jaxepi.errors import JaxepiError


@pytest.fixture
def parser():
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=5)
    p.add_argument("--words", nargs="+", default=["a"])
    p.add_argument("--flag", action="store_true")
    return p


def test_typed_options_are_told_from_defaults(parser):
    args, typed = parse_options(parser, ["--seed", "5", "--words", "a"])
    assert (args.seed, args.words, args.flag) == (5, ["a"], False) and typed == {"seed", "words"}
    assert parse_options(parser, [])[1] == frozenset() and parse_options(parser, ["--flag"])[1] == {"flag"}


def test_options_that_do_nothing():
    refuse_unused({"seed"}, [(True, "--draw", ["seed"]), (False, "--draw", ["other"])])
    with pytest.raises(JaxepiError, match="--my-seed does nothing without --draw: leave it out, or add --draw"):
        refuse_unused({"my_seed"}, [(False, "--draw", ["other", "my_seed"])])
    with pytest.raises(JaxepiError, match="--train-chroms does nothing beside --regions: leave one of them out"):
        refuse_beside({"train_chroms"}, "--regions", ["train_chroms"])


def test_least_values():
    check_least(argparse.Namespace(a=1, b=None), {"a": 1, "b": 5})
    with pytest.raises(JaxepiError, match="--the-number is nan: a number of at least 0 was expected"):
        check_least(argparse.Namespace(the_number=float("nan")), {"the_number": 0})


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--seed", 3], "--seed does nothing without --windows random:N"),
        (["--windows", "train=random:9", "--seed", -1], "--seed is -1"),
        (["--windows", "train=random:9", "--seed", 1 << 32], "--seed is 4294967296"),
        (["--windows", "random:5", "--stride", 100], "--stride does nothing without --windows tiles"),
        (["--blacklist-treatment", "zero"], "--blacklist-treatment does nothing without --blacklist"),
        (["--max-n-fraction", "nan"], "--max-n-fraction is nan"),
        (["--beam-options", "a=b"], "--beam-options are those of a --beam-runner"),
    ],
)
def test_ignored_options_of_melody_are_refused(world, prepare, more, sentence):
    status, _, err = prepare(world.argv(world.folder / "d", *more))
    assert status == 2 and sentence in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["Foo", "foo.Bar", "apache_beam.Nothing"])
def test_runners_that_beam_does_not_have(name):
    pytest.importorskip("apache_beam")
    with pytest.raises(JaxepiError, match=rf"--beam-runner {name} is no runner that Apache Beam has here"):
        check_running(argparse.Namespace(beam_runner=name, beam_options=[], processes=0))


def test_errors_of_beam_are_one_sentence(world, tools, prepare):
    pytest.importorskip("apache_beam")
    at = np.array([500])
    odd = tools.write_bigwig(world.folder / "odd.bw", world.lengths, {"chr8": (at, at + 1, np.array([1.7]))})
    beam = ["--beam-runner", "DirectRunner"]
    status, _, err = prepare(world.argv(world.folder / "d", "--bigwigs", odd, *beam))
    assert status == 2 and len(err.splitlines()) == 1 and "odd.bw has the value 1.7 at chr8:500-501" in err
    assert "while running" not in err
    status, _, err = prepare(world.argv(world.folder / "d", *beam, "--beam-options", "direct_num_workers=abc"))
    assert status == 2 and len(err.splitlines()) == 1 and "direct_num_workers: invalid int value: 'abc'" in err
