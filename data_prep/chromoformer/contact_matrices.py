"""Contacts from dense, normalised Hi-C matrices: one file per chromosome, bins of one size."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.chromoformer.contacts import Contacts, WholeScores
from jaxepi.errors import JaxepiError
from jaxepi.genome.annotation import Tss
from jaxepi.genome.chroms import harmonise
from jaxepi.genome.intervals import Interval
from jaxepi.genome.text_files import read_lines

ENDINGS = (".npy", ".txt", ".tsv", ".txt.gz", ".tsv.gz")


def matrix_files(folder: Path, prefix: str = "as-is") -> dict[str, Path]:
    """Chromosome -> file of the files `<chromosome><ending>` in a folder."""
    if not folder.is_dir():
        raise JaxepiError(f"{folder} is not a folder: --hic needs the folder of the matrices, one file a chromosome")
    found = {}
    for path in sorted(folder.iterdir()):
        ending = next((end for end in sorted(ENDINGS, key=len, reverse=True) if path.name.endswith(end)), None)
        if ending is not None:
            found[harmonise(path.name.removesuffix(ending), prefix)] = path
    if not found:
        raise JaxepiError(f"{folder} holds no matrix: files such as chr1.npy or chr1.txt.gz were expected")
    return found


def read_matrices(
    files: Mapping[str, Path],
    bin_size: int,
    sites: Iterable[Sequence[Tss]],
    min_score: float,
    lengths: Mapping[str, int] | None = None,
    accept_whole: bool = False,
) -> Contacts:
    """Contacts of the bins that hold a start site; a bin is [k * bin_size, (k + 1) * bin_size), never its own contact.

    Args:
        files: from `matrix_files`; matrices (bins, bins), text or .npy. One is in memory at a time.
        bin_size: bp.
        sites: start sites of the genes.
        min_score: contacts must score more than this.
        lengths: chromosome lengths, to end the last bin at.
        accept_whole: see `contacts.read_contacts`.

    Raises:
        JaxepiError: if a matrix cannot be read, is not square, or has no bin for a start site.
    """
    wanted: dict[str, set[int]] = {}
    for own in sites:
        for site in own:
            wanted.setdefault(site.chrom, set()).add(site.position // bin_size)
    bare = sorted(set(wanted) - set(files))
    if bare and len(bare) < len(wanted):  # of none, the last sentence tells
        print(
            f"warning: {next(iter(files.values())).parent} has no matrix of {', '.join(bare[:5])}"
            f"{' …' if bare[5:] else ''}: genes there get no contacts",
            file=sys.stderr,
        )
    contacts = Contacts()
    for chrom, path in files.items():
        if chrom not in wanted:
            continue
        matrix, whole = _read(path), WholeScores(path, accept_whole)
        end = (lengths or {}).get(chrom, len(matrix) * bin_size)
        if max(wanted[chrom]) >= len(matrix):
            raise JaxepiError(
                f"{path} has {len(matrix)} bins of {bin_size} bp, but a start site lies in bin {max(wanted[chrom])} "
                f"of {chrom}: check --hic-bin and the genome build"
            )
        for row in sorted(wanted[chrom]):
            scores = np.asarray(matrix[row], np.float64)
            for score in scores[scores != 0].tolist():
                whole.see(score)
            for column in np.flatnonzero(scores > min_score):
                if column != row and column * bin_size < end:
                    contacts.add(_bin(chrom, row, bin_size, end), _bin(chrom, column, bin_size, end), scores[column])
        whole.check()
    if not len(contacts):
        raise JaxepiError(
            f"{next(iter(files.values())).parent} holds no contact above {min_score} with a bin of a start site: "
            "lower --min-score, or check the chromosome names"
        )
    return contacts


def _bin(chrom: str, number: int, size: int, end: int) -> Interval:
    return Interval(chrom, int(number) * size, min((int(number) + 1) * size, end))


def _read(path: Path) -> np.ndarray:
    try:
        if path.suffix == ".npy":
            matrix = np.load(path, mmap_mode="r")
        else:
            matrix = np.loadtxt((line for _, line in read_lines(path, "a matrix as text")), ndmin=2)
    except JaxepiError:
        raise
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise JaxepiError(f"{path} cannot be read as a matrix ({reason}): numbers were expected") from error
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "biuf":
        raise JaxepiError(f"{path} holds no array of numbers: a matrix of contacts was expected")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise JaxepiError(
            f"{path} has the shape {matrix.shape}: a square matrix, a row and a column a bin, was expected"
        )
    return matrix
