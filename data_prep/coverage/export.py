"""`python -m data_prep coverage-export`: a dataset of binned coverage as the folder of the original Basenji."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.build import dataset
from data_prep.build.dataset import Execution
from data_prep.build.options import PROGRAM, Help, add_output_options, check_least, made_before
from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Record, Tally
from data_prep.coverage.original_folder import Around, FolderStyle, folder_writer
from jaxepi.data import open_dataset
from jaxepi.data.coverage_folder import KIND, SEQUENCES, STATISTICS, TARGETS, is_coverage_folder
from jaxepi.data.manifest import MANIFEST
from jaxepi.errors import JaxepiError

_PLAIN_COLUMNS = ("", "identifier", "file", "strand_pair", "description")


class ExportRecipe(Recipe):
    """The records of a dataset that is there; safe to pickle."""

    name = KIND
    unit = "windows"

    def __init__(self, path: Path) -> None:
        """Opens the dataset at `path`. Raises JaxepiError if it is none of this kind, or does not tell its places."""
        self.path = path
        self._data = open_dataset(path, (KIND,))
        if is_coverage_folder(path) and not (path / SEQUENCES).is_file():
            raise JaxepiError(f"{path} has no {SEQUENCES}, so its records have no places: copy it from its source")
        further = [name for name in ("conservation", "labels") if self._data.manifest.get(name)]
        if further:
            raise JaxepiError(
                f"{path} holds {' and '.join(further)}, for which the original Basenji's folder has no place: prepare "
                "a dataset without"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])

    def features(self) -> dict[str, Feature]:
        return {}  # of records in TFDS layout, which are not written here

    def blocks(self) -> dict[str, list[Block]]:
        return self.slices(256)

    def slices(self, size: int) -> dict[str, list[Block]]:
        """See `data_prep.coverage.original_folder.Source`; the payload is (split, first record)."""
        return {
            split: [Block(first, min(size, count - first), (split, first)) for first in range(0, count, size)]
            for split, count in self._data.splits.items()
            if count
        }

    def make_block(self, block: Block) -> BlockResult:
        tally = Tally()
        return BlockResult(list(enumerate(self.records(block, tally), block.first_key)), tally)

    def records(self, block: Block, tally: Tally) -> Iterator[Record]:
        """The records of a block; counts them."""
        name, first = block.payload
        split = self._data.split(name)
        try:
            for number in range(first, first + block.size):
                tally.add(records=1)
                yield split[number]
        finally:
            split.close()

    def sizes(self) -> dict[str, Any]:
        """window, bins, bin_width, crop and tracks."""
        return {name: self._data.manifest[name] for name in ("window", "bins", "bin_width", "crop", "tracks")}

    def around(self) -> Around:
        """What lies beside the records."""
        if is_coverage_folder(self.path):
            return Around((self.path / TARGETS).read_text(), None, None, {})
        manifest = self._data.manifest
        rows = manifest.get("targets_table") or _plain_table(manifest)
        text = "".join("\t".join(cells) + "\n" for cells in rows)
        return Around(text, manifest.get("contigs"), None, {})

    def manifest(self, tallies: Mapping[str, Tally]) -> dict[str, Any]:
        return {**self.sizes(), "splits": {split: tally.to_json() for split, tally in tallies.items()}}

    def bytes_per_record(self) -> int:
        sizes = self.sizes()
        return sizes["window"] + 2 * sizes["bins"] * len(sizes["tracks"])


def _plain_table(manifest: Mapping[str, Any]) -> list[Sequence[str]]:
    """A table of tracks for a dataset that does not hold one."""
    told = zip(manifest["tracks"], manifest["strand_pair"], manifest["track_descriptions"], strict=True)
    return [_PLAIN_COLUMNS, *((str(i), name, name, str(pair), text) for i, (name, pair, text) in enumerate(told))]


def main(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog=f"{program} coverage-export", description=__doc__, formatter_class=Help)
    parser.add_argument("dataset", help="folder of a dataset of kind coverage")
    add_output_options(parser)
    parser.add_argument("-r", "--per-file", type=int, default=256, metavar="N", help="records of a file")
    parser.add_argument("--one-hot", action="store_true", help="four bytes a base, as in 2020, instead of one")
    parser.add_argument("--processes", type=int, default=0, metavar="N", help="worker processes; 0 = one per core")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    args = parser.parse_args(argv)
    check_least(args, {"per_file": 1, "processes": 0})
    source = Path(args.dataset).absolute()
    recipe = ExportRecipe(source)
    names = [STATISTICS, TARGETS, SEQUENCES] if is_coverage_folder(source) else [MANIFEST]
    inputs = dataset.describe_inputs({name: source / name for name in names})
    arguments = {"per_file": args.per_file, "one_hot": args.one_hot}
    if made_before(args, KIND, arguments, inputs):
        return 0
    total = sum(block.size for blocks in recipe.blocks().values() for block in blocks)
    dataset.require_space(Path(args.out), int(total * recipe.bytes_per_record()))
    execution = Execution(args.processes, overwrite=args.overwrite, progress=not args.no_progress)
    style = FolderStyle(args.per_file, args.one_hot)
    built = dataset.build(recipe, Path(args.out), arguments, inputs, execution, folder_writer(style))
    print(f"{total} windows in {built.manifest['seconds']} s: {built.path}")
    return 0
