"""The declared public sources, built from the published files and counted again with pandas."""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import columns as c
from features.identity import customer_ids
from features.ingest import ingest
from features.settings import Workspace
from features.sources import Source, find_files, load_source
from tests.worlds import CONFIGS

pytestmark = pytest.mark.usefixtures("reader_here")
KEY = b"k" * 32


class Ready:
    """A built source: its declaration, its facts and its tables in the order of their rows."""

    def __init__(self, name: str, data: Path, out: Path) -> None:
        self.name, self.out = name, out
        self.source: Source = load_source(Workspace.locate(configs=CONFIGS), name, {})
        self.facts: dict[str, Any] = ingest(self.source, find_files(self.source, data), KEY, out)
        self.folder = data / name

    def raw(self, file: str, sep: str = ",") -> pd.DataFrame:
        """A published file as text, blank cells as empty texts."""
        return pd.read_csv(
            self.folder / f"{file}.csv.gz", sep=sep, dtype=str, keep_default_na=False
        )

    def __getitem__(self, table: str) -> pa.Table:
        return pq.read_table(self.out / f"{table}.parquet").sort_by(c.ROW)

    def owners(self, table: str, refs: list[str]) -> bool:
        """Whether the rows of ``table`` belong to ``refs``, in that order."""
        ids = customer_ids(self.name, dict.fromkeys(refs), KEY)
        return self[table][c.CUSTOMER].to_pylist() == [ids[ref] for ref in refs]

    def whole(self, table: str, rows: int) -> bool:
        """Whether all ``rows`` records of the file were accepted."""
        facts = self.facts["tables"][table]
        return facts["seen"] == facts["totals"]["accepted"] == facts["rows"] == rows

    def times(self, table: str) -> set[datetime]:
        """Different event times."""
        return set(self[table][c.EVENT_TIME].to_pylist())


@pytest.fixture
def ready(real_data: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Ready:
    """The source that the test asks for."""
    return Ready(request.param, real_data, tmp_path)


def built(name: str) -> pytest.MarkDecorator:
    """Mark a test with the source that it is about."""
    return pytest.mark.parametrize("ready", [name], indirect=True, ids=[name])


def minor(amounts: pd.Series) -> list[int | None]:
    """Decimal texts in minor units, by exact decimals; None where there is none."""
    return [
        int((Decimal(text) * 100).to_integral_value(ROUND_HALF_UP)) if text.strip() else None
        for text in amounts
    ]


@built("complete_journey")
def test_complete_journey(ready: Ready) -> None:
    """Lines, places, products, households, campaigns and coupons as published."""
    lines = ready.raw("transactions_sample")
    quantity, value = lines["quantity"].astype(float), lines["sales_value"].astype(float)
    nothing, free, fuel = quantity < 1, value == 0, quantity >= 1_000
    facts = ready.facts["tables"]["order_lines"]
    assert facts["seen"] == len(lines) == 75_000
    assert facts["account"]["filtered"] == {
        "nothing_sold": int(nothing.sum()), "no_price": int((free & ~nothing).sum()),
        "fuel": int((fuel & ~free & ~nothing).sum()),
    }  # fmt: skip
    kept = lines[~(nothing | free | fuel)]
    table = ready["order_lines"]
    assert table[c.ROW].to_pylist() == kept.index.tolist()
    assert table[c.AMOUNT].to_pylist() == minor(kept["sales_value"])
    shop, match = minor(kept["retail_disc"]), minor(kept["coupon_match_disc"])
    assert table[c.DISCOUNT].to_pylist() == [
        (a or 0) + (b or 0) for a, b in zip(shop, match, strict=True)
    ]
    assert table[c.QUANTITY].to_pylist() == kept["quantity"].astype(float).astype(int).tolist()
    assert [str(t) for t in table[c.EVENT_TIME].to_pylist()] == kept[
        "transaction_timestamp"
    ].tolist()
    assert ready.owners("order_lines", kept["household_id"].tolist())
    assert facts["orders"] == kept["basket_id"].nunique()
    assert ready["locations"]["place"].to_pylist() == lines["store_id"].tolist()

    products = ready.raw("products")
    assert ready.whole("products", len(products))
    assert ready["products"][c.PRODUCT].to_pylist() == products["product_id"].tolist()
    assert ready["products"]["category"].null_count == (products["product_category"] == "").sum()
    people = ready.raw("demographics")
    assert ready.whole("attributes", len(people))
    assert ready["attributes"]["marital_status"].null_count == 137
    assert ready["attributes"]["age"].to_pylist() == people["age"].tolist()

    sent, told = ready.raw("campaigns"), ready.raw("campaign_descriptions").set_index("campaign_id")
    assert ready.whole("contacts", len(sent))
    contacts = ready["contacts"]
    assert [f"{t:%Y-%m-%d}" for t in contacts[c.EVENT_TIME].to_pylist()] == [
        told["start_date"][k] for k in sent["campaign_id"]
    ]
    assert contacts["offer"].to_pylist() == [told["campaign_type"][k] for k in sent["campaign_id"]]
    assert len(set(contacts["contact_id"].to_pylist())) == len(sent)
    used = ready.raw("coupon_redemptions")
    assert ready.whole("responses", len(used))
    assert ready.owners("responses", used["household_id"].tolist())
    assert set(ready["responses"]["contact_id"].to_pylist()) <= set(
        contacts["contact_id"].to_pylist()
    )
    links = pq.read_table(ready.out / "links.parquet")
    everyone = set(kept["household_id"]).union(
        *(frame["household_id"] for frame in (lines, people, sent, used))
    )
    assert set(links["source_id"].to_pylist()) == everyone


@built("telco_churn")
def test_telco_churn(ready: Ready) -> None:
    """Attributes and the outcome come from one file; blanks are missing, not zero."""
    raw = ready.raw("telco_churn")
    assert ready.whole("attributes", 7_043)
    assert ready.whole("outcomes", len(raw))
    assert len(ready.facts["files"]) == 1
    table = ready["attributes"]
    assert ready.owners("attributes", raw["customerID"].tolist())
    assert table["total_charges_minor"].to_pylist() == minor(raw["TotalCharges"])
    assert table["total_charges_minor"].null_count == 11
    assert table["monthly_charges_minor"].to_pylist() == minor(raw["MonthlyCharges"])
    assert table["tenure_months"].to_pylist() == raw["tenure"].astype(int).tolist()
    assert table["senior"].to_pylist() == (raw["SeniorCitizen"] == "1").tolist()
    assert table["paperless_billing"].to_pylist() == (raw["PaperlessBilling"] == "Yes").tolist()
    assert table["contract"].to_pylist() == raw["Contract"].tolist()
    assert len(table.column_names) == len(raw.columns) - 2 + 4, "all but number and label; ours"
    assert ready["outcomes"]["value"].to_pylist() == (raw["Churn"] == "Yes").astype(float).tolist()
    assert ready.facts["snapshot"]
    assert max(ready.times("attributes")) < min(ready.times("outcomes"))


@built("hillstrom")
def test_hillstrom(ready: Ready) -> None:
    """Equal records are different people; three arms, three outcomes each."""
    raw = ready.raw("hillstrom")
    rows = [str(k) for k in range(len(raw))]
    assert ready.whole("attributes", 64_000)
    assert ready.facts["customers"] == 64_000
    for table in ("attributes", "contacts"):
        assert ready.owners(table, rows)
    assert ready.owners("outcomes", rows * 3)
    contacts, names = ready["contacts"].to_pandas(), {"mens": "Mens", "womens": "Womens"}
    segment = contacts["arm"].map(lambda arm: f"{names.get(arm, 'No')} E-Mail")
    assert segment.tolist() == raw["segment"].tolist()
    outcomes = ready["outcomes"].to_pandas()
    for name in ("visit", "conversion", "spend"):
        found = outcomes.loc[outcomes["name"] == name, "value"].to_numpy()
        assert (found == raw[name].astype(float).to_numpy()).all()
    table = ready["attributes"]
    assert table["history_minor"].to_pylist() == minor(raw["history"])
    assert table["area"].to_pylist() == raw["zip_code"].replace("Surburban", "Suburban").tolist()
    assert table["newbie"].to_pylist() == (raw["newbie"] == "1").tolist()
    times = [ready.times(table) for table in ("attributes", "contacts", "outcomes")]
    assert [len(moments) for moments in times] == [1, 1, 1]
    assert max(times[0]) < max(times[1]) < max(times[2])


@built("bank_marketing")
def test_bank_marketing(ready: Ready) -> None:
    """Months follow from the price index; the length of the call is nowhere."""
    raw = ready.raw("bank-additional-full", ";")
    assert ready.whole("attributes", 41_188)
    assert ready.whole("outcomes", len(raw))
    for table in ("attributes", "outcomes"):
        moments = ready[table][c.EVENT_TIME].to_pylist()
        assert [f"{t:%b}".lower() for t in moments] == raw["month"].tolist()
        assert moments == sorted(moments), "the file is ordered by date"
        assert (moments[0].year, moments[-1].year) == (2008, 2010)
    loaded = {name for feed in ready.source.feeds.values() for name in feed.reads}
    assert loaded == set(raw.columns) - {"duration"}
    outcome = (raw["y"] == "yes").astype(float)
    assert ready["outcomes"]["value"].to_pylist() == outcome.tolist()
    assert outcome.sum() == 4_640
    table = ready["attributes"]
    assert table["age"].to_pylist() == raw["age"].astype(int).tolist()
    assert table["euribor_3_months"].to_pylist() == raw["euribor3m"].astype(float).tolist()
    assert table["in_default"].to_pylist() == raw["default"].tolist()


@built("credit_default")
def test_credit_default(ready: Ready) -> None:
    """Amounts written with exponents are read exactly; codes nobody explains are missing."""
    raw = ready.raw("default_of_credit_card_clients")
    assert ready.whole("attributes", 30_000)
    assert ready.owners("outcomes", raw["ID"].tolist())
    label = raw["default payment next month"].astype(float)
    assert ready["outcomes"]["value"].to_pylist() == label.tolist()
    assert label.sum() == 6_636
    table = ready["attributes"]
    assert table["credit_limit_minor"].to_pylist() == minor(raw["LIMIT_BAL"])
    months = ["september", "august", "july", "june", "may", "april"]
    for month, number, delay in zip(months, range(1, 7), (0, 2, 3, 4, 5, 6), strict=True):
        assert table[f"bill_{month}_minor"].to_pylist() == minor(raw[f"BILL_AMT{number}"])
        assert table[f"paid_{month}_minor"].to_pylist() == minor(raw[f"PAY_AMT{number}"])
        assert table[f"delay_{month}"].to_pylist() == raw[f"PAY_{delay}"].astype(int).tolist()
    assert table["education"].null_count == raw["EDUCATION"].isin(["0", "5", "6"]).sum() == 345
    assert table["marriage"].null_count == (raw["MARRIAGE"] == "0").sum() == 54
    assert ready.times("attributes") == {datetime(2005, 9, 30)}


@built("reviews")
def test_reviews(ready: Ready) -> None:
    """Texts with line breaks stay whole; a review without a text is still a score."""
    raw = ready.raw("womens_clothing_reviews")
    assert ready.whole("feedback", 23_486)
    table = ready["feedback"]
    assert table["score"].to_pylist() == raw["Rating"].astype(float).tolist()
    assert table["text"].null_count == (raw["Review Text"].str.strip() == "").sum() == 845
    assert [text or "" for text in table["text"].to_pylist()] == [
        text.strip(" ") for text in raw["Review Text"]
    ]
    assert table["topic"].null_count == 14
    assert set(table[c.KIND].to_pylist()) == {"review"}
    assert ready.owners("feedback", [str(k) for k in range(len(raw))])
