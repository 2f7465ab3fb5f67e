"""Flags that a mode needs or cannot use, once it is known what the model reads."""

import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.systems.melody.model import Melody, MelodyConfig
from jaxepi.verbs import command as cli


@pytest.fixture(scope="module")
def melody(tmp_path_factory):
    """A released-style file of a model that reads sequence."""
    path = tmp_path_factory.mktemp("weights") / "melody.npz"
    jaxepi.export(Melody(MelodyConfig(width=4, tracks=2), rngs=nnx.Rngs(0)), path)
    return path


def test_a_model_of_sequence_needs_a_fasta_and_has_no_contacts(melody, tmp_path):
    options = {"checkpoint": "best", "regions": None, "split": None, "overlap": "once", "tracks": None}
    with pytest.raises(JaxepiError, match="--fasta is needed here, such as --fasta genome.fa"):
        cli.predict(melody, None, fasta=None, out=tmp_path / "x", **options)
    with pytest.raises(JaxepiError, match="reads sequence and has no attention over contacts"):
        cli.attention(melody, None, "best", tmp_path / "x", split=None, genes=None, most_genes=None, figures=1)
    assert not list(tmp_path.iterdir())
