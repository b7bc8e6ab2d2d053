"""Names as they stand in a customer file: written in two scripts and several ways."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.simulate.config import SimulateConfig
from features.simulate.draws import stream
from features.simulate.names import ASCII, CHINESE_FAMILY, CHINESE_GIVEN, FAMILY, FEMALE, MALE

SAME_NAME_SHARE = 0.7
"""Share of households whose members have the same family name."""
REVERSED_SHARE = 0.1
"""Share of Latin names written family name first."""
CAPITAL_SHARE = 0.05
"""Share of Latin names written in capitals."""
LATIN_SHARE = 0.3
"""Share of Chinese names written in letters."""


@dataclass(frozen=True)
class Names:
    """Given and family name of each customer, in letters and, of Chinese ones, in signs."""

    letters: dict[str, np.ndarray]
    signs: dict[str, np.ndarray]
    chinese: np.ndarray


def drawn_names(config: SimulateConfig, frame: pd.DataFrame) -> Names:
    """The name of each customer; nobody's, and for nothing but their comparison."""
    return _drawn(stream(config, "names"), frame)


def _drawn(rng: np.random.Generator, frame: pd.DataFrame) -> Names:
    n = len(frame)
    chinese = (frame["language"] == "zh").to_numpy()
    partner = frame["partner"].to_numpy()
    same = (partner >= 0) & (partner < np.arange(n)) & (rng.random(n) < SAME_NAME_SHARE)
    family, given = rng.integers(1 << 30, size=n), rng.integers(1 << 30, size=n)
    family[same] = family[partner[same]]
    female = (frame["gender"] == "female").to_numpy() | (
        (frame["gender"] != "male").to_numpy() & (rng.random(n) < 0.5)
    )
    names = {
        "family": np.array(FAMILY, dtype=object)[family % len(FAMILY)],
        "given": np.where(
            female,
            np.array(FEMALE, dtype=object)[given % len(FEMALE)],
            np.array(MALE, dtype=object)[given % len(MALE)],
        ),
    }
    signs, letters = (
        {
            "family": np.array([f[k] for f in CHINESE_FAMILY], dtype=object)[
                family % len(CHINESE_FAMILY)
            ],
            "given": np.array([g[k] for g in CHINESE_GIVEN], dtype=object)[
                given % len(CHINESE_GIVEN)
            ],
        }
        for k in (0, 1)
    )
    spelled = {part: np.where(chinese, letters[part], names[part]) for part in names}
    return Names(spelled, signs, chinese)


def written_names(config: SimulateConfig, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Name and e-mail address of each customer as the account has them."""
    rng, n = stream(config, "names"), len(frame)
    names = _drawn(rng, frame)
    spelled, signs, chinese = names.letters, names.signs, names.chinese
    style = rng.random(n)
    text = pd.Series(spelled["given"] + " " + spelled["family"])
    text = text.mask(style < REVERSED_SHARE, spelled["family"] + ", " + spelled["given"])
    text = text.mask(style > 1 - CAPITAL_SHARE, text.str.upper())
    in_signs = chinese & (rng.random(n) >= LATIN_SHARE)
    text = text.mask(in_signs, signs["family"] + signs["given"])
    address = pd.Series(spelled["given"] + "." + spelled["family"]).str.lower()
    address = address.str.translate(ASCII).str.replace(" ", "", regex=False)
    number = pd.Series(rng.integers(1, 10_000, size=n)).astype(str)
    return text.to_numpy(), (address + number + "@mail.example").to_numpy()
