"""The product list as the merchandising system exports it: names, brands, prices that change."""

import numpy as np
import pandas as pd

from features.simulate.draws import seconds, stream, words
from features.simulate.names import BRANDS, CATEGORIES
from features.simulate.world import World


def draw_catalogue(world: World) -> pd.DataFrame:
    """One row per product from the first midnight on, and one more from each price change on.

    Log prices are a compound Poisson process: changes come at a constant rate, each a normal step
    (the jump part of Merton, R. 1976, Option pricing when underlying stock returns are
    discontinuous, Journal of Financial Economics 3), of mean 0. Orders do not follow it: the list
    alone changes.
    """
    config, products = world.config, world.products
    rng, n = stream(config, "prices"), len(products)
    changes = rng.poisson(config.catalogue.price_changes_per_year * config.days / 365.25, n)
    product = np.repeat(np.arange(n), 1 + changes)
    first = np.concatenate([[True], product[1:] != product[:-1]])
    day = np.where(first, 0.0, rng.random(len(product)) * config.days)
    order = np.lexsort((day, product))
    step = np.where(first, 0.0, rng.normal(0.0, config.catalogue.price_step_sd, len(product)))
    path = pd.Series(step).groupby(product).cumsum().to_numpy()
    listed = products["list_cents"].to_numpy()[product]
    tens = np.maximum(np.rint((listed + 1) * np.exp(path) / 10.0), 1).astype(np.int64)
    category, groups = pd.factorize(products["category"])
    place = np.arange(n) % config.products_per_category
    title = [
        f"{CATEGORIES[c]} article {k + 1}".capitalize()
        for c, k in zip(category, place, strict=True)
    ]
    return pd.DataFrame({
        "product": product, "happened": seconds(day[order]),
        "name": np.array(title, dtype=object)[product],
        "category": words(category[product], CATEGORIES[: len(groups)]),
        "brand": words(rng.integers(len(BRANDS), size=n)[product], BRANDS),
        "price_cents": np.where(first, listed, tens * 10 - 1),
    })  # fmt: skip
