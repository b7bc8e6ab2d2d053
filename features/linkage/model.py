"""Probabilistic linkage by Splink: how likely two records are of one person (Fellegi-Sunter 1969).

A pair's weight is ``log2(p / (1 - p)) = log2(l / (1 - l)) + sum_k log2(m_k / u_k)`` with ``l`` the
share of matches among all pairs, and ``m_k``, ``u_k`` the shares of matches and of others that
agree as much on column ``k`` as these two (Fellegi and Sunter, A theory for record linkage, JASA
64).
Nobody labels pairs: ``u`` comes of random pairs, ``m`` of expectation maximisation within blocks
(:mod:`features.linkage.fitting`: Splink's own gives up where a level is in no match), ``l`` is the
share that the weights themselves imply.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import DataError
from features.linkage.declared import Identity, Kind
from features.linkage.fitting import Patterns, matches_by_level, shares

RECORD, PERSON, KNOWN = "record", "person", "known"
"""Columns of a record: its number, its customer, when it was learned (microseconds)."""
LOWEST_WEIGHT = -12.0
"""Pairs below are one in four thousand at best; they are not kept."""
LEAST_DISAGREEMENT = 0.01
"""Share of matches that disagree: a person may have two of anything, or mistype it."""
DIGITS = 8
"""Significant digits of weights: sums of floats differ beyond them by the number of threads."""


def _comparison(name: str, declared: Identity) -> Any:
    """Levels of agreement from the closest on; the last is everything else."""
    import splink.comparison_level_library as cll
    import splink.comparison_library as cl

    def alike(*similarities: float) -> list[Any]:
        return [cll.JaroWinklerLevel(name, k) for k in similarities]

    def slips(*edits: int) -> list[Any]:
        return [cll.DamerauLevenshteinLevel(name, k) for k in edits]

    def agree(text: str, label: str) -> Any:
        here = text.format(f'"{name}_l"'), text.format(f'"{name}_r"')
        return cll.CustomLevel(" = ".join(here), label)

    kind = declared.columns[name]
    between: dict[Kind, list[Any]] = {
        "given_name": [*_swapped(name, declared), *alike(0.92, 0.85, 0.7)],
        "family_name": alike(0.92, 0.85, 0.7),
        "full_name": alike(0.92, 0.85, 0.7),
        "email": [agree("split_part({}, '@', 1)", "same before the @"), *alike(0.92, 0.85)],
        "phone": slips(1),
        "birth_date": [*slips(1, 2), agree("left({}, 4)", "same year")],
        "address": alike(0.92, 0.8),
        "place": [*slips(1), *alike(0.88)],
        "code": slips(1, 2),
    }
    exact = cll.ExactMatchLevel(name, term_frequency_adjustments=True)
    return cl.CustomComparison(
        [cll.NullLevel(name), exact, *between[kind], cll.ElseLevel()], output_column_name=name
    )


def _swapped(given: str, declared: Identity) -> list[Any]:
    """Given and family name in each other's place, where a record has one of each."""
    import splink.comparison_level_library as cll

    family = [k for k in declared.compared if declared.columns[k] == "family_name"]
    if len(family) != 1 or sum(declared.columns[k] == "given_name" for k in declared.compared) > 1:
        return []
    return [cll.ColumnsReversedLevel(given, family[0], symmetrical=True)]


def settings_of(declared: Identity, records: int) -> Any:
    """Splink's settings before anything is fitted."""
    from splink import SettingsCreator

    return SettingsCreator(
        link_type="dedupe_only",
        comparisons=[_comparison(name, declared) for name in declared.compared],
        blocking_rules_to_generate_predictions=[_rule(k) for k in range(len(declared.block))],
        probability_two_random_records_match=1.0 / max(records, 2),
        unique_id_column_name=RECORD,
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=True,
        additional_columns_to_retain=[PERSON, KNOWN],
    )


def _rule(block: int, one_of: int = 1) -> dict[str, Any]:
    """Pairs of different customers that share a block; of large blocks' values one of many."""
    name = f"block_{block}"
    some = f" and hash(l.{name}) % {one_of} = 0" if one_of > 1 else ""
    return {"blocking_rule": f"l.{name} = r.{name} and l.{PERSON} <> r.{PERSON}{some}"}


def fitted(connection: Any, frame: Any, declared: Identity, records: int) -> dict[str, Any]:
    """Splink's settings with ``u`` of random pairs and ``m`` of pairs within blocks; rounded.

    Raises
    ------
    DataError
        If a block holds no pair to learn from.
    """
    from splink import Linker

    linker = Linker(frame, settings_of(declared, records), log_level=None)
    linker.training.estimate_u_using_random_sampling(
        max_pairs=declared.sample_pairs, seed=declared.seed, num_chunks=1
    )
    model: dict[str, Any] = linker.misc.save_model_to_json()
    levels = [_levels(comparison) for comparison in model["comparisons"]]
    for level in (level for column in levels for level in column):
        # A level that no random pair has is at most as frequent as one pair of the sample.
        level["u_probability"] = _rounded(
            max(level.get("u_probability") or 0.0, 1.0 / declared.sample_pairs)
        )
    u = [np.array([level["u_probability"] for level in column]) for column in levels]
    found = [np.zeros(len(column)) for column in levels]
    for k in _taught_by(declared):
        patterns = _patterns(connection, frame, model, k, declared)
        outside = [name not in declared.block[k] for name in declared.compared]
        for total, more in zip(found, matches_by_level(patterns, u, outside), strict=True):
            total += more
    for column, counts in zip(levels, found, strict=True):
        for level, m in zip(column, shares(counts), strict=True):
            level["m_probability"] = _rounded(float(m))
        column[0]["m_probability"] = max(column[0]["m_probability"], LEAST_DISAGREEMENT)
    return model


def _levels(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Levels from the furthest to the closest, as Splink numbers them; without the missing one."""
    told = [k for k in comparison["comparison_levels"] if not k.get("is_null_level")]
    return told[::-1]


def _patterns(
    connection: Any, frame: Any, model: dict[str, Any], block: int, declared: Identity
) -> Patterns:
    """Levels of the pairs of a block, counted; of about ``sample_pairs`` where there are more."""
    from splink import Linker

    name = f"block_{block}"
    (pairs,) = connection.sql(
        f"SELECT coalesce(sum(n * (n - 1) / 2), 0) FROM "
        f"(SELECT count(*) AS n FROM {frame.physical_name} GROUP BY {name} HAVING {name} NOT NULL)"
    ).fetchall()[0]
    rule = _rule(block, max(1, int(pairs / declared.sample_pairs)))
    alone = model | {
        "blocking_rules_to_generate_predictions": [rule],
        "retain_matching_columns": True,  # and with them the levels
        "retain_intermediate_calculation_columns": False,
    }
    linker = Linker(frame, alone, log_level=None, validate_settings=False)
    scored = linker.inference.predict(warning_mode="never")
    gammas = ", ".join(f"gamma_{column}" for column in declared.compared)
    rows = connection.sql(
        f"SELECT {gammas}, count(*) FROM {scored.physical_name} GROUP BY {gammas} ORDER BY {gammas}"
    ).fetchall()
    scored.drop_table_from_database_and_remove_from_cache()
    if not rows:
        raise DataError(
            f"identity: no two records agree on {', '.join(declared.block[block])}: nothing to fit "
            "weights on; take this block out, or declare `weights`"
        )
    table = np.array(rows, dtype=np.float64)
    return Patterns(table[:, :-1].astype(np.int64), table[:, -1])


def _taught_by(declared: Identity) -> list[int]:
    """Blocks to fit on: until each column was outside two of them, or there are no more."""
    fits: Counter[str] = Counter()
    chosen = []
    for number, block in enumerate(declared.block):
        outside = [name for name in declared.compared if name not in block]
        if any(fits[name] < 2 for name in outside):
            chosen.append(number)
            fits.update(outside)
    return chosen


def implied_share(weights: NDArray[np.float64], counts: NDArray[np.int64], pairs: float) -> float:
    """The ``l`` for which the probabilities of all pairs add up to ``l`` times their number.

    Parameters
    ----------
    weights
        Weights of pairs without the prior, binned; pairs that no block holds count as no match.
    counts
        Pairs of each weight.
    pairs
        Number of all pairs.
    """
    share = 1.0 / pairs
    for _ in range(200):
        prior = np.log2(share / (1.0 - share))
        matches = float((counts / (1.0 + np.exp2(-np.clip(weights + prior, -500, 500)))).sum())
        new = min(max(matches / pairs, 1e-15), 0.5)
        if abs(new - share) <= 1e-9 * share:
            break
        share = new
    return _rounded(share)


def weight_of(share: float) -> float:
    """Log2 odds."""
    return float(np.log2(share / (1.0 - share)))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


class Scorer:
    """Splink over the records of a source: weights fitted or given, and pairs scored by them."""

    def __init__(
        self, connection: Any, records: pa.Table, declared: Identity,
        weights: Mapping[str, Any] | None,
    ) -> None:  # fmt: skip
        from splink import DuckDBAPI, Linker

        logging.getLogger("splink").setLevel(logging.ERROR)
        self._connection, self._count = connection, records.num_rows
        self._records, self._engine = records, declared.engine
        self._frame = DuckDBAPI(connection=connection).register(records)
        if weights is None:
            self.model = fitted(connection, self._frame, declared, self._count)
        else:
            self.model = dict(weights)
        self._linker = Linker(self._frame, self.model, log_level=None)
        self._given = weights is not None

    def pairs(self) -> str:
        """Table of scored pairs of records, with ``weight`` and the parts that it adds up.

        Columns ``record_l``, ``record_r``, ``person_l``, ``person_r``, ``known_l``, ``known_r``,
        ``weight`` and ``mw_<column>``, ``mw_tf_adj_<column>`` for each compared column.
        """
        name, shift = self._predicted(), 0.0
        if not self._given:
            before = weight_of(self.model["probability_two_random_records_match"])
            binned = self._connection.sql(
                f"SELECT round(match_weight, 1) AS w, count(*) AS n FROM {name} "
                "GROUP BY w ORDER BY w"
            ).fetchnumpy()
            share = implied_share(
                np.asarray(binned["w"], dtype=np.float64) - before,
                np.asarray(binned["n"], dtype=np.int64),
                self._count * (self._count - 1) / 2,
            )
            self.model["probability_two_random_records_match"] = share
            shift = weight_of(share) - before
        self._connection.execute(
            f"CREATE OR REPLACE TEMP VIEW scored AS SELECT *, match_weight + {shift!r} AS weight "
            f"FROM {name}"
        )
        return "scored"

    def _predicted(self) -> str:
        """Table of pairs with the weights that Splink gives them, on the engine that is asked."""
        if self._engine == "duckdb":
            scored = self._linker.inference.predict(
                threshold_match_weight=LOWEST_WEIGHT, warning_mode="never"
            )
            return str(scored.physical_name)
        import splink

        from features.spark import session

        api: Any = splink.SparkAPI  # it has no types
        # Persisted, not written out: records stay in the memory of the cluster.
        spark = api(spark_session=session(), break_lineage_method="persist")
        # The only double quotes are those around names of columns.
        model = json.loads(json.dumps(self.model | {"sql_dialect": "spark"}).replace('\\"', "`"))
        linker: Any = splink.Linker(spark.register(self._records), model, log_level=None)
        scored = linker.inference.predict(
            threshold_match_weight=LOWEST_WEIGHT, warning_mode="never"
        )
        found = pa.Table.from_pandas(scored.as_pandas_dataframe(), preserve_index=False)
        self._connection.register("scored_on_spark", found)
        return "scored_on_spark"

    def unlinkable(self, at: float) -> float:
        """Share of records that say too little to be linked even to a copy of themselves."""
        from splink import Linker
        from splink.internals.unlinkables import unlinkables_data

        found = unlinkables_data(Linker(self._frame, self.model, log_level=None))
        return max((k["cum_prop"] for k in found if k["match_probability"] < at), default=0.0)

    def weights(self) -> list[dict[str, Any]]:
        """Match weight of every level of every comparison; nothing of any record is in it."""
        return [
            {
                "column": comparison["output_column_name"],
                "level": level["label_for_charts"],
                "m": level.get("m_probability"),
                "u": level.get("u_probability"),
                "weight": _log_ratio(level.get("m_probability"), level.get("u_probability")),
            }
            for comparison in self.model["comparisons"]
            for level in comparison["comparison_levels"]
            if not level.get("is_null_level")
        ]


def _log_ratio(m: float | None, u: float | None) -> float | None:
    return None if not m or not u else round(float(np.log2(m / u)), 3)
