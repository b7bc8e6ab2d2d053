"""The published Online Retail II file, every record of it accounted for."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from features.settings import Workspace
from features.sources import load_source
from features.tables import Stored, build_tables
from tests.worlds import stored_table

SEEN = 1_067_371
DUPLICATES = 22_523


@pytest.fixture
def stored(place: Workspace, real_data: Path) -> Stored:
    """Tables of the real file."""
    place = place.model_copy(update={"data": real_data})
    return build_tables(place, load_source(place, "online_retail_II", {}))


def _published(folder: Path) -> pd.DataFrame:
    """The raw file, read by pandas as text."""
    path = folder / "online_retail_II" / "online_retail_II.csv.gz"
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_account_of_the_real_file(stored: Stored, real_data: Path) -> None:
    """Every count of the account is what the publisher's description and pandas say."""
    facts = stored.facts | stored.facts["tables"]["order_lines"]
    assert facts["seen"] == sum(facts["totals"].values()) == SEEN
    assert facts["account"]["duplicate"] == {"repeats": DUPLICATES}
    (file,) = facts["files"]
    assert file["lines"] == file["independent_lines"] == SEEN + 1
    assert file["bytes"] == file["independent_bytes"] == 94_850_204
    assert facts["first"] == "2009-12-01 07:45:00"
    assert facts["last"] == "2011-12-09 12:50:00"
    assert stored.end == datetime(2011, 12, 9)

    frame = _published(real_data)
    code = frame["StockCode"].str.upper()
    records = frame.assign(StockCode=code)
    inside = records["InvoiceDate"].between("2010-12-01 00:00:00", "2010-12-09 23:59:59")
    # The two sheets follow one another: the second delivery is the one to leave out.
    second = inside & (records.index >= 525_461)
    assert int(second.sum()) == DUPLICATES
    left = records[~second]
    quantity = left["Quantity"].astype(int)
    price = left["Price"].astype(float)
    cancelled = left["Invoice"].str.startswith("C")
    rules = {
        "bad_debt": left["Invoice"].str.startswith("A"),
        "positive_cancellation": cancelled & (quantity > 0),
        "stock_correction": ~cancelled & (quantity < 1),
        "no_price": price == 0,
        "negative_price": price < 0,
        "unknown_customer": left["Customer ID"] == "",
        "not_a_product": ~left["StockCode"].str.fullmatch(r"\d{5}[A-Z]{0,2}|DCGS.*"),
    }
    first = pd.Series("", index=left.index)
    for name, met in rules.items():
        first = first.mask(met & (first == ""), name)
    expected = {name: int(n) for name, n in first.value_counts().items()}
    accepted = expected.pop("")
    assert facts["account"]["filtered"] | facts["account"]["quarantined"] == expected
    assert facts["totals"]["accepted"] == accepted
    kept = left[first == ""]
    assert facts["customers"] == kept["Customer ID"].nunique()
    assert facts["orders"] == kept["Invoice"].nunique()
    assert facts["returns"] == int(cancelled[first == ""].sum())

    lines = stored_table(stored, "order_lines")
    assert lines.num_rows == accepted
    pence = (kept["Quantity"].astype(int) * (kept["Price"].astype(float) * 1000).round()).sum() / 10
    # Prices have up to three decimals, so a line is rounded by half a penny at most.
    assert sum(lines["amount_minor"].to_pylist()) == pytest.approx(pence, abs=accepted / 2)
    assert stored_table(stored, "quarantine").num_rows == facts["totals"]["quarantined"] == 1


def test_goods_have_the_names_of_their_lines(stored: Stored, real_data: Path) -> None:
    """Each line names its product as of its own moment; notes of the stock's keeper name none."""
    facts = stored.facts["tables"]["products"]
    assert facts["seen"] == sum(facts["totals"].values()) == SEEN
    frame = _published(real_data)
    code, name = frame["StockCode"].str.strip().str.upper(), frame["Description"].str.strip()
    goods = code.str.fullmatch(r"\d{5}[A-Z]{0,2}|DCGS.*")
    said = goods & name.str.contains("[A-Z]{3}")
    assert facts["account"]["filtered"] == {
        "not_a_product": (~goods).sum(),
        "no_name": (goods & (name == "")).sum(),
        "note": (goods & (name != "") & ~said).sum(),
    }
    products = stored_table(stored, "products").to_pandas()
    assert len(products) == facts["totals"]["accepted"] == said.sum()
    of_file = pd.Series(name[said].to_numpy(), code[said]).groupby(level=0).agg(set)
    assert products.groupby("product_id")["name"].agg(set).to_dict() == of_file.to_dict()
