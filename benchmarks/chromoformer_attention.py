"""Which number tells the contacts that matter, on made-up genes whose rules are known; one JSON line.

    python benchmarks/chromoformer_attention.py --workdir runs/sample [--split fold1]

The run was trained on genes of `python -m data_prep chromoformer-sample`. Half of their contacts are active, and only
the share of active contacts raises the expression. For all pairs of an active and another contact of one gene: how
often does the active one have the higher attention, effect or score?
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

import jaxepi
from jaxepi.config import dataset_source
from jaxepi.console import one_sentence_errors
from jaxepi.data.open import find_dataset
from jaxepi.data.subset import choose_records
from jaxepi.systems.chromoformer.attention import Contact, GeneAttention, attend, of_genes

MARK = "H3K27ac"  # of active fragments
DEPTH = 1.0  # mean depth of a fragment; 0.5 without the mark
NUMBERS = {
    "attention": lambda contact: contact.attention,
    "effect": lambda contact: contact.effect,
    "score": lambda contact: contact.score,
}


def active(gene: GeneAttention, column: int, resolution: int) -> np.ndarray:
    """Whether each contact of a gene, in the order of its record, carries the active mark (S,)."""
    lengths = np.asarray(gene.record["pcre_length"])
    ends = np.cumsum(-(-lengths // resolution))
    totals = [part[:, column].sum() for part in np.split(np.asarray(gene.record["pcre_sum"], float), ends[:-1])]
    return np.array(totals) / lengths > DEPTH


def pairs(gene: GeneAttention, column: int, resolution: int) -> Iterator[tuple[Contact, Contact]]:
    """Every (active contact, other contact) of a gene."""
    if not gene.contacts:
        return
    marked = active(gene, column, resolution)
    for one in gene.contacts:
        for other in gene.contacts:
            if marked[one.number] and not marked[other.number]:
                yield one, other


def run(workdir: Path, split: str) -> dict[str, object]:
    """Shares of pairs in which the active contact has the higher number."""
    predictor = jaxepi.load(workdir)
    dataset = find_dataset(**dataset_source(predictor.config))
    task, chosen = predictor.for_dataset(dataset.manifest), choose_records(dataset, split)
    column, found = list(dataset.manifest["marks"]).index(MARK), []
    batches = predictor.over(chosen.records, task, attend, 64)
    for records, attention in tqdm(batches, total=-(-len(chosen) // 64), file=sys.stderr):
        for gene in of_genes(records, attention, task):
            found += pairs(gene, column, task.resolution)
    shares = {name: float(np.mean([of(one) > of(other) for one, other in found])) for name, of in NUMBERS.items()}
    return {"benchmark": "chromoformer_attention", "genes": len(chosen), "pairs": len(found)} | {
        f"active_has_higher_{name}": round(share, 4) for name, share in shares.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="of a run on the made-up genes")
    parser.add_argument("--split", default="fold1", help="the fold that the run held out")
    arguments = parser.parse_args()
    with one_sentence_errors():
        print(json.dumps(run(arguments.workdir, arguments.split)))


if __name__ == "__main__":
    main()
