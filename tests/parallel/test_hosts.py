"""Joining the hosts of a run."""

from types import SimpleNamespace

import jax
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.parallel import hosts
from jaxepi.parallel.hosts import join_hosts


@pytest.mark.parametrize(
    ("coordinator", "sentence"),
    [
        ("nohost.invalid:1234", "--coordinator is 'nohost.invalid:1234', but there is no such host"),
        ("nohost", "--coordinator is 'nohost', but HOST:PORT was expected"),
        ("127.0.0.1:http", "--coordinator is '127.0.0.1:http', but HOST:PORT was expected"),
        ("127.0.0.1:123456", "--coordinator is '127.0.0.1:123456', but"),
        ("127.0.0.1:1234", "Cannot join the run at --coordinator=127.0.0.1:1234 as process None of None: "),
    ],
)
def test_a_coordinator_that_cannot_be_is_told_at_once(coordinator, sentence, monkeypatch):
    config = SimpleNamespace(update=lambda *more: None, jax_platforms="cpu")  # this process stays as it is
    monkeypatch.setattr(hosts, "jax", SimpleNamespace(config=config, distributed=jax.distributed))
    with pytest.raises(JaxepiError, match="^" + sentence.replace(".", r"\.")):
        join_hosts(coordinator, None, None)
