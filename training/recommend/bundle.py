"""The bundle of recommendations: items, links and rankers as native files; no customer is in it.

Beside the common files: ``items.npz`` (what is known of each item), ``maker.<name>.npz``,
``ranker.<list>.<objective>.ubj`` and ``golden.json`` with invented histories and the lists given at
training time.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from features.errors import DataError
from features.settings import Part
from training.arrays import packed, unpacked
from training.bundle import ANSWER, Facts, Recorded, Shown, Typed, write_files
from training.contract import Floats
from training.recommend.catalogue import Attributes, Demand
from training.recommend.lists import KINDS
from training.recommend.ranker import Ranker, RankerConfig
from training.recommend.recommender import Recommender
from training.recommend.requests import Reply, answer
from training.recommend.shelf import Shelf, ShelfConfig, named_makers
from training.tasks.recommend import PURCHASES, Interactions

if TYPE_CHECKING:
    import pandas as pd

ITEMS, GOLDEN = "items.npz", "golden.json"
FRAME_K = 10


class ListsAnswer(Facts):
    """What recommendations answer."""

    space: str
    """What scores and contributions are measured in."""
    interactions: Interactions = PURCHASES
    """What histories are made of."""
    makers: tuple[Part, ...]
    candidates: ShelfConfig
    rankers: dict[str, RankerConfig]
    scales: dict[str, tuple[float, ...]]
    """What each objective's margins are multiplied by."""
    ranked_by: tuple[str, ...]
    """Columns of the rankers."""
    items: int
    """Items of the catalogue."""


@dataclass(frozen=True)
class ListsBundle:
    """Loaded recommendations."""

    answer: ListsAnswer
    recommender: Recommender
    golden: tuple[dict[str, Any], ...] = ()
    """Bodies of requests with the replies given at training time."""
    digest: str = ""
    """SHA-256 of the manifest; empty until written."""

    @property
    def inputs(self) -> list[Typed]:
        """Lines of histories."""
        return [
            ("customer", "string"), ("product_id", "string"),
            ("days_ago", "double"), ("quantity", "double"),
        ]  # fmt: skip

    @property
    def outputs(self) -> list[Typed]:
        """A line for each listed item; its name is empty where the source says none."""
        return [
            ("customer", "string"), ("rank", "long"), ("product_id", "string"), ("name", "string"),
            ("score", "double"), ("step", "string"), ("reason", "string"),
        ]  # fmt: skip

    def predict_frame(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """Lists of 10 for the customers of a frame of purchases, in the order they appear.

        Raises
        ------
        DataError
            If a column is missing, or a value is not what the column holds.
        """
        import pandas as pd

        missing = [name for name, _ in self.inputs if name not in X.columns]
        if missing:
            raise DataError(
                f"purchases: no column {missing}; it needs {[n for n, _ in self.inputs]}"
            )
        numbers = X[["days_ago", "quantity"]].to_numpy(np.float64, na_value=np.nan)
        wrong = ~np.isfinite(numbers) | (numbers < 0)
        if wrong.any():
            raise DataError(
                f"purchases: {int(wrong.any(axis=1).sum())} row(s) with days_ago or quantity "
                "missing, infinite or below 0; leave returns out or subtract them"
            )
        lines = [
            (customer, *(item[name] for name, _ in self.outputs[1:]))
            for customer, reply in self._replies(X)
            for item in reply["items"]
        ]
        made = pd.DataFrame(lines, columns=[name for name, _ in self.outputs])
        return made.fillna({"name": ""}).astype({"rank": "int64"})

    @property
    def sample(self) -> tuple[Floats, Floats]:
        """No columns, as there are none, and the best scores of the golden lists."""
        lists = [said["reply"]["items"] for said in self.golden]
        best = [items[0]["score"] for items in lists if items]
        return np.empty((len(best), 0)), np.array(best, dtype=np.float64)

    def reasons_frame(self, X: "pd.DataFrame", top: int) -> list[list[str]]:
        """For each line that :meth:`predict_frame` gives its sentence; there is one at most."""
        return [[item["reason"]][:top] for _, reply in self._replies(X) for item in reply["items"]]

    def _replies(self, X: "pd.DataFrame") -> Iterator[tuple[str, Reply]]:
        for customer, own in X.groupby(X["customer"].astype(str), sort=False):
            history = [
                {"product_id": str(p), "days_ago": int(d), "quantity": float(q)}
                for p, d, q in zip(own["product_id"], own["days_ago"], own["quantity"], strict=True)
            ]
            yield str(customer), self.reply({"history": history, "k": FRAME_K})

    def reply(self, body: Mapping[str, Any], explained: bool = False) -> Reply:
        """The reply to a request that was read; see :mod:`training.recommend.requests`."""
        return answer(self.recommender, body, explained)

    def replay(self) -> float:
        """Largest difference between golden scores and today's; infinite where items differ."""
        gaps = [_apart(said["reply"], self.reply(said["body"])) for said in self.golden]
        return max(gaps, default=0.0)

    def recorded(self) -> Iterator[Recorded]:
        """The golden histories as requests over HTTP."""
        for said in self.golden:
            yield Recorded("/recommend", said["body"], partial(_apart, said["reply"]))

    def shown(self) -> Shown:
        """The first of them."""
        return Shown("/explain", self.golden[0]["body"], _say)

    def written(self) -> dict[str, bytes]:
        """Every file of the bundle."""
        shelf = self.recommender.shelf
        arrays: dict[str, np.ndarray] = {
            f.name: np.asarray(getattr(shelf.demand, f.name)) for f in fields(Demand)
        } | {"segments": np.array(shelf.demand.segments, np.str_)}
        for f in fields(Attributes):
            value = getattr(shelf.attributes, f.name)
            arrays[f"said_{f.name}"] = np.array(
                value, dtype=np.str_ if f.name != "prices" else float
            )
        files = {
            ANSWER: self.answer.model_dump_json(indent=1).encode(),
            ITEMS: packed(arrays, compress=True),
            GOLDEN: json.dumps(list(self.golden), indent=1).encode(),
        }
        files |= {
            f"maker.{n}.npz": packed(maker.save(), compress=True)
            for n, maker in shelf.makers.items()
        }
        for name, ranker in self.recommender.rankers.items():
            files |= {f"ranker.{name}.{file}": data for file, data in ranker.save().items()}
        return files


def write(made: ListsBundle, folder: Path, private: Ed25519PrivateKey) -> str:
    """Write and sign; return the digest."""
    return write_files(made.written(), folder, private)


def parse(files: Mapping[str, bytes], digest: str) -> ListsBundle:
    """The bundle from verified bytes, with trees compiled and ready for the first request."""
    said = ListsAnswer.model_validate_json(files[ANSWER])
    arrays = unpacked(files[ITEMS])
    shelf = Shelf(said.candidates, said.horizon_days, named_makers(said.makers))
    known: dict[str, Any] = {f.name: arrays[f.name] for f in fields(Demand)}
    known["observed_days"] = float(arrays["observed_days"])
    known["segments"] = tuple(arrays["segments"].tolist())
    shelf.demand = Demand(**known)
    words = {
        f.name: tuple(arrays[f"said_{f.name}"].tolist())
        for f in fields(Attributes)
        if f.name != "prices"
    }
    shelf.attributes = Attributes(**words, prices=arrays["said_prices"])
    for name, maker in shelf.makers.items():
        maker.load(unpacked(files[f"maker.{name}.npz"]))
    rankers = {}
    for name, config in said.rankers.items():
        rankers[name] = Ranker(config)
        stem = f"ranker.{name}."
        own = {f.removeprefix(stem): data for f, data in files.items() if f.startswith(stem)}
        rankers[name].load(own, said.scales[name])
    recommender = Recommender(shelf, rankers, said.interactions.said)
    for ranker in rankers.values():
        ranker.explain(np.zeros((1, len(said.ranked_by)), np.float32))
    made = ListsBundle(said, recommender, tuple(json.loads(files[GOLDEN])), digest)
    _ = recommender.alike, recommender.together
    made.reply(made.golden[0]["body"])  # so that all is compiled
    return made


def with_golden(made: ListsBundle, count: int, seed: int) -> ListsBundle:
    """The bundle with invented requests, of every kind of list, and its replies to them."""
    rng = np.random.default_rng(seed)
    demand, products = made.recommender.shelf.demand, made.recommender.shelf.attributes.products
    share = demand.buyers / demand.buyers.sum()
    golden = []
    for number in range(count):
        size = min(int(rng.integers(3, 30)), int((share > 0).sum()))
        item = rng.choice(len(share), size=size, replace=False, p=share)
        item = np.r_[item, item[: size // 3]]  # some are bought again
        history = [
            {"product_id": products[i], "days_ago": int(rng.integers(1, 365)), "quantity": 1.0}
            for i in item
        ]
        body: dict[str, Any] = {"history": history, "list": KINDS[number % len(KINDS)], "k": 10}
        golden.append({"body": body, "reply": made.reply(body)})
    return replace(made, golden=tuple(golden))


def _apart(said: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    """Largest difference between two replies' scores; infinite where they list other items."""
    before, after = said["items"], now["items"]
    if [x["product_id"] for x in before] != [x["product_id"] for x in after]:
        return float("inf")
    return max(
        (abs(a["score"] - b["score"]) for a, b in zip(before, after, strict=True)), default=0.0
    )


def _say(reply: dict[str, Any]) -> list[str]:
    return [
        f"{i}. {item['name'] or item['product_id']}: {item['reason']}"
        for i, item in enumerate(reply["items"][:3], 1)
    ]
