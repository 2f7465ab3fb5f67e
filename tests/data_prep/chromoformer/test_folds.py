import pytest

from data_prep.chromoformer.folds import PAPER, assign_folds
from jaxepi.errors import JaxepiError


def test_groups_of_the_paper():
    names = sorted(chrom for chroms in PAPER.values() for chrom in chroms)
    assert names == sorted(f"chr{n}" for n in [*range(1, 23), "X", "Y"])
    assert assign_folds(["paper"], {"chr8": 5, "7": 1, "chrM": 2}) == {"chr8": 1, "7": 2}


def test_balanced():
    folds = assign_folds(["balanced"], {"a": 50, "b": 40, "c": 30, "d": 20, "e": 15, "f": 1})
    assert folds == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 4, "f": 3}


def test_given_groups():
    assert assign_folds(["1=a,b", "4=c"], {"a": 1}) == {"a": 1, "b": 1, "c": 4}
    with pytest.raises(JaxepiError, match="--folds puts b into fold 1 and fold 2"):
        assign_folds(["1=a,b", "2=b"], {})
    for word in ("5=a", "1=", "papers"):
        with pytest.raises(JaxepiError, match=f"--folds {word}: `paper`"):
            assign_folds([word], {})
