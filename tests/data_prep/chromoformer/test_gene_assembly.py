import math

import pytest

from data_prep.chromoformer.contacts import Contacts
from data_prep.chromoformer.gene_assembly import Sources, assemble, target_genes
from jaxepi.errors import JaxepiError
from jaxepi.genome.annotation import Tss
from jaxepi.genome.intervals import Interval

NEAR, FAR = Interval("chr1", 400, 600), Interval("chr1", 9000, 9500)
SITES = {
    "A": [Tss("chr1", 500, True), Tss("chr1", 700, True)],
    "B": [Tss("chr9", 80, False)],
    "C": [Tss("chrM", 10, False)],
    "D": [Tss("chr2", 40, False)],
}


def contacts_of(sites):
    contacts = Contacts()
    contacts.add(NEAR, FAR, 2.5)
    return contacts


def test_genes_that_all_sources_know():
    sources = Sources(SITES, "a.gtf", {"D": 1.0, "B": 2.0, "X": 3.0}, "e.tsv", frozenset("ABD"), "list")
    assert target_genes(sources) == ["B", "D"]
    with pytest.raises(JaxepiError, match=r"e\.tsv \(X \S+\) shares no gene with a\.gtf \(A, B …\)"):
        target_genes(Sources(SITES, "a.gtf", {"X": 3.0}, "e.tsv"))
    with pytest.raises(JaxepiError, match=r"list \(Y …\) shares no gene"):
        target_genes(Sources(SITES, "a.gtf", None, "", frozenset("Y"), "list"))


def test_genes(capsys):
    expression = {"A": 1.0, "B": 3.0, "C": 100.0, "D": 2.0}
    genes = assemble(Sources(SITES, "a.gtf", expression, "e.tsv"), ["paper"], contacts_of, 8)
    # C is in no fold and does not count for the median either.
    assert [(gene.gene_id, gene.fold, gene.label) for gene in genes] == [("A", 1, 0), ("B", 4, 1), ("D", 3, 1)]
    first = genes[0]
    assert (first.chrom, first.tss, first.minus, first.expression) == ("chr1", 500, True, 1.0)
    assert (first.neighbors, first.scores) == ((FAR,), (2.5,)) and genes[1].neighbors == ()
    assert "1 genes on chrM are in no fold: left out" in capsys.readouterr().err


def test_without_expression_and_contacts():
    genes = assemble(Sources(SITES, "a.gtf"), ["balanced"], None, 8)
    assert len(genes) == 4 and all(math.isnan(gene.expression) and gene.label == -1 for gene in genes)
    assert sorted(gene.fold for gene in genes) == [1, 2, 3, 4]


def test_names_of_chromosomes_that_do_not_fit():
    other = {"A": [Tss("NC_1", 5, False)]}
    with pytest.raises(JaxepiError, match=r"no gene of a\.gtf lies on .* it calls them NC_1, .* --folds balanced"):
        assemble(Sources(other, "a.gtf"), ["paper"], None, 8)
    with pytest.raises(JaxepiError, match=r"the contacts lie on chr1 and the genes of a\.gtf on 1: .* --chrom-prefix"):
        assemble(Sources({"A": [Tss("1", 5, False)]}, "a.gtf"), ["paper"], contacts_of, 8)


def test_no_neighbour_at_all_is_worth_a_warning(capsys):
    assemble(Sources({"A": [Tss("chr1", 5, False)]}, "a.gtf"), ["paper"], contacts_of, 8)
    assert "warning: no gene has a neighbour" in capsys.readouterr().err
