"""The actions of a menu and their first features, by hand."""

import numpy as np
import pytest
from menu_shop import actions_of, shop_menu, shop_tasks
from sqlite_files import write

from text2sql_gym.lookups import Lookup
from text2sql_gym.types import Task
from text2sql_gym.wrappers.menu import FEATURES, Feature, Kind, Sizes

SCHEMA = (("shop", "name"), ("shop", "town"))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return shop_tasks(tmp_path_factory.mktemp("menu"))


def menu_of(tasks, name, **sizes):
    with shop_menu(tasks, **sizes) as env:
        env.reset(options={"task_id": name})
        return env.menu


def items_of(menu, kind):
    return [item for item in menu.items if item is not None and item.kind is kind]


def test_the_kinds_stand_in_the_order_of_the_documentation():
    sizes = Sizes(candidates=2, looks=1, peeks=2, proposals=1)
    assert [kind.name for kind in sizes.kinds] == [
        "PEEK", "PEEK", "LOOK", "TRIAL", "TRIAL", "PROPOSE", "REPEAT", "SLIP", "SUBMIT", "SUBMIT"
    ]  # fmt: skip
    assert len(Kind) + len(Feature) == FEATURES


@pytest.mark.parametrize("seed", range(5))
def test_a_single_look_is_at_the_right_column_for_the_longest_shared_word(tasks, seed):
    (look,) = items_of(menu_of(tasks, "looked_up", looks=1, seed=seed), Kind.LOOK)
    assert look.lookup == Lookup("shop", "town", "vienna")
    assert "SELECT DISTINCT town FROM shop WHERE town LIKE '%vienna%'" in look.turn


def test_looks_are_at_compared_columns_first_and_at_each_text_column_once(tasks):
    looks = items_of(menu_of(tasks, "joined", looks=9), Kind.LOOK)
    columns = [(look.lookup.table, look.lookup.column) for look in looks]
    assert sorted(columns) == [("sale", "state"), ("shop", "name"), ("shop", "town")]
    two = items_of(menu_of(tasks, "joined", looks=2), Kind.LOOK)
    assert {look.lookup.column for look in two} == {"name", "town"}
    assert {look.lookup.value for look in looks} == {"vienna"}


def test_places_of_looks_peeks_and_proposals_differ_between_seeds(tasks):
    menus = [menu_of(tasks, "looked_up", proposals=3, seed=seed) for seed in range(8)]
    for kind in (Kind.LOOK, Kind.PEEK, Kind.PROPOSE):
        assert len({tuple(item.turn for item in items_of(menu, kind)) for menu in menus}) > 1, kind
    few = [menu_of(tasks, "looked_up", looks=2, seed=seed) for seed in range(8)]
    assert {items_of(menu, Kind.LOOK)[0].lookup.column == "town" for menu in few} == {True, False}


def test_what_a_menu_has_no_room_for_differs_between_seeds(tmp_path):
    columns = ", ".join(f"c{number} TEXT" for number in range(6))
    script = f"CREATE TABLE a (town TEXT, {columns}); INSERT INTO a (town) VALUES ('x-1'), ('y-2');"
    script += "".join(f"CREATE TABLE t{number} (id INTEGER);" for number in range(6))
    gold = "SELECT c1 FROM a WHERE town = 'x-1'"
    tasks = (Task("t", str(write(tmp_path / "wide.sqlite", script)), "Which?", (gold,)),)
    looks, peeks, proposals = set(), set(), set()
    for seed in range(12):
        menu = menu_of(tasks, "t", candidates=2, looks=3, peeks=2, proposals=2, seed=seed)
        looks |= {item.lookup.column for item in items_of(menu, Kind.LOOK)}
        peeks |= {item.lookup.table for item in items_of(menu, Kind.PEEK)}
        proposals |= {item.schema for item in items_of(menu, Kind.PROPOSE)}
    assert len(looks) > 4 and len(peeks) > 3 and len(proposals) > 3


def test_peeks_are_at_compared_tables_first(tasks):
    for seed in range(5):
        (peek,) = items_of(menu_of(tasks, "looked_up", peeks=1, seed=seed), Kind.PEEK)
        assert peek.lookup == Lookup("shop", "", "")
        assert "SELECT * FROM shop LIMIT 3" in peek.turn
    both = items_of(menu_of(tasks, "looked_up", peeks=5), Kind.PEEK)
    assert sorted(peek.lookup.table for peek in both) == ["sale", "shop"]


def test_proposals_are_the_schema_that_is_read_and_others(tasks):
    menu = menu_of(tasks, "looked_up", proposals=1)
    (only,) = items_of(menu, Kind.PROPOSE)
    assert only.schema == menu.reads == SCHEMA
    assert only.lookup == Lookup("shop", "town", "Vienna-55")
    many = items_of(menu_of(tasks, "counted", proposals=9), Kind.PROPOSE)
    schemas = {item.schema for item in many}
    town, name = ("shop", "town"), ("shop", "name")
    assert schemas == {(town,), (name,), (town, name)}


def test_a_slip_is_a_candidate_with_a_word_too_much(tasks):
    menu = menu_of(tasks, "quoted")
    (slip,) = items_of(menu, Kind.SLIP)
    (trial,) = [item for item in items_of(menu, Kind.TRIAL) if item.place == 0]
    assert menu.candidates[0].sql + " WHERE" in slip.turn and slip.lookup == trial.lookup


def test_places_of_candidates_lead_to_trial_and_submission(tasks):
    menu = menu_of(tasks, "looked_up")
    for place, numbers in menu.by_place.items():
        kinds = [menu.items[number].kind for number in numbers]
        assert kinds == [Kind.TRIAL, Kind.SUBMIT]
        assert {menu.items[number].place for number in numbers} == {place}
    assert menu.items[menu.right_action].place == menu.right
    assert menu.candidates[menu.right].lookup.value == "Vienna-55"
    lacking = menu_of(tasks, "looked_up", looks=9)
    with pytest.raises(ValueError, match="the task has no action 10"):
        lacking.action(10)
    assert all(menu.action(number) == menu.items[number] for number in menu.by_turn.values())


def test_the_first_features_by_hand(tasks):
    # the question: Show the name of all shops whose town is Vienna.
    with shop_menu(tasks, peeks=2, looks=3, proposals=1, seed=3) as env:
        env.reset(options={"task_id": "looked_up"})
        menu = env.menu
        numbers = {
            (item.kind, item.lookup.column or item.lookup.table): number
            for number, item in enumerate(menu.items)
            if item is not None and item.kind in (Kind.PEEK, Kind.LOOK)
        }
        slip, propose = (actions_of(env, kind)[0] for kind in (Kind.SLIP, Kind.PROPOSE))
        repeat = actions_of(env, Kind.REPEAT)[0]
    features = menu.template
    share = sum(one.lookup.column == "town" for one in menu.candidates) / len(menu.candidates)
    assert 0.6 <= share < 1.0
    expected = {  # named in the question, share of the candidates that compare it
        (Kind.PEEK, "shop"): (0.0, 1.0),  # "shops" is another word
        (Kind.PEEK, "sale"): (0.0, 0.0),
        (Kind.LOOK, "town"): (1.0, share),
        (Kind.LOOK, "name"): (1.0, 1.0 - share),
        (Kind.LOOK, "state"): (0.0, 0.0),
    }
    for key, (named, compared) in expected.items():
        row = features[numbers[key]]
        assert row[Feature.NAMED] == named, key
        assert row[Feature.COMPARED] == pytest.approx(compared), key
        assert not row[[Feature.QUOTED, Feature.SAID, Feature.WORDS]].any()
    assert features[propose, Feature.NAMED] == 1.0
    assert features[propose, Feature.WORDS] == 0.0 == features[slip, Feature.WORDS]
    assert (features[:, Feature.TURNS] == 1).all()
    assert features[repeat, Feature.AVAILABLE] == 0 and features[:, Feature.AVAILABLE].sum() == 17
    later = [f for f in Feature if Feature.SEEN <= f <= Feature.TAKEN] + [Feature.ERROR]
    assert not features[:, later].any()
    kinds = np.eye(len(Kind))[[kind for kind in Sizes(5, 3, 2, 1).kinds]]
    np.testing.assert_array_equal(features[:, : len(Kind)], kinds)


def test_what_is_said_of_candidates_by_hand(tasks):
    menu = menu_of(tasks, "looked_up", candidates=9)
    assert len(menu.candidates) > 5
    for place, (trial, submit) in menu.by_place.items():
        value = menu.candidates[place].lookup.value
        for row in menu.template[[trial, submit]]:
            assert row[Feature.SAID] == (value == "Vienna")
            assert row[Feature.WORDS] == ("ienna" in value)
            assert row[Feature.QUOTED] == 0
    quoted = menu_of(tasks, "quoted", candidates=9)
    for place, numbers in quoted.by_place.items():
        value = quoted.candidates[place].lookup.value
        assert all(quoted.template[n, Feature.QUOTED] == (value == "Oslo-19") for n in numbers)
