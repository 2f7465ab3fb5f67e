"""Low-rank changes of a model's matrices (LoRA, Hu et al. 2021): fine-tuning while the weights stay as they are.

The changes live beside the model, and are added to its weights where it runs. So it works for any module, also one that
reads the kernels of its layers by itself.
"""

import jax
import jax.numpy as jnp
from flax import nnx

Path = tuple[str | int, ...]


def matrices(model: nnx.Module) -> dict[str, Path]:
    """Name -> path of every kernel that is a matrix: dense layers, convolutions of width 1 and attention projections.

    A name is the path joined by "_", which patterns of config.frozen find as "adapters.*".
    """
    found = {}
    for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        shape = variable.shape
        if path[-1] == "kernel" and (len(shape) == 2 or (len(shape) > 2 and set(shape[:-2]) == {1})):
            found["_".join(map(str, path))] = path
    return found


class LowRank(nnx.Module):
    """The product of `down` (in, rank) and `up` (rank, out), which begins at 0."""

    def __init__(self, width_in: int, width_out: int, rank: int, *, rngs: nnx.Rngs):
        self.down = nnx.Param(nnx.initializers.he_uniform()(rngs.params(), (width_in, rank), jnp.float32))
        self.up = nnx.Param(jnp.zeros((rank, width_out), jnp.float32))

    def change(self) -> jax.Array:
        """(in, out) float32."""
        return self.down[...] @ self.up[...]


class Adapters(nnx.Module):
    """A `LowRank` for each of the `matrices` of a model."""

    def __init__(self, model: nnx.Module, rank: int, *, rngs: nnx.Rngs):
        state = dict(nnx.to_flat_state(nnx.state(model, nnx.Param)))
        self.of = nnx.Dict(
            {name: LowRank(*state[path].shape[-2:], rank, rngs=rngs) for name, path in matrices(model).items()}
        )

    def applied(self, model: nnx.Module) -> nnx.Module:
        """The model with its matrices changed, in inference mode; it shares no variable with the one that was given.

        Its normalisation layers use their statistics, as those of a frozen model do.
        """
        graph, state = nnx.split(model)
        flat = dict(nnx.to_flat_state(state))
        for name, path in matrices(model).items():
            kernel = flat[path].get_value()
            change = self.of[name].change().reshape(kernel.shape).astype(kernel.dtype)
            flat[path] = flat[path].replace(kernel + change)
        changed = nnx.merge(graph, nnx.from_flat_state(list(flat.items())), copy=True)
        changed.eval()
        return changed
