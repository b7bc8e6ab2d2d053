"""What each channel knows of who somebody is: names, addresses, numbers, written its own way.

Every customer has an account, under the number that all exports use, and may have a loyalty card, a
newsletter subscription, an app and a support record under numbers of their own. They know different
things, write them differently and now and then wrongly; households share homes, landlines and
devices. Whose record is whose is the truth that stands beside.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.simulate.draws import Floats, Ints, seconds, stream, words
from features.simulate.names import STREETS, TOWNS
from features.simulate.naming import Names, drawn_names
from features.simulate.people import People
from features.simulate.world import World

Texts = NDArray[Any]
KNOWS: dict[str, tuple[str, float, dict[str, float]]] = {
    "account": ("S", 1.0, {"name": 1.0, "email": 0.95, "phone": 0.6, "born": 0.7, "home": 1.0}),
    "card": ("L", 0.5, {"name": 1.0, "phone": 0.5, "born": 0.8, "home": 0.9}),
    "newsletter": ("N", 0.4, {"name": 0.6, "email": 1.0}),
    "app": ("A", 0.35, {"email": 0.8, "phone": 0.3, "device": 1.0}),
    "support": ("T", 0.2, {"name": 1.0, "email": 0.6, "phone": 0.6, "home": 0.3}),
}
"""Channel -> letter of its numbers, share of customers, share of records with each thing."""
DAYS_TO_SECOND_CHANNEL = 150.0
TYPO_SHARE = 0.06
"""Share of each text that is mistyped by one letter."""
SECOND_EMAIL_SHARE, LANDLINE_SHARE = 0.15, 0.3
TRADITIONAL_SHARE = 0.2
"""Share of Chinese names in signs that are written in traditional ones."""
DIAL = {"DE": "49", "AT": "43", "NL": "31", "BE": "32", "FR": "33"}


def draw_identifiers(world: World, people: People) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the export, and ``record`` and ``customer`` of each as the truth."""
    config, frame = world.config, people.frame
    rng, n = stream(config, "identifiers"), len(frame)
    signup = frame["signup_day"].to_numpy()
    owners, channels, days = [], [], []
    for k, (_, share, _) in enumerate(KNOWS.values()):
        owner = np.flatnonzero(rng.random(n) < share)
        wait = 0.0 if k == 0 else rng.exponential(DAYS_TO_SECOND_CHANNEL, len(owner))
        day = signup[owner] + wait
        there = day < config.days
        owners.append(owner[there])
        channels.append(np.full(there.sum(), k))
        days.append(day[there])
    owner, channel, day = map(np.concatenate, (owners, channels, days))
    number = 100_000 + rng.permutation(len(owner))
    letters = np.array([letter for letter, *_ in KNOWS.values()], dtype=object)
    record = letters[channel] + number.astype(str).astype(object)
    account = channel == 0
    record[account] = world.customers["shopper"].to_numpy()[owner[account]]
    given = {
        thing: rng.random(len(owner))
        < np.array([known.get(thing, 0.0) for *_, known in KNOWS.values()])[channel]
        for thing in ("name", "email", "phone", "born", "home", "device")
    }
    names = drawn_names(config, frame)
    home = _homes(rng, people, owner, day)
    columns: dict[str, tuple[str, Callable[[], Texts]]] = {
        "name": ("name", lambda: _written(rng, names, owner)),
        "email": ("email", lambda: _emails(rng, names, people, owner)),
        "phone": ("phone", lambda: _phones(rng, frame, owner)),
        "born": ("born", lambda: _births(rng, frame, owner)),
        "street": ("home", lambda: home["street"]),
        "postcode": ("home", lambda: home["postcode"]),
        "device": ("device", lambda: _devices(rng, people, owner)),
    }
    rows = pd.DataFrame({
        "record": record, "happened": seconds(day), "country": frame["country"].to_numpy()[owner],
        "channel": words(channel, list(KNOWS)),
    })  # fmt: skip
    for name, (thing, written) in columns.items():
        texts = written()
        if name in ("name", "email", "street", "born"):
            texts = _mistyped(rng, texts)
        rows[name] = pd.Series(texts, dtype=object).where(given[thing], None)
    return rows, pd.DataFrame({"record": record, "customer": owner})


def _written(rng: np.random.Generator, names: Names, owner: Ints) -> Texts:
    """Names by channel: in either order, in capitals, in signs of either kind, or in letters."""
    style = rng.random(len(owner))
    given, family = names.letters["given"][owner], names.letters["family"][owner]
    text = np.where(style < 0.15, family + ", " + given, given + " " + family)
    text = np.where(style > 0.92, np.char.upper(text.astype(str)), text).astype(object)
    signs = names.chinese[owner] & (rng.random(len(owner)) < 0.7)
    old = rng.random(len(owner)) < TRADITIONAL_SHARE
    written = names.signs["family"][owner[signs]] + names.signs["given"][owner[signs]]
    text[signs] = np.where(old[signs], _traditional(written), written)
    return text


def _traditional(texts: Texts) -> Texts:
    import opencc

    convert = opencc.OpenCC("s2t").convert
    distinct, place = np.unique(texts.astype(str), return_inverse=True)
    return np.array([convert(text) for text in distinct], dtype=object)[place]


def _emails(rng: np.random.Generator, names: Names, people: People, owner: Ints) -> Texts:
    """The address of the account, another one of the person, or the first with a capital."""
    n = len(people.frame)
    first = people.rows["customers"]["email"].to_numpy()[:n].astype(object)
    second = names.letters["family"] + rng.integers(1, 100_000, n).astype(str).astype(object)
    second = np.char.add(_ascii(second), "@work.example").astype(object)
    text = np.where(rng.random(len(owner)) < SECOND_EMAIL_SHARE, second[owner], first[owner])
    loud = rng.random(len(owner)) < 0.1
    return np.where(loud, np.char.capitalize(text.astype(str)), text).astype(object)


def _ascii(texts: Texts) -> NDArray[np.str_]:
    plain = pd.Series(texts).str.normalize("NFKD").str.encode("ascii", "ignore").str.decode("ascii")
    return np.asarray(plain.str.lower().str.replace(" ", "", regex=False), dtype=str)


def _phones(rng: np.random.Generator, frame: pd.DataFrame, owner: Ints) -> Texts:
    """A mobile of one's own or the landline of the home, in three ways of writing."""
    n, partner = len(frame), frame["partner"].to_numpy()
    mobile = rng.integers(10_000_000, 99_999_999, n)
    landline = rng.integers(10_000_000, 99_999_999, n)
    second = (partner >= 0) & (partner < np.arange(n))
    landline[second] = landline[partner[second]]
    home = rng.random(len(owner)) < LANDLINE_SHARE
    digits = np.where(home, landline[owner], mobile[owner]).astype(str)
    area = np.where(home, "30", "17")
    country = np.array([DIAL[k] for k in frame["country"]])[owner]
    style = rng.random(len(owner))
    local = np.char.add(np.char.add(np.char.add("0", area), " "), digits)
    abroad = np.char.add(np.char.add(np.char.add(np.char.add("+", country), " "), area), digits)
    zeros = np.char.add(np.char.add(np.char.add("00", country), area), digits)
    return np.where(style < 0.5, local, np.where(style < 0.85, abroad, zeros)).astype(object)


def _births(rng: np.random.Generator, frame: pd.DataFrame, owner: Ints) -> Texts:
    year = frame["birth_year"].fillna(1980).to_numpy(dtype=np.int64)
    year = np.where(frame["birth_year"].isna(), 1950 + rng.integers(50, size=len(frame)), year)
    start = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    born = (start + rng.integers(365, size=len(frame))).astype(str)
    return born[owner].astype(object)


def _homes(
    rng: np.random.Generator, people: People, owner: Ints, day: Floats
) -> dict[str, Texts]:  # fmt: skip
    """Street and postcode at the time of the record; a household lives together and moves so."""
    frame, n = people.frame, len(people.frame)
    partner = frame["partner"].to_numpy()
    second = (partner >= 0) & (partner < np.arange(n))
    moved = frame["moved_day"].to_numpy()[owner] <= day
    found: dict[str, list[Texts]] = {"street": [], "postcode": []}
    for region, town in (("region", "town"), ("region_after", "town_after")):
        street, house, part = (rng.integers(k, size=n) for k in (len(STREETS), 120, 90))
        for values in (street, house, part):
            values[second] = values[partner[second]]
        area = frame[region].cat.codes.to_numpy().astype(np.int64) * TOWNS + frame[town].to_numpy()
        named = np.array(STREETS, dtype=object)[street] + " "
        found["street"].append(named + (1 + house).astype(str).astype(object))
        found["postcode"].append((10_000 + area * 100 + part).astype(str).astype(object))
    return {name: np.where(moved, after[owner], before[owner])
            for name, (before, after) in found.items()}  # fmt: skip


def _devices(rng: np.random.Generator, people: People, owner: Ints) -> Texts:
    """One's main device, or the one that is shared with the household."""
    seen = people.rows["devices"]
    first = seen.drop_duplicates("customer").set_index("customer")["device"]
    last = seen.drop_duplicates("customer", keep="last").set_index("customer")["device"]
    late = rng.random(len(owner)) < 0.3
    number = np.where(late, last.reindex(owner).to_numpy(), first.reindex(owner).to_numpy())
    text = np.char.add("D", np.nan_to_num(number).astype(np.int64).astype(str)).astype(object)
    return np.asarray(pd.Series(text, dtype=object).where(~np.isnan(number), None))


def _mistyped(rng: np.random.Generator, texts: Texts) -> Texts:
    """One letter or digit wrong in a share of the texts."""
    hit = np.flatnonzero(rng.random(len(texts)) < TYPO_SHARE)
    where, what = rng.random(len(hit)), rng.integers(26, size=len(hit))
    texts = texts.copy()
    for row, at, letter in zip(hit, where, what, strict=True):
        text = str(texts[row])
        place = int(at * len(text))
        other = str(letter % 10) if text[place].isdigit() else chr(97 + letter)
        texts[row] = text[:place] + other + text[place + 1 :]
    return texts
