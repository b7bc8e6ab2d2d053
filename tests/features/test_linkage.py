"""Forms are one whatever the script; clusters agree with brute force and never know the future."""

import random
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from features.linkage.clusters import DIFFERENT, SAME, Change, Edge, Guards, resolved
from features.linkage.declared import Identity, Kind
from features.linkage.fitting import Patterns, matches_by_level, shares
from features.linkage.model import implied_share
from features.linkage.normal import normalised

# --- normal forms ---------------------------------------------------------------------------------

ALIKE: dict[Kind, list[set[str]]] = {
    "full_name": [
        {"王伟", "Wang Wei", "Wei Wang", "WANG, Wei", "Ｗａｎｇ　Ｗｅｉ", "Wáng Wěi"},
        {"歐陽思遠", "欧阳思远", "Ouyang Siyuan", "Siyuan, OUYANG"},
        {"張麗", "张丽", "Zhang Li"},
        {"Müller, Bob", "Robert Muller", "ROBERT MÜLLER", "Rob Mu\u0308ller"},
    ],
    "given_name": [{"Liz", "Elizabeth", " ELIZABETH "}, {"晓明", "曉明", "Xiaoming"}],
    "family_name": [{"Weiß", "weiss", "WEISS"}, {"O'Brien", "OBRIEN", "O’Brien"}],
    "email": [
        {"J.Smith+news@gmail.com", "jsmith@googlemail.com", " JSMITH@GMAIL.COM "},
        {"ann+shop@outlook.com", "Ann@Outlook.com"},
    ],
    "birth_date": [{"1990-05-17", "19900517", "17.05.1990", "1990/05/17", "１９９０-05-17"}],
    "address": [{"12 Main St.", "12 main street", "１２ MAIN STREET"}, {"南京路 5", "南京路5"}],
    "code": [{"AB-12 3", "ab123", "00AB123"}],
    "place": [{"São Paulo", "SAO  PAULO"}],
}  # fmt: skip
UNLIKE: dict[Kind, list[tuple[str, str]]] = {
    "email": [("j.smith@firm.example", "jsmith@firm.example"), ("a+b@x.example", "a@x.example")],
    "full_name": [("王伟", "王芳"), ("Ann Lee", "Ann Li")],
    "birth_date": [("1990-05-17", "1990-05-18")],
}  # fmt: skip


def one(text: str, kind: Kind, country: str | None = None) -> str | None:
    """The form of one text."""
    places = None if country is None else pa.chunked_array([[country]])
    return normalised(pa.chunked_array([[text]]), kind, places).to_pylist()[0]


@pytest.mark.parametrize(("kind", "same"), [(k, s) for k, sets in ALIKE.items() for s in sets])
def test_one_form_for_what_is_one(kind: Kind, same: set[str]) -> None:
    """Scripts, widths, accents, cases, orders and nicknames end in one form."""
    assert len({one(text, kind) for text in same} - {None}) == 1, {one(t, kind) for t in same}


@pytest.mark.parametrize(("kind", "pair"), [(k, p) for k, pairs in UNLIKE.items() for p in pairs])
def test_what_differs_stays_apart(kind: Kind, pair: tuple[str, str]) -> None:
    """Dots and tags count where the provider does not ignore them; names of others differ."""
    assert one(pair[0], kind) != one(pair[1], kind)


def test_telephone_numbers_need_a_country() -> None:
    """National and international ways of writing are one number; what is none says nothing."""
    german = {"0171 2345678", "+49 171 2345678", "0049 171 2345678", "+49 (0)171 2345678"}
    assert {one(text, "phone", "DE") for text in german} == {"+491712345678"}
    assert one("0171 2345678", "phone") is None
    assert one("0171 2345678", "phone", "AT") == "+431712345678"
    assert [one(text, "phone", "DE") for text in ("12", "call me", "+1")] == [None] * 3


@pytest.mark.parametrize("text", ["nobody", "@x.example", "a@b", "", "a b@c.example"])
def test_what_is_no_address_says_nothing(text: str) -> None:
    """A text that is no e-mail address is missing, so it speaks neither for nor against."""
    assert one(text, "email") is None


@given(text=st.text(max_size=30), kind=st.sampled_from(sorted(ALIKE)))
def test_forms_are_lasting(text: str, kind: Kind) -> None:
    """A form is missing or small plain text without blanks around it, however wide the text."""
    form = one(text, kind)
    assert form is None or (form and form == form.strip() and form == form.casefold())
    wide = one(unicodedata.normalize("NFKC", text), kind)
    assert wide == form or kind in ("address", "place")


# --- clusters -------------------------------------------------------------------------------------

NODES, TIMES = range(8), range(1, 7)
EDGES = st.lists(
    st.builds(
        lambda pair, known, sure, length: Edge(
            known, sure, min(pair), max(pair), "model", length and known + length
        ),
        st.lists(st.sampled_from(NODES), min_size=2, max_size=2, unique=True),
        st.sampled_from(TIMES), st.sampled_from([0.9, 0.95, 1.0]),
        st.sampled_from([None, None, None, 1, 2]),
    ),
    max_size=14,
)  # fmt: skip
FIRST = st.lists(st.integers(0, 1), min_size=8, max_size=8).map(lambda k: dict(enumerate(k)))
VALUES = st.dictionaries(
    st.sampled_from(NODES),
    st.lists(st.tuples(st.just("born"), st.sampled_from(["1111", "2222"]), st.integers(0, 6)),
             max_size=2),
    max_size=5,
)  # fmt: skip
APART = st.lists(
    st.tuples(st.sampled_from(NODES), st.sampled_from(NODES), st.sampled_from(TIMES)), max_size=3
).map(
    lambda told: {
        a: {y if x == a else x: at for x, y, at in told if a in (x, y) and x != y}
        for a in {node for x, y, _ in told for node in (x, y)}
    }
)


def owners(changes: list[Change], t: int) -> dict[int, int]:
    """Who everyone belongs to just after ``t``, by the story that the changes tell."""
    owner = {node: node for node in NODES}
    for change in changes:
        if change.known <= t:
            owner[change.customer] = change.owner
    return owner


@given(edges=EDGES, first=FIRST)
def test_clusters_are_what_links_in_force_reach(edges: list[Edge], first: dict[int, int]) -> None:
    """At every moment owners equal a flood fill of the links that then hold."""
    changes, refused = resolved(edges, first, Guards(100, {}, {}))
    assert not refused
    for t in range(10):
        held = [e for e in edges if e.known <= t and (e.until is None or t < e.until)]
        found = owners(changes, t)
        for node in NODES:
            reached, grows = {node}, True
            while grows:
                more = {x for e in held for x in (e.a, e.b) if {e.a, e.b} & reached}
                grows, reached = not more <= reached, reached | more
            assert found[node] == min(reached, key=lambda k: (first[k], k))


@given(edges=EDGES, first=FIRST, values=VALUES, apart=APART, largest=st.integers(2, 6))
def test_the_past_does_not_know_the_future(
    edges: list[Edge], first: dict[int, int], values: dict, apart: dict, largest: int
) -> None:
    """What the links known by ``t`` give is what all links tell of the time until then."""
    everything = resolved(edges, first, Guards(largest, values, apart))[0]
    for t in TIMES:
        known = [e._replace(until=None if (e.until or 9) > t else e.until)
                 for e in edges if e.known <= t]  # fmt: skip
        then = {n: [v for v in told if v[2] <= t] for n, told in values.items()}
        said = {a: {b: at for b, at in told.items() if at <= t} for a, told in apart.items()}
        found = resolved(known, first, Guards(largest, then, said))[0]
        assert found == [change for change in everything if change.known <= t]


@given(edges=EDGES, first=FIRST, apart=APART, largest=st.integers(2, 4), seed=st.integers(0, 9))
def test_guards_hold_at_every_moment(
    edges: list[Edge], first: dict[int, int], apart: dict, largest: int, seed: int
) -> None:
    """No cluster exceeds its size, who was told apart stays apart; the order of links is free."""
    changes, refused = resolved(edges, first, Guards(largest, {}, apart))
    for t in range(10):
        found = owners(changes, t)
        assert max(Counter(found.values()).values()) <= largest
        for a, told in apart.items():
            assert all(found[a] != found[b] for b, at in told.items() if at <= t)
        assert all(found[owner] == owner for owner in found.values())
    shuffled = random.Random(seed).sample(edges, len(edges))
    assert resolved(shuffled, first, Guards(largest, {}, apart)) == (changes, refused)


def test_a_contradiction_waits_for_a_person() -> None:
    """Two dates of birth keep two apart, one slip does not, and a person may overrule."""
    first = dict.fromkeys(NODES, 0)
    values = {0: [("born", "19900517", 0)], 1: [("born", "19850101", 0)]}
    link = Edge(1, 0.99, 0, 1, "model")
    changes, refused = resolved([link], first, Guards(9, values, {}))
    assert not changes
    assert [k.why for k in refused] == ["contradict each other: born"]
    slip = {0: values[0], 1: [("born", "19900571", 0)]}
    assert resolved([link], first, Guards(9, slip, {}))[0] == [Change(1, 1, 0, "model", 0.99)]
    said = [link, Edge(2, 1.0, 0, 1, SAME)]
    assert resolved(said, first, Guards(9, values, {})) == ([Change(2, 1, 0, SAME, 1.0)], [])
    apart = {0: {1: 3}, 1: {0: 3}}
    changes, _ = resolved([link], first, Guards(9, slip, apart))
    assert changes[-1] == Change(3, 1, 1, DIFFERENT, 1.0)


# --- the model ------------------------------------------------------------------------------------


def test_share_of_matches_is_the_one_that_weights_imply() -> None:
    """The fixed point adds up: probabilities sum to the share times the number of pairs."""
    rng = np.random.default_rng(3)
    weights = np.concatenate([rng.normal(22, 2, 300), rng.normal(-8, 2, 20_000)])
    pairs = 1e6
    share = implied_share(weights, np.ones(len(weights), dtype=np.int64), pairs)
    odds = share / (1 - share) * np.exp2(weights)
    assert (odds / (1 + odds)).sum() == pytest.approx(share * pairs, rel=1e-5)
    assert share == pytest.approx(300 / pairs, rel=0.05)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"block": [["name", "zip"]]}, "not among columns"),
        ({"block": [["name"]]}, "name: in every block"),
        ({"block": []}, "compare and block go together"),
        ({"compare": [], "block": []}, "give keys"),
        ({"block": [["name"], ["born"]], "link_at": 0.4}, "review_at is above link_at"),
    ],
)
def test_declarations_that_cannot_work(more: dict, said: str) -> None:
    """What contradicts itself is refused when the YAML is read."""
    with pytest.raises(ValidationError, match=said):
        Identity.model_validate({"columns": {"name": "full_name", "born": "birth_date"}, **more})


def test_shares_of_a_known_mixture_are_found() -> None:
    """EM gives back the ``m`` that drew the matches; what the block fixes is left alone."""
    rng = np.random.default_rng(5)
    u = [np.array([0.9, 0.09, 0.01]), np.array([0.98, 0.02]), np.array([0.7, 0.3])]
    m = [np.array([0.05, 0.15, 0.8]), np.array([0.1, 0.9])]
    matches, others = 4_000, 12_000
    drawn = [
        np.concatenate([rng.choice(len(a), matches, p=a), rng.choice(len(b), others, p=b)])
        for a, b in zip(m, u, strict=False)
    ]
    levels = np.column_stack([*drawn, np.ones(matches + others, dtype=np.int64)])
    levels[rng.random(levels.shape) < 0.1] = -1
    patterns, counts = np.unique(levels, axis=0, return_counts=True)
    held = Patterns(patterns, counts.astype(np.float64))
    *found, fixed = matches_by_level(held, u, [True, True, False])
    for true, expected in zip(m, found, strict=True):
        assert shares(expected) == pytest.approx(true, abs=0.03)
    assert not fixed.any()
    # All matches, or a level that none has: still a share of everything.
    certain = Patterns(np.array([[2, 1, 1]]), np.array([50.0]))
    assert (shares(matches_by_level(certain, u, [True, True, False])[0]) > 0).all()
