"""The real demo genes of Chromoformer, where they are."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def demo_genes():
    """demo_genes(genes or None): their records."""
    from chromoformer_genes import demo_records

    def load(genes=None):
        records = demo_records(genes)
        return records if records is not None else pytest.skip("the demo data are not here")

    return load
