import json

import pytest

import jaxepi
from jaxepi.errors import JaxepiError


def test_published_models_are_listed_with_what_is_known_of_them(golden_path):
    models = {model.name: model for model in jaxepi.list_pretrained()}
    assert {model.system for model in models.values()} == set(jaxepi.list_systems())
    melody = models["Melody-MT-39"]
    assert melody.files == ("Melody-MT-39.pth",) and len(melody.tracks) == 39 and melody.window == 10_000
    assert str(melody).startswith("melody: Melody-MT-39, 39 track(s) (Adipocytes, Aorta-Endothel, ...), reads 10000 bp")
    expression = models["Chromoformer-reg"]
    assert expression.window is None and expression.tracks == ("expression",) and "figshare" in expression.where
    assert expression.files == ("{epigenome}/chromoformer-reg-reproduction-{epigenome}-conf1-fold{fold}.pt",)
    counts = {"Melody-MT-39": 40_285_525, "Chromoformer-clf": 5_342_672, "Chromoformer-reg": 5_342_543}
    counts |= {"Basenji2-human": 30_123_584, "Basenji2-human-PyTorch": 30_123_584, "Basenji2-mouse": 24_482_794}
    counts |= {"Akita": 751_653, "Epiformer cell types": 54_835_309}
    heads = {"linear probe": 27_666, "conv perceptron": 8_832_518, "max-pool perceptron": 777_518}
    counts |= heads | {"transformer": 18_918_930}
    official = json.loads(golden_path("deepcpg", "official_checkpoint.json").read_text())["dna"]
    for name, told in official.items():
        assert models[name].sizes["network"] == told["arch"] and models[name].window == told["dna_wlen"]
        assert models[name].tracks == tuple(f"cpg/{cell}" for cell in told["cells"])
        counts[name] = told["n_params"]
    assert {name: model.parameters for name, model in models.items()} == counts


def test_published_models_of_one_system():
    assert [model.name for model in jaxepi.list_pretrained("melody")] == ["Melody-MT-39"]
    with pytest.raises(JaxepiError, match=r"Unknown system 'melodi' \(did you mean 'melody'\?\)"):
        jaxepi.list_pretrained("melodi")
