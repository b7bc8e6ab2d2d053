"""The words of feedback, and short texts whose sentiment is that of their list."""

import numpy as np
import pandas as pd

from features.simulate.draws import Ints, words
from features.simulate.names import CATEGORIES

KINDS = ("review", "ticket", "complaint", "reply", "resolved", "reopened", "csat", "nps")
REVIEW, TICKET, COMPLAINT, REPLY, RESOLVED, REOPENED, CSAT, NPS = range(len(KINDS))
SENTIMENTS = ("bad", "mixed", "good")
BAD, MIXED, GOOD = range(len(SENTIMENTS))
TOPICS = ("delivery", "return", "product", "account")
REVIEWS: dict[str, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("The {} item fell apart after a week.", "Not what I ordered; very disappointed.",
         "Cheap {} goods at a high price, never again.", "Poor quality and nobody cared."),
        ("The {} item is all right, delivery took long.", "Fine, but smaller than expected.",
         "Average {} quality for the price."),
        ("Lovely {} item, exactly as described.", "Great quality, will buy again!",
         "My favourite {} shop; fast and friendly.", "Perfect present, thank you."),
    ),
    "de": (
        ("Der Artikel ({}) ging nach einer Woche kaputt.", "Leider gar nicht wie beschrieben.",
         "Schlechte Qualität, nie wieder."),
        ("Ganz in Ordnung, die Lieferung dauerte lange.", "Geht so, für {} etwas teuer."),
        ("Sehr schön, genau wie beschrieben.", "Tolle Qualität, gerne wieder ({})!",
         "Schnell geliefert, alles bestens."),
    ),
    "zh": (
        ("质量很差，用了一周就坏了。", "和描述不符，非常失望。"),
        ("还可以，就是物流有点慢。", "一般般，价格偏高。"),
        ("非常喜欢，质量很好！", "很满意，下次还会再买。"),
    ),
}  # fmt: skip
"""By language and sentiment; languages without texts of their own take the English ones."""
TICKETS: dict[str, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("My parcel is late, where is it?", "Still nothing arrived, please help."),
        ("I sent the goods back, when do I get my money?", "How can I return this?"),
        ("The {} item is damaged.", "A part is missing from the {} item."),
        ("I cannot log in.", "Please change my address."),
    ),
    "de": (
        ("Mein Paket ist verspätet, wo bleibt es?", "Es ist immer noch nichts da."),
        ("Wann bekomme ich mein Geld für die Rücksendung?", "Wie schicke ich das zurück?"),
        ("Der Artikel ({}) ist beschädigt.", "Es fehlt ein Teil."),
        ("Ich kann mich nicht anmelden.", "Bitte ändern Sie meine Adresse."),
    ),
    "zh": (
        ("我的包裹迟到了，在哪里？",),
        ("退货的钱什么时候退？",),
        ("商品有破损。",),
        ("我无法登录。",),
    ),
}  # fmt: skip
"""By language and topic."""


def said(
    rng: np.random.Generator,
    texts: dict[str, tuple[tuple[str, ...], ...]],
    language: np.ndarray,
    about: Ints,
    category: Ints,
) -> pd.Categorical:
    """One text per row: of the language, of the list ``about``, naming the product's category."""
    known: dict[str, int] = {}
    codes = np.full(len(language), -1, dtype=np.int64)
    lot = rng.random(len(language))
    for spoken, lists in texts.items():
        mine = language == spoken
        if spoken == "en":
            mine |= ~np.isin(language, list(texts))
        for k, choices in enumerate(lists):
            rows = np.flatnonzero(mine & (about == k))
            # Every text in every category, once: a row is then a number.
            table = np.array([
                [known.setdefault(text.format(group), len(known)) for group in CATEGORIES]
                for text in choices
            ])  # fmt: skip
            codes[rows] = table[(lot[rows] * len(choices)).astype(np.int64), category[rows]]
    return words(codes, list(known))
