"""Numbers of the evaluations of one dataset and of several."""

from types import SimpleNamespace

from jaxepi.evaluate.split import joint_summary, monitored, own_metric


def _result(**summary):
    return SimpleNamespace(summary=summary)


def test_one_dataset_keeps_its_names():
    assert joint_summary({"data": _result(r=0.5, note="text")}) == {"r": 0.5}
    assert monitored(["data"], "r") == "r"


def test_several_are_told_one_by_one_and_as_their_mean():
    joint = joint_summary({"human": _result(r=0.5, auc=0.9, note="text"), "mouse": _result(r=0.25)})
    assert joint == {"r@human": 0.5, "auc@human": 0.9, "r@mouse": 0.25, "r@datasets_mean": 0.375}
    assert monitored(["human", "mouse"], "r") in joint
    assert {own_metric(name) for name in joint} == {"r", "auc"} and own_metric("r") == "r"
