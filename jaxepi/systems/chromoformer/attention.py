"""What a Chromoformer attends to: bins of the promoter, contacts, and bins of every contact.

Only one query of each transformer reaches the output: the centre bin of the promoter in the embedding and in the
pairwise transformers, and the promoter's token in the regulation transformers. All weights here are of that query. They
are softmax weights: those of one query, layer and head add up to 1 over what the gene has.

Letters: B genes, S contacts of the model, L layers, H heads, nb bins of a region, M marks.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi.genome.intervals import Interval, parse_interval
from jaxepi.predictor import Record
from jaxepi.systems.chromoformer.bins import Layout
from jaxepi.systems.chromoformer.model import Chromoformer
from jaxepi.systems.chromoformer.places import contact_places, promoter_places
from jaxepi.systems.chromoformer.task import ChromoformerTask, gene_values
from jaxepi.task import Batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Attention:
    """Weights of a batch of genes, those marked * by bin size; what a gene does not have is exactly 0."""

    prediction: jax.Array  # (B,)
    promoter: dict[int, jax.Array]  # * (B, H, nb), last layer of the embedding: bins of the promoter
    contacts: dict[int, jax.Array]  # * (B, S, L, H, nb), pairwise transformer: bins of each contact
    regulation: dict[int, jax.Array]  # * (B, L, H, S + 1): the promoter itself, then the contacts
    effect: jax.Array  # (B, S): the prediction minus that of the gene without the contact
    marks: jax.Array  # (B, nb, M), log(1 + mean depth) of the promoter's smallest bins


def attend(model: Chromoformer, task: ChromoformerTask, batch: Batch) -> Attention:
    """The weights for a collated batch; traceable."""
    inputs, _ = task.prepare(batch, jax.random.key(0), False)
    outputs = model(inputs, intermediates=True)
    seen, config = outputs.intermediates, model.config
    there = batch["pcre_length"] > 0
    promoter, contacts, regulation = {}, {}, {}
    for size in config.bin_sizes:
        centre = inputs["promoter_feats"][size].shape[2] // 2
        last = seen[f"embedding_attention/{size}/{config.embedding_layers - 1}"]
        promoter[size] = last if last.ndim == 3 else last[:, :, centre]
        layers = [seen[f"pairwise_attention/{size}/{layer}"] for layer in range(config.pairwise_layers)]
        layers = [x if x.ndim == 4 else x[:, :, :, centre] for x in layers]
        # a contact that a gene does not have may get uniform weights, see ChromoformerConfig.empty_rows
        contacts[size] = jnp.where(there[:, :, None, None, None], jnp.stack(layers, axis=2), 0.0)
        layers = [seen[f"regulation_attention/{size}/{layer}"][:, :, 0] for layer in range(config.regulation_layers)]
        regulation[size] = jnp.stack(layers, axis=1)
    prediction = gene_values(outputs, task.objective)
    effect = jnp.where(there, prediction[:, None] - _without_each(model, task, inputs), 0.0)
    marks = inputs["promoter_feats"][min(config.bin_sizes)][:, 0]
    return Attention(prediction, promoter, contacts, regulation, effect, marks)


def _without_each(model: Chromoformer, task: ChromoformerTask, inputs: Batch) -> jax.Array:
    """Predictions (B, S) of the genes when one contact is hidden."""
    genes, tokens = inputs["interaction_freq"].shape[:2]
    if tokens == 1:
        return jnp.zeros((genes, 0))

    def without(hidden: jax.Array) -> jax.Array:
        either = (hidden[:, None] | hidden[None])[None, None]
        masks = {size: mask | either for size, mask in inputs["interaction_masks"].items()}
        return gene_values(model({**inputs, "interaction_masks": masks}), task.objective)

    # What does not depend on the hidden contact, all but the regulation transformers, is computed once.
    return jax.vmap(without, out_axes=1)(jnp.eye(tokens, dtype=bool)[1:])


@dataclasses.dataclass(frozen=True)
class Contact:
    """One contact of a gene."""

    number: int  # in the record, 0 has the highest score
    region: Interval
    distance: int | None  # bp from the TSS to the middle, positive downstream; None on another chromosome
    score: float  # normalised interaction frequency
    attention: float  # of the promoter's token, mean over layers, heads and bin sizes
    by_size: tuple[float, ...]  # the same for each bin size
    effect: float  # the prediction minus that of the gene without this contact
    strongest: Interval  # smallest bin with the most pairwise attention, mean over layers and heads
    strongest_attention: float  # of that bin; all bins of the contact add up to 1


@dataclasses.dataclass(frozen=True)
class GeneAttention:
    """What is told about one gene; the arrays are those of `Attention` without the axis B."""

    record: Record
    prediction: float
    contacts: list[Contact]  # by falling attention
    self_attention: float  # of the promoter's token to itself, mean as that of contacts
    promoter: dict[int, np.ndarray]
    contact_bins: dict[int, np.ndarray]
    regulation: dict[int, np.ndarray]
    marks: np.ndarray
    promoter_places: dict[int, np.ndarray]  # (nb, 2) int64 on the chromosome, -1 where padded
    contact_places: dict[int, np.ndarray]  # (S, nb, 2)


def of_genes(records: Sequence[Record], found: Attention, task: ChromoformerTask) -> list[GeneAttention]:
    """The genes of a batch, with the places of their bins and their contacts ranked by attention.

    Args:
      records: B genes.
      found: their weights, on the host.
      task: which made the inputs.
    """
    return [_gene(record, jax.tree.map(lambda x, row=row: x[row], found), task) for row, record in enumerate(records)]


def _gene(record: Record, found: Attention, task: ChromoformerTask) -> GeneAttention:
    sizes, goal = task.model_config.bin_sizes, task.objective
    layouts = {size: Layout(size, task.resolution, goal.region_width) for size in sizes}
    regions = [parse_interval(text) for text in record["neighbors"].split(";") if text][: goal.max_pcres]
    tss, minus = int(record["start"]), bool(record["minus"])
    left = tss - goal.promoter_width // 2
    cut = (task.stored_width - goal.promoter_width) // 2
    span = tuple(int(offset) - cut for offset in record["promoter_span"])
    own = {
        size: _shifted(promoter_places(goal.promoter_width, span, minus, layout, goal.centre_tss), left)
        for size, layout in layouts.items()
    }
    others = {
        size: np.stack([
            *(
                _shifted(contact_places(end - start, minus, layout, goal.orient_pcres), start)
                for _, start, end in regions
            ),
            *[np.full((layout.bins, 2), -1)] * (goal.max_pcres - len(regions)),
        ]) if goal.max_pcres else np.zeros((0, layout.bins, 2), np.int64)
        for size, layout in layouts.items()
    }  # fmt: skip
    by_size = np.stack([found.regulation[size].mean(axis=(0, 1), dtype=np.float64) for size in sizes])
    finest = min(sizes)
    profile = found.contacts[finest].mean(axis=(1, 2), dtype=np.float64)
    contacts = []
    for number, (chrom, start, end) in enumerate(regions):
        place = int(profile[number].argmax())
        contacts.append(
            Contact(
                number=number,
                region=Interval(chrom, start, end),
                distance=distance_to_tss(record, Interval(chrom, start, end)),
                score=float(record["score"][number]),
                attention=float(by_size[:, number + 1].mean()),
                by_size=tuple(by_size[:, number + 1].tolist()),
                effect=float(found.effect[number]),
                strongest=Interval(chrom, *others[finest][number, place].tolist()),
                strongest_attention=float(profile[number, place]),
            )
        )
    return GeneAttention(
        record=record,
        prediction=float(found.prediction),
        contacts=sorted(contacts, key=lambda contact: (-contact.attention, contact.number)),
        self_attention=float(by_size[:, 0].mean()),
        promoter=found.promoter,
        contact_bins=found.contacts,
        regulation=found.regulation,
        marks=found.marks,
        promoter_places=own,
        contact_places=others,
    )


def distance_to_tss(record: Mapping[str, object], region: Interval) -> int | None:
    """bp from a gene's TSS to the middle of a region, positive downstream; None on another chromosome."""
    chrom, start, end = region
    if chrom != record["chrom"]:
        return None
    along = (start + end) // 2 - int(record["start"])
    return -along if record["minus"] else along


def _shifted(places: np.ndarray, by: int) -> np.ndarray:
    """Offsets to positions; padding stays -1."""
    return np.where(places >= 0, places + by, -1)
