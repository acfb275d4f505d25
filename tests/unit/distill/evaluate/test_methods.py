"""The rows of a comparison, and those that are left out."""

import pytest

from distill.evaluate.methods import METHODS, MUGSI_TERMS, ON_RULES, as_released, defaults, method, named, summary_of
from distill.learn.distillation import MUGSI
from distill.learn.recipes import PRETRAINED
from teacher.errors import UsageError


def test_rows_that_need_what_is_not_there_are_left_out() -> None:
    textless = defaults(with_texts=False, with_transfer_set=True)
    assert not any(name.startswith("lm") or name in ("gallon", "student+both") for name in textless)
    assert {"student+gnn", "student+gnn+transfer"} <= set(textless)
    assert not any(name.endswith("transfer") for name in defaults(with_texts=True, with_transfer_set=False))
    everything = defaults(with_texts=True, with_transfer_set=True)
    assert set(METHODS) - set(everything) == {
        *(
            "chemprop",
            "minimol-linear",
            "chemeleon-linear",
            "tabpfn",
            "lm-fine-tuned",
            "e-llagnn",
            "llm-few-shot",
            "student+pseudo-labels",
        ),
        *(*PRETRAINED, *ON_RULES),
        *("mmf", "mmf-no-tokens", "mmf-no-attention", "mmf-no-messages", "mmf-no-mixture", "mmf-few-shot"),
        *("e-llagnn-sage", "e-llagnn-gcn", "library-sage"),
        *("e-llagnn-sage-ranked", "e-llagnn-gcn-ranked", "e-llagnn-sage-shuffled"),
        *("mugsi-1hop", "mugsi-no-soft", "mugsi-no-graph", "mugsi-no-communities", "mugsi-no-walks"),
        *("gallon-gcn", "gallon-student", "gallon+gnn", "gallon+lm"),
        *(f"{network}+lm{end}" for network in ("gnn", "gcn", "gin", "gat", "dmpnn") for end in ("", "+transfer")),
    }


def test_rules_that_are_named_are_compared_beside_their_controls() -> None:
    without = defaults(with_texts=True, with_transfer_set=True)
    assert set(defaults(with_texts=True, with_transfer_set=True, with_rules=True)) - set(without) == set(ON_RULES)


def test_a_graph_network_can_be_the_student_of_the_language_teacher() -> None:
    plain, wider = method("gnn+lm"), method("dmpnn+lm+transfer")
    assert (plain.network, plain.teachers, plain.needs_texts, plain.transfer) == ("gnn", ("lm",), True, False)
    assert (wider.network, wider.teachers, wider.transfer) == ("dmpnn", ("lm on the transfer set",), True)


def test_a_student_of_mugsi_learns_all_terms_of_a_graph_network_but_the_one_that_it_does_without() -> None:
    assert set(MUGSI_TERMS) == set(MUGSI)
    whole, neighbours = method("mugsi"), method("mugsi-1hop")
    assert whole.terms == neighbours.terms == MUGSI_TERMS
    assert (whole.student, neighbours.student) == ("student-atoms", "student-atoms-1hop")
    assert whole.teachers == ("network",) and not whole.needs_texts
    for term in MUGSI_TERMS:
        assert set(MUGSI_TERMS) - set(method(f"mugsi-no-{term}").terms) == {term}


def test_rows_as_gallon_released_them_take_the_place_of_ours() -> None:
    assert as_released(["dmpnn", "student", "student+both", "gallon"]) == ["dmpnn", "gallon-student", "gallon"]
    with pytest.raises(UsageError, match=r"not for student\+shuffled: leave it out"):
        as_released(["student+both", "student+shuffled"])
    rows = defaults(with_texts=True, with_transfer_set=True, released=True)
    assert {"gcn", "gallon-student", "gallon+gnn", "gallon+lm", "gallon"} <= set(rows)
    assert all(METHODS[name].released for name in rows if METHODS[name].kind == "student")
    assert all("GALLON as released" in METHODS[name].summary for name in rows if METHODS[name].released)


def test_what_rests_on_a_graph_network_is_the_network_and_who_may_learn_from_it() -> None:
    rows = (
        "gin",
        "dmpnn",
        "lm",
        "gradient_boosting",
        "teachers",
        "student",
        "student+gnn",
        "student+lm",
        "gin+lm",
        "gnn+lm",
        "gallon",
    )
    assert [name for name in rows if method(name).rests_on("gin")] == [
        "gin",
        "teachers",
        "student+gnn",
        "gin+lm",
        "gnn+lm",
    ]
    assert summary_of("gin [pre-trained]").endswith("; a graph network begins with the pre-trained one")
    assert summary_of("lm [blind]").endswith("; texts: blind")


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UsageError, match="no method 'svm': choose out of random_forest"):
        method("svm")


def test_a_method_that_is_named_twice_is_one_row() -> None:
    assert [known.name for known in named(["student", "lm", "student"])] == ["student", "lm"]
    assert [known.name for known in named(["student", "gallon-student"], released=True)] == ["gallon-student"]
