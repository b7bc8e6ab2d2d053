"""Content: items that are alike by what the source says of them, sold or not.

Each item is a bag of words: its category, its brand, the words of its name, its price band, and the
stem of its code (``85123A`` and ``85123B`` are variants of ``85123``). Links are cosines of TF-IDF
weights (Salton and Buckley 1988). An item without buyers has links; that is what it is for.
"""

import re

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from features.settings import Strict
from training.recommend.catalogue import Attributes
from training.recommend.histories import Histories
from training.recommend.makers import Shop
from training.recommend.makers.linear import Linear, linked

PRICE_STEP = 2.0
"""A price band ends at so many times its beginning."""


class ContentConfig(Strict):
    """Settings of content."""

    half_life_days: float = Field(default=365, gt=0)
    top: int = Field(default=100, ge=1)
    """Links kept per item."""


class Content(Linear):
    """Links between items that are described alike."""

    config: ContentConfig

    def fit(self, past: Histories, shop: Shop) -> None:
        """Compare the descriptions; who bought what plays no part."""
        words = described(shop.attributes).T.tocsr()
        ones = np.ones(words.shape[1])
        offered = ones if shop.offered is None else shop.offered.astype(np.float64)
        listed = (words @ sp.diags(offered)).tocsr()
        listed.eliminate_zeros()  # a source may describe many more items than it ever sold
        self.links = linked(words, listed, ones, ones, 0.0, self.config.top)


def described(attributes: Attributes) -> sp.csr_matrix:
    """Unit vectors of TF-IDF weights, shape (n_items, n_words); zero where nothing is said."""
    bags = [words(attributes, i) for i in range(len(attributes.products))]
    known = sorted({word for bag in bags for word in bag})
    place = {word: j for j, word in enumerate(known)}
    row = np.repeat(np.arange(len(bags)), [len(bag) for bag in bags])
    col = np.array([place[word] for bag in bags for word in bag], np.int64)
    counts = np.bincount(col, minlength=len(known))
    weight = np.log((1 + len(bags)) / (1 + counts))[col]
    # A word that only one item has links it to nothing, but would make it shorter; one that most
    # have tells nothing, but would link all of them.
    weight[(counts[col] < 2) | (counts[col] > len(bags) / 2)] = 0.0
    made = sp.csr_matrix((weight, (row, col)), shape=(len(bags), len(known)))
    length = np.sqrt(np.asarray(made.multiply(made).sum(axis=1)).ravel())
    return (sp.diags(1 / np.where(length > 0, length, 1.0)) @ made).tocsr()


def words(attributes: Attributes, i: int) -> list[str]:
    """The bag of words of item ``i``, each once, in order."""
    code, bag = attributes.products[i], set()
    stem = re.sub(r"[A-Z]+$", "", code)
    if len(stem) >= 3:
        bag.add(f"code:{stem}")
    for kind, said in (("category", attributes.categories), ("brand", attributes.brands)):
        if said and said[i]:
            bag.add(f"{kind}:{said[i]}")
    if attributes.names and attributes.names[i]:
        bag.update(re.findall(r"[^\W\d_]{3,}", attributes.names[i].lower()))
    if len(attributes.prices) and attributes.prices[i] > 0:
        bag.add(f"price:{int(np.floor(np.log(attributes.prices[i]) / np.log(PRICE_STEP)))}")
    return sorted(bag)
