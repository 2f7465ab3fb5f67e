"""Checkpoints (orbax): the newest whole one is found by itself, a damaged one is named and passed over.

    workdir/checkpoints/<step>/   the last few, for resuming
    workdir/best/<step>/          the best by the monitored validation metric, for prediction
    workdir/best_<metric>/<step>/ the best by each further metric, if several are monitored

Each holds `state` (parameters, normalisation statistics, optimizer, moving average, rng, step) and `meta` (JSON: the
input's position, the resolved config, versions, the dataset's fingerprint and description, checksums of the state, of
each of its parts, and of the JSON itself).
"""

import dataclasses
import functools
import json
import logging
import shutil
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from jaxepi.errors import JaxepiError
from jaxepi.storage.atomic import plain, write_json
from jaxepi.storage.kept import Kept
from jaxepi.storage.one_voice import with_one_voice

Meta = dict[str, Any]
_META_CHECKSUM = "meta_checksum"  # entry of `meta`; earlier versions wrote none
_PASSING = "passing"  # entry of `meta`: see `jaxepi.storage.kept`

_DELETED = "deleted"  # in the folder of the checkpoints: one that goes is moved here first, so that none is ever half

_OPEN: "weakref.WeakSet[Checkpoints]" = weakref.WeakSet()


class Checkpoints:
    """The checkpoints of one run. Saving goes on in the background; `close` waits for it."""

    def __init__(self, directory: Path | str, keep: int = 2, owner: bool = False):
        """Opens (and makes) `directory`; only the newest `keep` are kept, see `jaxepi.storage.kept`.

        `owner` is for the process that holds the lock of the workdir: it removes what a kill left half-written.
        """
        logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells every save at length
        self.directory = Path(directory).absolute()
        self._owner = owner and jax.process_index() == 0
        if self._owner:
            for partial in self.directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(partial)
            self._empty()
        self._kept = Kept(keep)
        options = ocp.CheckpointManagerOptions(preservation_policy=self._kept, create=True, todelete_subdir=_DELETED)
        self._manager = ocp.CheckpointManager(self.directory, options=options)
        _OPEN.add(self)
        if owner:
            self._kept.passing = {step for step in self.steps() if self._is_passing(step)}

    def save(self, step: int, state: Any, meta: Meta, passing: bool = False) -> None:
        """Saves the state and what is needed to go on from it or to predict with it.

        Args:
          passing: it goes once a later one is complete, whatever `keep` says.

        Raises:
          JaxepiError: the disk is full or not writable.
        """
        self.wait()
        if step in self.steps():
            self._remove_old()  # a kill may have come between a checkpoint and the end of the one that it displaces
            return
        if passing:
            self._kept.passing.add(step)
        parts = {name: part for name, part in _parts(state).items() if part is not None}
        sums = jax.device_get(_checksums({name: jax.tree.leaves(part) for name, part in parts.items()}))
        whole = _joined([one for name in parts for one in sums[name]])
        each = {name: _joined(sums[name]) for name in parts}
        meta = _signed({**meta, "step": step, "checksum": whole, "checksums": each, _PASSING: passing})
        if jax.process_count() > 1:  # managers of orbax meet at barriers of the same names: one saves at a time
            for other in _OPEN:
                other.wait()
        try:
            self._manager.save(
                step, args=ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
            )
        except OSError as problem:
            raise _cannot_write(self.directory, problem) from problem

    def _is_passing(self, step: int) -> bool:
        try:
            return bool(self.meta(step).get(_PASSING))
        except Exception:  # a damaged one is told when it is read for its state
            return False

    def _remove_old(self) -> None:
        """Removes what should have gone with the newest checkpoint."""
        steps = self.steps()[::-1]
        for step in set(steps) - self._kept.staying(steps):
            self._manager.delete(step)

    def _empty(self) -> None:
        """Removes for good what was deleted."""
        shutil.rmtree(self.directory / _DELETED, ignore_errors=True)

    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def meta(self, step: int) -> Meta:
        """The description saved with a step, without reading the state.

        Raises:
          ValueError: it is not what was saved; orbax raises others where it cannot be read at all.
        """
        meta = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
        if meta.get(_META_CHECKSUM) not in (None, _signed(meta)[_META_CHECKSUM]):
            raise ValueError("its description does not match its checksum")
        return meta

    def restore_newest(self, abstract_state: Any, warn: Callable[[str], None]) -> tuple[Any, Meta] | None:
        """The newest checkpoint that is whole, or None if there is none at all.

        A damaged one is told through `warn` and the one before it is tried.

        Raises:
          JaxepiError: there are checkpoints, but none can be read.
        """
        steps = self.steps()
        for step in steps:
            try:
                return self._restore(step, abstract_state)
            except JaxepiError:
                raise
            except Exception as problem:  # orbax and its storage raise many kinds for damaged files
                reason = (str(problem).strip() or type(problem).__name__).splitlines()[0][:160]
                kept = self._set_aside(step)
                warn(
                    f"checkpoint {self.directory}/{step} is damaged ({reason}), moved to {kept}; trying the one before"
                )
        if steps:
            raise JaxepiError(
                f"None of the {len(steps)} checkpoint(s) in {self.directory} can be read; restore them from a copy, "
                "or remove the folder to start again."
            )
        return None

    def _restore(self, step: int, abstract_state: Any) -> tuple[Any, Meta]:
        meta = self.meta(step)
        self._check_shapes(step, abstract_state)
        wanted = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state))
        restored = with_one_voice(lambda: self._manager.restore(step, args=wanted))["state"]
        if checksum(restored) != meta["checksum"]:
            raise ValueError("its contents do not match their checksum")
        return restored, meta

    def check_parts(self, step: int, meta: Meta, parts: Mapping[str, Any]) -> None:
        """Compares parts of a state that were read with their checksums, such as "params" and "rest".

        Checkpoints of earlier versions have only a checksum of the whole, which is then read too, by a single host.

        Raises:
          JaxepiError: a part is not what was saved.
        """
        told = meta.get("checksums")
        if told is None:
            leaves = self._leaves(step) if jax.process_count() == 1 else None
            wrong = leaves is not None and checksum([leaf for _, leaf in leaves]) != meta.get("checksum")
            names = ["state"] if wrong else []
        else:
            names = [name for name, part in parts.items() if checksum(part) != told.get(name)]
        if names:
            raise damaged(self.directory / str(step), f"its {names[0]} does not match its checksum")

    def check(self, step: int) -> str:
        """Reads all of a step, which takes no model, and tells what was compared with its checksum.

        Raises:
          JaxepiError: something in it is not what was saved; orbax raises others where it cannot be read at all.
        """
        meta, leaves = self.meta(step), self._leaves(step)
        if leaves is None:
            raise JaxepiError("the list of its arrays does not fit its arrays")
        sums = jax.device_get(_checksums([leaf for _, leaf in leaves]))
        for name, told in (meta.get("checksums") or {}).items():
            if _joined([one for (part, _), one in zip(leaves, sums, strict=True) if part == name]) != told:
                raise JaxepiError(f"its {name} does not match its checksum")
        if _joined(sums) != meta["checksum"]:
            raise JaxepiError("its state does not match its checksum")
        return "state and description" if _META_CHECKSUM in meta else "state; earlier versions sign no description"

    def _leaves(self, step: int) -> list[tuple[str, Any]] | None:
        """The arrays of a state as they lie on disk, in order, each with the part that it belongs to.

        None if they cannot be put into order.
        """
        folder = self.directory / str(step) / "state"
        reader = ocp.PyTreeCheckpointer()
        tree = reader.metadata(folder).item_metadata.tree
        arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        state = with_one_voice(lambda: reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=arrays)))
        leaves = []
        try:
            for leaf in json.loads((folder / "_METADATA").read_text())["tree_metadata"].values():
                if not leaf["value_metadata"].get("skip_deserialize"):
                    keys = [part["key"] for part in leaf["key_metadata"]]
                    leaves.append((keys[0], functools.reduce(_child, keys, state)))
        except (KeyError, IndexError, TypeError, ValueError):
            return None
        return leaves

    def _check_shapes(self, step: int, abstract_state: Any) -> None:
        """A checkpoint of another model is not damage: it is told, not passed over."""
        saved = ocp.PyTreeCheckpointer().metadata(self.directory / str(step) / "state").item_metadata.tree
        shapes = {_path(path): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(saved)}
        for path, leaf in jax.tree_util.tree_leaves_with_path(abstract_state):
            name, shape = _path(path), tuple(leaf.shape)
            if shapes.get(name, shape) != shape:
                raise JaxepiError(
                    f"Checkpoint {self.directory / str(step)} holds {name} with shape {shapes[name]}, but the config "
                    f"makes {shape}; use the config of that run, or another --workdir."
                )

    def _set_aside(self, step: int) -> Path:
        """Moves a damaged checkpoint away, so that its step can be saved again."""
        place = self.directory.parent / "damaged" / f"{self.directory.name}-{step}"
        if jax.process_index() == 0:
            place.parent.mkdir(exist_ok=True)
            while place.exists():
                place = place.with_name(place.name + "+")
            (self.directory / str(step)).rename(place)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"set aside {step}")
        self._manager.reload()
        return place

    def remove_after(self, step: int) -> None:
        """Removes the checkpoints of later steps: a run that goes on from `step` will come to them again."""
        self.wait()
        for later in self.steps():
            if later > step:
                self._manager.delete(later)

    def describe(self, step: int, meta: Meta, passing: bool = False) -> None:
        """Replaces the description of a step that is complete, in one move; its state stays."""
        if jax.process_index() == 0:
            told = {**self.meta(step), **meta, "step": step, _PASSING: passing}
            write_json(self.directory / str(step) / "meta" / "metadata", _signed(told))
        (self._kept.passing.add if passing else self._kept.passing.discard)(step)

    def wait(self) -> None:
        """Waits until everything is on disk.

        Raises:
          JaxepiError: a save in the background failed.
        """
        try:
            self._manager.wait_until_finished()
        except OSError as problem:
            raise _cannot_write(self.directory, problem) from problem
        if self._owner:
            self._empty()

    def close(self) -> None:
        """Waits until everything is on disk and lets go of the folder.

        Raises:
          JaxepiError: a save in the background failed.
        """
        self.wait()
        self._manager.close()
        _OPEN.discard(self)


def _cannot_write(directory: Path, problem: OSError) -> JaxepiError:
    return JaxepiError(
        f"Cannot write a checkpoint to {directory} ({problem.strerror or problem}); the earlier ones are untouched: "
        "make room or choose another --workdir, and run the same command again."
    )


def damaged(checkpoint: Path, problem: Exception | str) -> JaxepiError:
    """What a reader of a checkpoint that is not what was saved is told."""
    reason = (str(problem).strip() or type(problem).__name__).splitlines()[0][:160].rstrip(".")
    return JaxepiError(
        f"Checkpoint {checkpoint} is damaged ({reason}): restore it from a copy, or move this folder away to use the "
        "checkpoint before it."
    )


def _signed(meta: Mapping[str, Any]) -> Meta:
    """A description with the checksum of everything else in it, however its JSON is spelled."""
    rest = {name: value for name, value in meta.items() if name != _META_CHECKSUM}
    return {**rest, _META_CHECKSUM: zlib.crc32(json.dumps(plain(rest), sort_keys=True).encode())}


def _parts(state: Any) -> Mapping[str, Any]:
    """The parts of a state by name, in the order of its leaves."""
    if dataclasses.is_dataclass(state):
        return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return dict(sorted(state.items()))


def _child(node: Any, key: str) -> Any:
    return node[int(key)] if isinstance(node, list | tuple) else node[key]


def _path(path: tuple[Any, ...]) -> str:
    """A readable name of a leaf that does not depend on how its containers are spelled."""
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")


def checksum(state: Any) -> int:
    """A 32-bit checksum over every bit of a state and its place, computed where the arrays live."""
    return _joined(jax.device_get(_checksums(jax.tree.leaves(state))))


def _joined(each: Sequence[Any]) -> int:
    """The checksum of a tree, of those of its leaves in order."""
    return functools.reduce(lambda total, one: (total * 16777619 + int(one)) % 2**32, each, 1)


@jax.jit
def _checksums(tree: Any) -> Any:
    """For every array of a tree its checksum, () uint32."""
    return jax.tree.map(_checksum, tree)


@jax.jit  # so that arrays of the same shape are traced once
def _checksum(leaf: jax.Array) -> jax.Array:
    words = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}
    bits = leaf.astype(jnp.uint8) if leaf.dtype == bool else leaf
    flat = jax.lax.bitcast_convert_type(bits, words[bits.dtype.itemsize]).astype(jnp.uint32).ravel()
    place = jax.lax.iota(jnp.uint32, flat.size) * jnp.uint32(2654435761) + jnp.uint32(1)
    return (flat * (place | jnp.uint32(1))).sum(dtype=jnp.uint32)
