"""Who is tried together after an engine was lost."""

from __future__ import annotations

import pytest

from cluster.annotation.annotator import MOST_LOSSES, Task, next_group


def tasks(*losses: int) -> list[Task]:
    return [
        Task(key=number.to_bytes(2, "big"), smiles="C", source="f", row=number, losses=lost)
        for number, lost in enumerate(losses, 1)
    ]


def test_all_that_were_never_lost_are_tried_together_and_first() -> None:
    waiting = tasks(1, *[0] * 60, 2)
    assert next_group(waiting) == waiting[1:61]


@pytest.mark.parametrize(("lost", "together"), [(1, 16), (2, 1), (3, 1)])
def test_the_oftener_they_were_lost_the_fewer_are_tried_together(lost: int, together: int) -> None:
    waiting = tasks(*[lost] * 40)
    assert next_group(waiting) == waiting[:together]


def test_a_molecule_that_kills_is_found_by_few_deaths_and_few_turns_of_the_engine() -> None:
    """One of 256 that an engine holds; alone one after the other it would be 256 turns."""
    waiting = tasks(*[0] * 256)
    killer = waiting[200]
    deaths = turns = 0
    while waiting:
        group = next_group(waiting)
        turns += 1
        if killer in group:
            deaths += 1
            for task in group:
                task.losses += 1
            waiting = [task for task in waiting if task.losses < MOST_LOSSES]
        else:
            waiting = [task for task in waiting if task not in group]
    assert killer.losses == MOST_LOSSES == deaths == 4
    assert turns == 34
