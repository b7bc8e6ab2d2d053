"""What of the assortment customers buy: breadth, repeats, novelty, prices, categories, brands."""

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished
from features.settings import Strict
from features.views import AGE, View, currency, entropy, ratio

DECLARE = Declare("assortment")
CATALOGUE = "products"
BILLION = 1_000_000_000


class AssortmentConfig(Strict):
    """Windows of the assortment features."""

    windows_days: tuple[int, ...] = (90, 365)
    """Windows ``[t - w, t)`` for products, repeats, novelty and the price of an item."""
    catalogue_days: int = Field(default=365, ge=1)
    """Window of what the product table tells: categories, brands, launches, price level."""
    launched_days: int = Field(default=90, ge=1)
    """A product is new so long after it was first listed. A table of products that is made of sales
    lists as new whatever sells rarely, the more of it the nearer the cutoff is to the first sale:
    models may leave that column out."""


class Assortment:
    """Which products a customer buys, and which of them again.

    A purchase is a product at a moment, whether it was kept or taken back later. Where the source
    brings products, their category, brand and price are those known at the cutoff; where it does
    not, these columns are missing.
    """

    config: AssortmentConfig
    reads: tuple[str, ...] = ("order_lines",)

    def __init__(self, config: AssortmentConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        columns = [
            DECLARE.zero("products_total", "products", "different products ever bought"),
            DECLARE.share(
                "repeat_share", "share of purchases of a product that repeat an earlier one",
                "nothing was bought",
            ),
        ]  # fmt: skip
        for days in self.config.windows_days:
            none = f"nothing was bought in the last {days} days"
            columns += [
                DECLARE.zero("products", "products", "different products bought", days),
                DECLARE.share(
                    "repeat_share", "share of purchases that repeat one from any time before",
                    none, days,
                ),
                DECLARE.share(
                    "first_time_share", "share of products that were never bought before", none,
                    days,
                ),
                DECLARE.maybe(
                    "unit_price", "currency", "mean price of an item in kept orders",
                    f"no item was kept of orders in the last {days} days", days,
                ),
            ]  # fmt: skip
        return [*columns, *self._catalogue_columns()]

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with at least one row in the past."""
        parts = [self._purchases(view), self._prices(view)]
        if view.has(CATALOGUE):
            bought = self._bought(view)
            parts += [_totals(bought), _kinds(bought, c.CATEGORY), _kinds(bought, "brand")]
        found = beside(view.customers, *parts)
        values = {
            "products_total": found.products,
            "repeat_share": ratio(found.purchases - found.products, found.purchases),
        }
        for days in self.config.windows_days:
            purchases, products = found[f"purchases_{days}"], found[f"products_{days}"]
            firsts = found[f"firsts_{days}"]
            values |= {
                f"products_{days}d": products,
                f"repeat_share_{days}d": ratio(purchases - firsts, purchases),
                f"first_time_share_{days}d": ratio(firsts, products),
                f"unit_price_{days}d": ratio(
                    currency(found[f"amount_{days}"]), found[f"items_{days}"]
                ),
            }
        told = [k.name.partition("__")[2] for k in self._catalogue_columns()]
        if view.has(CATALOGUE):
            known = _told_by_catalogue(found)
        else:
            known = [ibis.null("float64")] * len(told)
        values |= dict(zip(told, known, strict=True))
        return finished(found.select(*KEYS, **values), self.columns())

    def _purchases(self, view: View) -> ir.Table:
        """Counts of the ledger: see :mod:`features.purchases`."""
        entries = view.purchases
        sums = {name: entries[name].sum() for name in ("purchases", "products")}
        for days in self.config.windows_days:
            for name in ("purchases", "products", "firsts"):
                sums[f"{name}_{days}"] = entries[name].sum(where=entries[AGE] <= days)
        return entries.group_by(list(KEYS)).aggregate(**sums)

    def _prices(self, view: View) -> ir.Table:
        orders = view.orders
        sums = {}
        for days in self.config.windows_days:
            inside = orders[AGE] <= days
            sums[f"amount_{days}"] = orders[c.AMOUNT].sum(where=inside)
            sums[f"items_{days}"] = orders[c.QUANTITY].sum(where=inside)
        return orders.group_by(list(KEYS)).aggregate(**sums)

    def _catalogue_columns(self) -> list[FeatureColumn]:
        days, new = self.config.catalogue_days, self.config.launched_days

        def missing(word: str) -> str:
            return f"nothing was bought in that time whose {word} the source says"

        columns = []
        for word, plural in ((c.CATEGORY, "categories"), ("brand", "brands")):
            columns += [
                DECLARE.maybe(plural, plural, f"different {plural} bought", missing(word), days),
                DECLARE.share(
                    f"{word}_top_share", f"share of lines of the {word} bought most",
                    missing(word), days,
                ),
                DECLARE.maybe(
                    f"{word}_entropy_nats", "nats",
                    f"how evenly lines are spread over {plural}: 0 = all of one", missing(word),
                    days,
                ),
            ]  # fmt: skip
        columns += [
            DECLARE.maybe(
                "price_level", "ratio",
                "paid for goods over what they cost at the mean list price of their category",
                missing("category and the category's list prices"), days,
            ),
            DECLARE.share(
                f"new_{new}d_share", f"share of lines of products first listed in the {new} "
                "days before the cutoff", missing("first listing"), days,
            ),
        ]  # fmt: skip
        return columns

    def _bought(self, view: View) -> ir.Table:
        """Lines sold, added up by category and brand as known at the cutoff."""
        lines, product = view.order_lines, [c.CUTOFF, c.PRODUCT]
        sold = lines.filter(~lines[c.IS_RETURN] & (lines[AGE] <= self.config.catalogue_days))
        sold = sold.select(*KEYS, c.PRODUCT, c.QUANTITY, c.AMOUNT)
        listings = view.rows(CATALOGUE)
        listed = listings.group_by(product).aggregate(listed_days=listings[AGE].max())
        known = view.catalogue
        known = known.select(*product, c.CATEGORY, "brand", "price_minor")
        prices = known.filter(known.price_minor.notnull()).group_by([c.CUTOFF, c.CATEGORY])
        # Whole minor units, so that sums do not depend on the order of the rows.
        usual = prices.aggregate(usual_price=lambda t: t.price_minor.sum() // t.count())
        known = known.join(listed, product).left_join(usual, [c.CUTOFF, c.CATEGORY])
        known = known.select(*product, c.CATEGORY, "brand", "usual_price", "listed_days")
        told = sold.join(known, product)
        priced = told.usual_price.notnull()
        return told.group_by([*KEYS, c.CATEGORY, "brand"]).aggregate(
            n=told.count(),
            new=told.count(where=told.listed_days <= self.config.launched_days),
            paid=told[c.AMOUNT].sum(where=priced),
            usual=(told[c.QUANTITY] * told.usual_price).sum(where=priced),
        )


def _totals(bought: ir.Table) -> ir.Table:
    return bought.group_by(list(KEYS)).aggregate(
        **{f"all_{name}": bought[name].sum() for name in ("n", "new", "paid", "usual")}
    )


def _kinds(bought: ir.Table, kind: str) -> ir.Table:
    """How purchases spread over categories, or over brands."""
    named = bought.filter(bought[kind].notnull())
    each = named.group_by([*KEYS, kind]).aggregate(n=named.n.sum().cast("int64"))
    return each.group_by(list(KEYS)).aggregate(
        **{
            f"{kind}_kinds": each.count(),
            f"{kind}_top": each.n.max(),
            f"{kind}_n": each.n.sum(),
            # Whole billionths, so that sums do not depend on the order of the rows.
            f"{kind}_n_ln_n": (each.n * each.n.ln() * BILLION).round().cast("int64").sum(),
        }
    )


def _told_by_catalogue(found: ir.Table) -> list[ir.Value]:
    values = []
    for kind in (c.CATEGORY, "brand"):
        n = found[f"{kind}_n"].cast("float64")
        values += [
            found[f"{kind}_kinds"],
            ratio(found[f"{kind}_top"], n),
            entropy(n, found[f"{kind}_n_ln_n"] / BILLION),
        ]
    return [*values, ratio(found.all_paid, found.all_usual), ratio(found.all_new, found.all_n)]
