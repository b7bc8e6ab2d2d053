"""Who is who: persons found against known truth, beside plain Splink with its documented defaults.

Pairwise and B-cubed precision, recall and F1 of the clusters on febrl3 (with and without its social
security number), on fake_1000 and on records of the simulated retailer. "Plain" is Splink with the
settings of its own tutorials (docs: "Deduplicate 50k", "febrl3", "Quickstart"): its comparison
library, blocks and thresholds, on the columns as they come, in small letters. Differences are
paired by person (a bootstrap over persons of the B-cubed F1 of their records). Each run has a
process of its own that reads a Parquet file; one after the other.

    python benchmarks/identity.py --customers 100000

Needs PERENNIAL_DATA_DIR for the published sets.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from features import columns as c
from features.linkage.resolve import resolve
from features.links import OWN
from features.settings import Workspace
from features.simulate import SimulateConfig, simulate
from features.sources import load_source

DRAWS, SEED = 1_000, 11
TRUTH = "truth"


# --- measures -------------------------------------------------------------------------------------


def pairwise(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 of pairs of records in one cluster, from cluster sizes alone."""

    def pairs(*labels: np.ndarray) -> int:
        sizes = Counter(zip(*(label.tolist() for label in labels), strict=True)).values()
        return sum(n * (n - 1) // 2 for n in sizes)

    both, said, true = pairs(truth, found), pairs(found), pairs(truth)
    return _scores(both / max(said, 1), both / max(true, 1))


def b_cubed(truth: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of each record (Bagga and Baldwin 1998)."""
    frame = pd.DataFrame({"truth": truth, "found": found})
    both = frame.groupby(["truth", "found"])["truth"].transform("size")
    said = frame.groupby("found")["truth"].transform("size")
    true = frame.groupby("truth")["truth"].transform("size")
    return (both / said).to_numpy(), (both / true).to_numpy()


def _scores(precision: float, recall: float) -> dict[str, float]:
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    return {"precision": precision, "recall": recall, "f1": f1}


def difference(truth: np.ndarray, ours: np.ndarray, plain: np.ndarray) -> tuple[float, float]:
    """95 % interval of ours minus plain in B-cubed F1, persons drawn with replacement."""
    person, persons = pd.factorize(truth)
    sums = [np.bincount(person, k) for found in (ours, plain) for k in b_cubed(truth, found)]
    sizes = np.bincount(person)
    rng, deltas = np.random.default_rng(SEED), []
    for _ in range(DRAWS):
        weight = np.bincount(rng.integers(len(persons), size=len(persons)), minlength=len(persons))
        p1, r1, p2, r2 = (float(weight @ k) / float(weight @ sizes) for k in sums)
        deltas.append(_scores(p1, r1)["f1"] - _scores(p2, r2)["f1"])
    low, high = np.quantile(deltas, (0.025, 0.975))
    return float(low), float(high)


# --- the two systems ------------------------------------------------------------------------------


def ours(frame: pd.DataFrame, source: str, without: str = "") -> np.ndarray:
    """Our clusters, by the shipped declaration of ``source``; ``without`` leaves a column out."""
    declared = load_source(Workspace.locate(), source, {}).identity
    assert declared is not None
    if without:
        declared = declared.model_copy(update={
            "columns": {k: v for k, v in declared.columns.items() if k != without},
            "keys": {k: v for k, v in declared.keys.items() if without not in v.columns},
            "block": tuple(b for b in declared.block if without not in b),
        })  # fmt: skip
    number = pa.array(range(len(frame)))
    known = frame[c.KNOWN_TIME] if c.KNOWN_TIME in frame else [datetime(2024, 1, 1)] * len(frame)
    times = pa.array(known, pa.timestamp("us"))
    texts = {k: pa.chunked_array([pa.array(frame[k], pa.string(), from_pandas=True)])
             for k in [*declared.columns, *filter(None, [declared.country_column])]}  # fmt: skip
    records = {c.CUSTOMER: number, c.EVENT_TIME: times, c.KNOWN_TIME: times, c.ROW: number, **texts}
    links = pa.table({
        "source": pa.repeat(source, len(frame)), "source_id": number.cast(pa.string()),
        c.CUSTOMER: number, c.ACCOUNT: number, "rule": pa.repeat(OWN, len(frame)),
        "confidence": pa.repeat(1.0, len(frame)), c.KNOWN_TIME: times,
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        found = resolve(links, pa.table(records), declared, Path(folder))
    return found.links[c.CUSTOMER].to_numpy()


def plain(frame: pd.DataFrame, kind: str) -> np.ndarray:
    """Splink's clusters with the settings of its documentation for such records."""
    import logging

    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    logging.getLogger("splink").setLevel(logging.ERROR)
    columns = [k for k in frame.columns if k not in (TRUTH, c.KNOWN_TIME)]
    rows = frame[columns].apply(lambda k: k.str.lower()).assign(unique_id=range(len(frame)))
    numbered = [cl.DamerauLevenshteinAtThresholds("soc_sec_id", [2])] * ("soc_sec_id" in columns)
    settings: dict[str, tuple[list[Any], list[Any], list[Any], float, list[Any]]] = {
        "febrl": (
            [
                cl.NameComparison("given_name"), cl.NameComparison("surname"),
                cl.DateOfBirthComparison("date_of_birth", input_is_string=True,
                                         datetime_format="%Y%m%d"),
                *numbered,
                cl.ExactMatch("street_number").configure(term_frequency_adjustments=True),
                cl.DamerauLevenshteinAtThresholds("postcode", [1, 2]),
            ],
            [*([block_on("soc_sec_id")] if numbered else []), block_on("given_name"),
             block_on("surname"), block_on("date_of_birth"), block_on("postcode")],
            ([block_on("soc_sec_id")] if numbered else []) + [
                block_on("given_name", "surname", "date_of_birth"),
                "l.given_name = r.surname and l.surname = r.given_name "
                "and l.date_of_birth = r.date_of_birth",
            ],
            0.9 if numbered else 0.6,
            [block_on("date_of_birth"), block_on("postcode")],
        ),
        "fake": (
            [
                cl.NameComparison("first_name"), cl.NameComparison("surname"),
                cl.LevenshteinAtThresholds("dob", 1),
                cl.ExactMatch("city").configure(term_frequency_adjustments=True),
                cl.EmailComparison("email"),
            ],
            [block_on("first_name", "city"), block_on("surname")],
            [block_on("first_name", "dob"),
             "l.first_name = r.first_name and levenshtein(r.surname, l.surname) <= 2",
             block_on("email")],
            0.7,
            [block_on("first_name", "surname"), block_on("dob")],
        ),
        "simulated": (
            [
                cl.NameComparison("name"), cl.EmailComparison("email"),
                cl.DateOfBirthComparison("born", input_is_string=True),
                cl.LevenshteinAtThresholds("phone", 1),
                cl.ExactMatch("postcode").configure(term_frequency_adjustments=True),
                cl.JaroWinklerAtThresholds("street"), cl.ExactMatch("device"),
            ],
            [block_on("email"), block_on("phone"), block_on("name", "born"),
             block_on("born", "postcode"), block_on("name", "postcode"), block_on("device")],
            [block_on("email"), block_on("name", "born")],
            0.7,
            [block_on("email"), block_on("name", "born")],
        ),
    }  # fmt: skip
    comparisons, blocks, certain, recall, trained = settings[kind]
    linker = Linker(
        DuckDBAPI().register(rows),
        SettingsCreator(
            link_type="dedupe_only", comparisons=comparisons,
            blocking_rules_to_generate_predictions=blocks,
        ),
        log_level=None,
    )  # fmt: skip
    linker.training.estimate_probability_two_random_records_match(certain, recall=recall)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    for block in trained:
        linker.training.estimate_parameters_using_expectation_maximisation(block)
    pairs = linker.inference.predict(threshold_match_probability=0.2, warning_mode="never")
    threshold = 0.9 if kind == "simulated" else 0.5
    clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(
        pairs, threshold_match_probability=threshold
    ).as_pandas_dataframe()
    return clusters.set_index("unique_id").loc[range(len(frame)), "cluster_id"].to_numpy()


# --- data -----------------------------------------------------------------------------------------


def febrl3(folder: Path) -> pd.DataFrame:
    """Febrl's third set; the truth is in the number of a record."""
    frame = pd.read_csv(folder / "identity/febrl_dataset3.csv.gz", dtype=str, skipinitialspace=True)
    frame = frame.rename(columns=str.strip)
    frame = frame.apply(lambda k: k.str.strip()).replace("", None)
    return frame.assign(**{TRUTH: frame.pop("rec_id").str.extract(r"rec-(\d+)-")[0]})


def fake_1000(folder: Path) -> pd.DataFrame:
    """Splink's example records."""
    frame = pd.read_csv(folder / "identity/fake_1000.csv.gz", dtype=str)
    return frame.drop(columns="unique_id").rename(columns={"cluster": TRUTH})


def simulated(customers: int, seed: int, folder: Path) -> pd.DataFrame:
    """Records of the channels of a simulated retailer, in the order of the export."""
    config = SimulateConfig(
        customers=customers, seed=seed, tables=("identifiers",), dirt={"damaged_share": 0.0}
    )
    simulate(config, folder)
    frame = pd.read_csv(
        folder / "identifiers.csv.gz", sep=";", dtype=str, parse_dates=["recorded_at"],
        skip_blank_lines=True,
    )  # fmt: skip
    owner = pd.read_parquet(folder / "truth/identifiers.parquet").set_index("record")["customer"]
    frame = frame.rename(columns={"recorded_at": c.KNOWN_TIME}).drop(columns=["at", "channel"])
    return frame.assign(**{TRUTH: frame.pop("record").map(owner).to_numpy()})


# --- runs -----------------------------------------------------------------------------------------


def measured(system: str, parquet: Path, out: Path, more: str) -> dict[str, float]:
    """Seconds and peak memory of one system on the records of ``parquet``, in its own process."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", system, str(parquet), str(out), more],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(system: str, parquet: str, out: str, more: str) -> None:
    """Run one system and print what it took."""
    frame = pd.read_parquet(parquet)
    source, without, kind = more.split(":")
    began = time.perf_counter()
    found = ours(frame, source, without) if system == "ours" else plain(frame, kind)
    seconds = time.perf_counter() - began
    np.save(out, found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(seconds, 1), "peak MiB": round(peak)}))


def compare(name: str, frame: pd.DataFrame, more: str, folder: Path) -> None:
    """Both systems on ``frame``, in turns; print what they found and took."""
    parquet, truth = folder / "records.parquet", frame[TRUTH].to_numpy()
    without = more.split(":")[1]
    frame.drop(columns=[without] if without else []).to_parquet(parquet)
    print(f"\n{name}: {len(frame):,} records of {len(set(truth)):,} persons", flush=True)
    found = {}
    for system in ("ours", "plain"):
        taken = measured(system, parquet, folder / f"{system}.npy", more)
        found[system] = np.load(folder / f"{system}.npy", allow_pickle=False)
        pairs = pairwise(truth, found[system])
        cubed = _scores(*(float(k.mean()) for k in b_cubed(truth, found[system])))
        told = "  ".join(
            f"{kind} " + " ".join(f"{k} {v:.4f}" for k, v in scores.items())
            for kind, scores in (("pairs", pairs), ("B-cubed", cubed))
        )
        print(f"  {system:5} {told}  {taken}", flush=True)
    low, high = difference(truth, found["ours"], found["plain"])
    print(f"  ours - plain, B-cubed F1: [{low:+.4f}, {high:+.4f}]", flush=True)


def main() -> None:
    """Print every comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000, help="simulated; 0: none")
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--published", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(*asked.child)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.published:
            data = Path(os.environ["PERENNIAL_DATA_DIR"])
            compare("febrl3", febrl3(data), "febrl3::febrl", folder)
            compare("febrl3 without soc_sec_id", febrl3(data), "febrl3:soc_sec_id:febrl", folder)
            compare("fake_1000", fake_1000(data), "fake_1000::fake", folder)
        if asked.customers:
            frame = simulated(asked.customers, asked.seed, folder)
            compare("simulated retailer", frame, "simulated_people::simulated", folder)


if __name__ == "__main__":
    main()
