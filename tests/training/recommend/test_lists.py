"""Rules, mixes, ladder and words: no list is short without a reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.recommend.worlds import DAYS, HORIZON, SHELF, Shop, shelf_of
from training.recommend.body import ListRequest
from training.recommend.lists import KINDS
from training.recommend.recommender import Recommender
from training.recommend.requests import answer, similar
from training.recommend.shelf import Shelf

HISTORY = [
    {"product_id": "P000", "days_ago": 40, "quantity": 1},
    {"product_id": "P000", "days_ago": 5, "quantity": 1},
    {"product_id": "P002", "days_ago": 5, "quantity": 2},
    {"product_id": "P004", "days_ago": 75, "quantity": 1},
]
OWNED = {"P000", "P002", "P004"}


def _codes(reply: dict) -> list[str]:
    return [item["product_id"] for item in reply["items"]]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(1, 40),
    st.sets(st.integers(0, 23)).map(lambda s: [f"P{i:03d}" for i in sorted(s)]),
    st.floats(0, 1),
    st.one_of(st.none(), st.integers(1, 3)),
)
def test_every_list_keeps_every_rule(made, kind, k, deny, diversity, cap):
    """No item twice, none that a rule forbids, as many as asked or a reason."""
    rules = {"deny": deny, "diversity": diversity, "most_per_brand": cap}
    body = {"history": HISTORY, "basket": ["P006"], "list": kind, "k": k, "rules": rules}
    reply = answer(made, body, explained=True)
    codes = _codes(reply)
    assert len(codes) == len(set(codes)) <= k
    assert not set(codes) & {*deny, "P006"}
    assert (len(codes) == k) == (reply["short"] is None)
    if kind == "repeat":
        assert set(codes) <= OWNED
    if kind in ("discovery", "upsell"):
        assert not set(codes) & OWNED
    if cap:
        brands = [int(code[1:]) % 3 for code in codes]
        assert all(brands.count(b) <= cap for b in set(brands))
    for item in reply["items"]:
        assert item["sum_check"] < 1e-5
        parts = sum(part["contribution"] for part in item["purchases"])
        assert parts == pytest.approx(item["maker_score"], abs=1e-9)
        assert item["reason"]


def test_what_was_filtered_is_said(made: Recommender):
    """Each item counted once, at the first rule that takes it away."""
    rules = {
        "deny": ["P000", "P001"], "out_of_stock": ["P001", "P003"], "categories": ["even"],
        "price": {"low": 5, "high": 11},
    }  # fmt: skip
    reply = answer(made, {"history": HISTORY, "k": 24, "rules": rules})
    said = {line["rule"]: line["items"] for line in reply["filtered"]}
    assert said == {
        "out of stock": 2, "denied": 1, "another category": 10,
        "below the price range": 1, "above the price range": 6,
    }  # fmt: skip
    assert set(_codes(reply)) == {"P004", "P006", "P008", "P010"}
    assert reply["short"] == "only 4 items pass the rules"


def test_mix_keeps_the_share_from_the_top(made: Recommender):
    """Half and half at every even place; a share that repeats cannot fill goes to new items."""
    body = {"history": HISTORY, "list": "mix", "k": 6, "repeat_share": 0.5}
    bought = [item["bought_before"] for item in answer(made, body)["items"]]
    assert [sum(bought[:n]) for n in (2, 4, 6)] == [1, 2, 3]
    more = answer(made, {**body, "k": 10, "repeat_share": 1.0})
    assert sum(item["bought_before"] for item in more["items"]) == 3
    assert len(more["items"]) == 10


def test_ladder_is_named(made: Recommender):
    """Nobody known: the season or what sells; the reply says which step, and never fails."""
    for history in ([], [{"product_id": "nothing of ours", "days_ago": 1}]):
        reply = answer(made, {"history": history, "k": 5})
        assert len(reply["items"]) == 5
        assert {item["step"] for item in reply["items"]} <= {"season", "popular"}
        assert "bought by many" in reply["step"]
        assert reply["unknown_items"] == len(history)
    for kind in ("basket", "mix"):
        reply = answer(made, {"list": kind, "basket": [], "k": 5})
        assert len(reply["items"]) == 5
        assert {item["step"] for item in reply["items"]} <= {"season", "popular"}
    empty = answer(made, {"list": "repeat"})
    assert empty["items"] == []
    assert "nothing bought before is known" in empty["short"]


def test_segment_speaks_for_a_stranger(made: Recommender, world: Shop):
    """What sells in it comes first, then what sells to all; an unknown one says nothing."""
    seen = world.asof(DAYS - HORIZON)
    taste = [("even", "odd")[c % 2] for c in seen.customers]
    few = ["few" if c < 19 else "" for c in range(len(taste))]
    shelf = Shelf(SHELF, HORIZON, {"recent": made.shelf.makers["recent"]})
    assert shelf.fit(seen.past, seen.attributes, few).demand.segments == ()
    shelf.fit(seen.past, seen.attributes, taste)
    assert shelf.demand.segments == ("even", "odd")
    other = Recommender(shelf, {})
    reply = answer(other, {"segment": "odd", "k": 15})
    steps = [item["step"] for item in reply["items"]]
    assert steps[:12] == ["segment"] * 12
    assert "segment" not in steps[12:]
    assert all(int(code[1:]) % 2 for code in _codes(reply)[:12])
    bought = (seen.past.customer, seen.past.item)
    first = int(_codes(reply)[0][1:])
    lately = (bought[1] == first) & (seen.past.age <= 90)
    said = f"{len(set(bought[0][lately]))} customers of odd bought it in the last 90 days"
    assert reply["items"][0]["reason"] == said
    unknown = answer(other, {"segment": "purple", "k": 15})
    assert _codes(unknown) == _codes(answer(other, {"k": 15}))
    assert "none of the 2 that are known" in unknown["warnings"][0]


def test_content_fills_up_what_links_leave(made: Recommender):
    """Nothing more goes with the basket: what is described alike comes next, and adds up."""
    reply = answer(made, {"basket": ["P004"], "list": "basket", "k": 24}, explained=True)
    steps = [item["step"] for item in reply["items"]]
    assert steps == sorted(steps, key=("ranked", "content", "season", "popular").index)
    alike = [item for item in reply["items"] if item["step"] == "content"]
    assert alike
    for item in alike:
        assert item["reason"] == "described like Article eee"
        assert (item["maker"], item["base"]) == ("content", 0.0)
        assert item["sum_check"] < 1e-12
        assert item["score"] == pytest.approx(made.described[4, made.places[item["product_id"]]])


def test_bad_input_has_clear_answers(made: Recommender):
    """Everything denied, more than the catalogue, returns, doubled lines: words, no exception."""
    everything = [f"P{i:03d}" for i in range(24)]
    denied = answer(made, {"history": HISTORY, "rules": {"deny": everything}})
    assert (denied["items"], denied["short"]) == ([], "only 0 items pass the rules")
    assert answer(made, {"history": HISTORY, "rules": {"allow": []}})["items"] == []
    many = answer(made, {"history": HISTORY, "k": 500})
    assert many["short"] == "500 items were asked for, the catalogue has 24"
    back = [*HISTORY, {"product_id": "P002", "days_ago": 1, "quantity": -5}]
    reply = answer(made, {"history": back, "list": "repeat"})
    assert "P002" not in _codes(reply)
    assert reply["warnings"] == ["1 product(s) were taken back entirely and do not count"]
    twice = answer(made, {"history": [*HISTORY, HISTORY[-1]]})
    assert _codes(twice) == _codes(answer(made, {"history": HISTORY}))


def test_upsell_is_a_step_up(made: Recommender, world: Shop):
    """Same category, dearer by a tenth to double than something owned, and says than what."""
    reply = answer(made, {"history": HISTORY, "list": "upsell", "k": 24}, explained=True)
    price = {code: 1.0 + int(code[1:]) for code in made.places}
    expected = {
        code for code in set(price) - OWNED
        for own in OWNED
        if int(code[1:]) % 2 == int(own[1:]) % 2 and 1.1 <= price[code] / price[own] <= 2
    }  # fmt: skip
    assert set(_codes(reply)) == expected
    assert f"only {len(expected)} items pass" in reply["short"]
    scores = [item["score"] for item in reply["items"]]
    assert scores == sorted(scores, reverse=True)
    by_code = {item["product_id"]: item for item in reply["items"]}
    assert by_code["P008"]["reason"] == "a step up from Article eee: 9.00 instead of 5.00"
    assert all(item["sum_check"] < 1e-5 for item in reply["items"])
    nobody = answer(made, {"list": "upsell"})
    assert "nothing bought before is known" in nobody["short"]


def test_basket_speaks_for_a_new_customer(made: Recommender):
    """Without a history the basket ranks the list; with one it only goes unlisted."""
    new = answer(made, {"basket": ["P004"], "k": 5})
    assert {item["step"] for item in new["items"]} == {"ranked"}
    assert "P004" not in _codes(new)
    today = [{"product_id": "P004", "days_ago": 0}]
    assert _codes(new) == _codes(answer(made, {"history": today, "basket": ["P004"], "k": 5}))


def test_what_was_launched_later_is_never_listed(made: Recommender, world: Shop):
    """Listed by the source but not sold before the cutoff: in no list, and the rule is named."""
    kept = (world.item != 23) | (world.day >= DAYS - HORIZON)
    late = Shop(world.customer[kept], world.item[kept], world.day[kept], 60, 24)
    other = Recommender(shelf_of(late.asof(DAYS - HORIZON)), made.rankers)
    for kind in KINDS:
        for more in ({}, {"rules": {"allow": ["P023", "P006"]}}):
            body = {"history": HISTORY, "basket": ["P001"], "list": kind, "k": 24, **more}
            reply = answer(other, body)
            assert "P023" not in _codes(reply)
            assert reply["filtered"][0] == {"rule": "not sold lately", "items": 1}
    reply = answer(other, {"history": [{"product_id": "P023", "days_ago": 2}], "k": 24})
    assert "P023" not in _codes(reply)


def test_unsold_items_are_listed_by_what_they_are_like(made: Recommender, world: Shop):
    """Where the pipeline offers them: a new item reaches those who buy its kind, with a reason."""
    kept = world.item != 23
    late = Shop(world.customer[kept], world.item[kept], world.day[kept], 60, 24)
    seen = late.asof(DAYS - HORIZON)
    offering = SHELF.model_copy(update={"unsold": True})
    shelf = Shelf(offering, HORIZON, shelf_of(seen).makers).fit(seen.past, seen.attributes)
    history = [{"product_id": f"P{i:03d}", "days_ago": 5} for i in (17, 19, 21)]
    body = {"history": history, "list": "discovery", "k": 24}
    listed = {x["product_id"]: x for x in answer(Recommender(shelf, made.rankers), body)["items"]}
    assert listed["P023"]["reason"].startswith(("goes with", "described like"))


def test_dates_are_days_ago(made: Recommender):
    """A line with a date and today is the line with days_ago."""
    dated = [
        {"product_id": "P000", "date": "2026-01-01"},
        {"product_id": "P002", "date": "2025-12-20"},
    ]
    counted = [{"product_id": "P000", "days_ago": 9}, {"product_id": "P002", "days_ago": 21}]
    one = answer(made, {"history": dated, "today": "2026-01-10"})
    assert one["items"] == answer(made, {"history": counted})["items"]
    for wrong, said in (
        ({"history": dated}, "need today"),
        ({"history": dated, "today": "2025-12-31"}, "after today"),
        ({"history": [{"product_id": "P000"}]}, "either days_ago or date"),
    ):
        with pytest.raises(ValueError, match=said):
            ListRequest.model_validate(wrong)


def test_diversity_trades_likeness(made: Recommender):
    """More diversity, lists that are less alike; none leaves the order of scores."""

    def likeness(diversity: float) -> float:
        body = {"history": HISTORY, "k": 6, "rules": {"diversity": diversity}}
        items = [made.places[code] for code in _codes(answer(made, body))]
        alike = made.alike.toarray()[np.ix_(items, items)]
        return float(alike.sum() - np.trace(alike))

    assert likeness(0.9) < likeness(0.0)
    scores = [item["score"] for item in answer(made, {"history": HISTORY, "k": 6})["items"]]
    assert scores == sorted(scores, reverse=True)


def test_similar_and_basket_are_of_the_taste(made: Recommender, world: Shop):
    """Two tastes never mix: what goes with an even item is even; the item itself is not listed."""
    for reply in (
        similar(made, {"product_id": "P004", "k": 5}),
        answer(made, {"basket": ["P004"], "list": "basket", "k": 5}),
    ):
        codes = _codes(reply)
        assert "P004" not in codes
        assert all(int(code[1:]) % 2 == 0 for code in codes)
    unknown = similar(made, {"product_id": "never heard of", "k": 3})
    assert unknown["unknown_items"] == 1
    assert len(unknown["items"]) == 3


def test_sentences_hold_the_customers_own_numbers(made: Recommender):
    """Every 35 days = every 5 weeks; last time 6 weeks ago."""
    history = [{"product_id": "P000", "days_ago": d} for d in (42, 77, 112)]
    reply = answer(made, {"history": history, "list": "repeat"})
    assert reply["items"][0]["reason"] == "you buy this every 5 weeks; last time 6 weeks ago"
    once = answer(made, {"history": history[:1], "list": "repeat"})
    assert once["items"][0]["reason"] == "you bought this 6 weeks ago"
