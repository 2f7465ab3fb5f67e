import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import to_original
from jaxepi.sequence import one_hot
from jaxepi.systems.deepcpg.losses import (
    LossRules,
    class_weights,
    label_weights,
    loss_sums,
    output_weights,
    reduce_losses,
)
from jaxepi.systems.deepcpg.model import DeepCpGOutputs
from jaxepi.systems.deepcpg.original_metrics import training_metrics
from jaxepi.systems.deepcpg.weights import table
from jaxepi.train.optimizer import OptimizerConfig, make_optimizer

ACGT_OF_ATGC = [0, 3, 2, 1]


def weights(arrays):
    return {key[6:]: arrays[key] for key in arrays.files if key.startswith("param:")}


def double(weights, **sizes):
    """The model of golden weights, computing in float64."""
    model = jaxepi.from_pretrained("deepcpg", weights, dtype="float64", **sizes)
    nnx.update(model, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), nnx.state(model, nnx.Param)))
    return model


def per_output(outputs, label, mask, rules, row_mask=None):
    row_mask = jnp.ones(len(label)) if row_mask is None else row_mask
    sums = loss_sums(outputs, jnp.where(mask, label, 0.0), jnp.asarray(mask), row_mask, rules)
    return reduce_losses(*sums, rules.masking)


@pytest.mark.parametrize("balanced", [True, False])
def test_losses_of_all_heads_are_the_originals(golden, balanced):
    arrays, tag = golden("deepcpg", "heads_losses.npz"), "" if balanced else "noclassw:"
    outputs = tuple(key.removeprefix("in:label:") for key in arrays.files if key.startswith("in:label:"))
    label = np.stack([arrays[f"in:label:{output}"] for output in outputs], axis=1)
    mask = label != -1
    weighted = {o: tuple(arrays[f"in:class_weights:{o}"]) for o in outputs if f"in:class_weights:{o}" in arrays}
    rules = LossRules(
        outputs=outputs,
        masking="keras",
        entropy_as_probability=True,
        class_weights=weighted if balanced else {},
        output_weights=output_weights(outputs, ("cpg/.*=1.5", "cpg_stats/var=2")),
    )
    with jax.enable_x64(True):
        model = double(weights(arrays), outputs=outputs, window=51, l1=1e-4, l2=1e-4)
        predicted = model(arrays["in:dna"][..., ACGT_OF_ATGC].astype(np.float64))
        losses = per_output(predicted, label, mask, rules)
        for h, output in enumerate(outputs):
            np.testing.assert_allclose(losses[h], arrays[f"loss:{tag}{output}:loss"], rtol=1e-10)
        total = (losses * rules.weights()).sum() + model.penalty()
        np.testing.assert_allclose(total, arrays[f"loss:{tag}loss"], rtol=1e-10)
        np.testing.assert_allclose(model.penalty(), arrays["loss:reg"], rtol=1e-10)
        if balanced:
            ours = label_weights(jnp.where(mask, label, 0.0), jnp.asarray(mask), rules)
            for h, output in enumerate(outputs):
                np.testing.assert_allclose(ours[:, h], arrays[f"in:sample_weight:{output}"], rtol=1e-10)
        for output in outputs:
            known = (
                arrays["in:label_onehot:cpg_stats/cat_var"]
                if output.endswith("cat_var")
                else arrays[f"in:label:{output}"]
            )
            values = training_metrics(output, known, np.asarray(predicted.heads[output]))
            logged = [key.rsplit(":", 1)[1] for key in arrays.files if key.startswith(f"loss:{tag}{output}:")]
            assert set(logged) - {"loss"} <= set(values)
            for metric in set(logged) - {"loss"}:
                np.testing.assert_allclose(values[metric], arrays[f"loss:{tag}{output}:{metric}"], rtol=1e-10)


def test_training_steps_are_the_originals(golden):
    """Five steps of the original with masks, class weights, penalties and Keras's Adam: losses, gradients, weights."""
    arrays = golden("deepcpg", "train_steps.npz")
    with jax.enable_x64(True):
        model = double(weights(arrays), window=41, l1=1e-4, l2=1e-4)
        outputs = model.config.outputs
        rules = LossRules(outputs, "keras", True, {o: tuple(arrays[f"in:class_weights:{o}"]) for o in outputs})
        optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-3, epsilon=1e-7, epsilon_uncorrected=True), 5)
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        state = optimizer.init(params)

        def objective(params, x, label):
            model = nnx.merge(graph, params, rest)
            out = model(x)
            losses = per_output(out, label, label != -1, rules)
            return losses.sum() + model.penalty(), (losses, model.penalty(), out.heads)

        gradient_of = jax.jit(jax.value_and_grad(objective, has_aux=True))
        x = arrays["in:dna"][..., ACGT_OF_ATGC].astype(np.float64)
        label = np.stack([arrays[f"in:label:{output}"] for output in outputs], axis=1)
        for step, expected in enumerate(arrays["loss:per_step"]):
            rows = slice(8 * step, 8 * step + 8)
            (loss, (losses, penalty, heads)), gradient = gradient_of(params, x[rows], label[rows])
            accuracy = [training_metrics(o, label[rows, h], np.asarray(heads[o]))["acc"] for h, o in enumerate(outputs)]
            np.testing.assert_allclose([loss, *losses, *accuracy], expected, rtol=1e-10)
            np.testing.assert_allclose(penalty, arrays["loss:reg_before_step"][step], rtol=1e-10)
            if step == 0:
                check_gradients(nnx.merge(graph, gradient, rest), arrays)
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        final = to_original(nnx.merge(graph, params, rest), table(model.config))
        for name, array in final.items():
            np.testing.assert_allclose(array, arrays[f"out:final:{name}"], rtol=0, atol=1e-7)  # stored as float32


def check_gradients(gradients, arrays):
    for name, array in to_original(gradients, table(gradients.config)).items():
        layer, role = name.rsplit("/", 1)
        words = layer.split("/")
        short = "/".join(words[len(words) // 2 :] if words[0] != "dna" else words[-1:])
        expected = arrays[f"out:grad_step0:{short}/{role}"]
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("network", ["CnnL2h128", "CnnL3h128"])
def test_pooled_masking_is_multimolecules_loss(golden, network):
    arrays = golden("deepcpg", f"multimolecule_{network}.npz")
    model = jaxepi.from_pretrained("deepcpg", weights(arrays), network=network, window=101)
    out = model(one_hot(arrays["in:input_ids"].astype(np.uint8), n_value=0.0))
    rules = LossRules(model.config.outputs, "pooled")
    for label, expected in (("in:labels", "loss:bce"), ("in:labels_-100", "loss:bce_ignore_-100")):
        mask = arrays[label] != -100
        total = per_output(out, np.asarray(arrays[label], np.float32), mask, rules).sum()
        np.testing.assert_allclose(total, arrays[expected], rtol=1e-6)


def outputs_of(logits, names):
    logits = jnp.asarray(logits, jnp.float32)
    heads = {name: jax.nn.sigmoid(logits[:, i]) for i, name in enumerate(names)}
    return DeepCpGOutputs(heads, logits, logits, logits)


def test_exact_masking_ignores_missing_labels_and_padding_rows():
    names, random = ("cpg/a", "cpg/b"), np.random.default_rng(0)
    logits, label = random.normal(size=(6, 2)), (random.random((6, 2)) < 0.5).astype(np.float32)
    mask = np.array([[1, 1], [1, 0], [0, 0], [1, 0], [1, 1], [1, 1]], bool)
    rows = np.array([1, 1, 1, 1, 1, 0], np.float32)
    counted = mask & (rows[:, None] > 0)
    element = np.log1p(np.exp(-np.where(label == 1, logits, -logits)))
    expected = [element[counted[:, h], h].mean() for h in range(2)]
    got = per_output(outputs_of(logits, names), label, mask, LossRules(names), jnp.asarray(rows))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    pooled = per_output(outputs_of(logits, names), label, mask, LossRules(names, "pooled"), jnp.asarray(rows))
    np.testing.assert_allclose(pooled.sum(), element[counted].mean(), rtol=1e-5)
    changed = np.where(counted, logits, 50.0)
    np.testing.assert_array_equal(
        per_output(outputs_of(changed, names), label, mask, LossRules(names), jnp.asarray(rows)), got
    )


def test_an_output_without_a_label_has_no_loss_and_no_gradient():
    names = ("cpg/a", "cpg/b")
    mask = np.array([[True, False]] * 4)

    def total(logits):
        return per_output(outputs_of(logits, names), np.ones((4, 2), np.float32), mask, LossRules(names)).sum()

    gradient = jax.grad(total)(jnp.ones((4, 2)))
    assert (gradient[:, 1] == 0).all() and (gradient[:, 0] < 0).all()


def test_keras_masking_divides_by_all_rows_and_leaves_a_trace_of_missing_labels():
    names, logits = ("cpg/a",), np.zeros((4, 1))
    label, mask = np.ones((4, 1), np.float32), np.array([[True], [False], [False], [False]])
    got = per_output(outputs_of(logits, names), label, mask, LossRules(names, "keras"))
    np.testing.assert_allclose(got, np.log(2) / 4 + 3 * 1e-7 * np.log(2) / 4, rtol=1e-6)
    padded = per_output(outputs_of(logits, names), label, mask, LossRules(names, "keras"), jnp.array([1.0, 1, 0, 0]))
    np.testing.assert_allclose(padded, np.log(2) / 2, rtol=1e-6)


def test_saturated_logits_keep_their_loss_and_gradient_where_clipping_loses_both():
    names, mask, label = ("cpg/a",), np.ones((1, 1), bool), np.zeros((1, 1), np.float32)

    def total(logit, masking):
        return per_output(outputs_of(logit, names), label, mask, LossRules(names, masking))[0]

    value, slope = jax.value_and_grad(total)(jnp.full((1, 1), 40.0), "per_output")
    assert value == pytest.approx(40.0) and slope.item() == pytest.approx(1.0)
    value, slope = jax.value_and_grad(total)(jnp.full((1, 1), 40.0), "keras")
    assert value < 17 and slope.item() == 0


def test_class_weights_balance_and_add_up_to_one():
    np.testing.assert_allclose(class_weights([14, 86]), [0.86, 0.14], rtol=1e-5)
    assert sum(class_weights([5, 3, 2])) == pytest.approx(1)
    with pytest.raises(JaxepiError, match="there is none"):
        class_weights([0, 0])


def test_fractions_weigh_between_the_classes():
    rules = LossRules(("cpg/a",), class_weights={"cpg/a": (0.8, 0.2)})
    got = label_weights(jnp.array([[0.0], [0.5], [1.0], [0.0]]), jnp.array([[1], [1], [1], [0]], bool), rules)
    np.testing.assert_allclose(got[:, 0], [0.8, 0.5, 0.2, 0], rtol=1e-6)


def test_output_weights_match_from_the_start_and_the_last_rule_counts():
    names = ("cpg/a", "cpg/b", "win_stats/1001/mean")
    assert output_weights(names, ("cpg/.*=2", "cpg/b=3", "mean=9")) == (2.0, 3.0, 1.0)
    with pytest.raises(JaxepiError, match="has 'cpg', but each must be PATTERN=WEIGHT"):
        output_weights(names, ("cpg",))


@pytest.mark.parametrize(
    ("output", "keras", "correct"),
    [
        ("cpg/a", "binary", "binary"),
        ("bulk/diff", "squared", "squared"),
        ("win_stats/1001/var", "squared", "squared"),
        ("cpg_stats/entropy", "binary", "squared"),
        ("cpg_stats/cat_var", "categorical", "categorical"),
        ("cpg_stats/cat2_var", "binary", "binary"),
    ],
)
def test_kinds_of_loss(output, keras, correct):
    assert LossRules((output,), entropy_as_probability=True).of(output) == keras
    assert LossRules((output,)).of(output) == correct
