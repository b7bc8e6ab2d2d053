"""How well states tell the next period, beside the stages by rules and simpler memories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.contract import Floats
from training.gates import CANDIDATE, Compared
from training.lifecycle.sequences import Ints, begun_of, shares
from training.metrics import LEAST, Ranked, customer_weights, evaluate
from training.segments.stability import adjusted_rand, table_of

RULES, LAST_PERIOD, NO_MEMORY = "rule_stages", "last_period", "no_memory"
OF_BUYING = ("roc_auc", "log_loss", "brier")
METRICS = ("loglik", *OF_BUYING, "agreement", "states")
LOWER, UNDIRECTED = frozenset({"log_loss", "brier"}), frozenset({"agreement", "states"})
MEANING = {
    "loglik": "log-likelihood of all that a period shows, given the periods before it, in periods "
    "that nothing was learned from; mean per customer and period",
    "roc_auc": "ROC-AUC of an order in the next period",
    "log_loss": "log loss of an order in the next period",
    "brier": "Brier score of an order in the next period",
    "agreement": "adjusted Rand index with the stages by rules",
    "states": "states, or stages, that customers are in",
}


@dataclass(frozen=True)
class Memory:
    """A baseline: the next period's codes by what a customer was a period before."""

    tables: tuple[Floats, ...]
    """For each observable, probability of its codes, shape (n_contexts, n_codes)."""

    @classmethod
    def learned(cls, context: Ints, codes: Ints, sizes: Sequence[int], prior: float) -> "Memory":
        """Shares of codes after each context, of shape (n_rows, n_periods); -1 = not yet known."""
        before, count = context[:, :-1], int(context.max()) + 1
        tables = []
        for o, size in enumerate(sizes):
            after = codes[:, 1:, o]
            both = (before >= 0) & (after >= 0)
            counts = table_of(before[both], after[both], count, size) + prior
            tables.append(shares(counts, o))
        return cls(tuple(tables))

    def loglik(self, context: Ints, codes: Ints) -> Floats:
        """Log-probability of each period but the first, shape (n_rows, n_periods - 1)."""
        before = np.minimum(context[:, :-1], len(self.tables[0]) - 1)
        found = np.zeros(before.shape)
        for o, table in enumerate(self.tables):
            after = codes[:, 1:, o]
            found += np.where(after >= 0, np.log(table[before, after]), 0.0)
        return found

    def buying(self, context: Ints) -> Floats:
        """Probability of an order in the period after the last one, shape (n_rows,)."""
        last = np.clip(context[:, -1], 0, len(self.tables[0]) - 1)
        buying: Floats = 1.0 - self.tables[0][last, 0]
        return buying


def contexts(paths: Ints, codes: Ints) -> dict[str, Ints]:
    """Baseline -> what it remembers of each period; -1 = not yet known."""
    begun = begun_of(codes >= 0)
    return {
        RULES: np.where(begun, paths, -1),
        LAST_PERIOD: np.where(begun, np.maximum(codes[..., 0], 0), -1),
        NO_MEMORY: np.where(begun, 0, -1),
    }


def told(loglik: Floats, codes: Ints, held: int) -> tuple[Floats, Floats]:
    """Log-likelihood of the last ``held`` periods by row, and how many of them count.

    Those count before which something was known; ``loglik`` is of all periods but the first.
    """
    counts = begun_of(codes >= 0)[:, :-1][:, -held:]
    return (loglik[:, -held:] * counts).sum(axis=1), counts.sum(axis=1).astype(np.float64)


@dataclass(frozen=True)
class Answered:
    """What one answer says of the test customers."""

    label: Ints
    """State or stage of each."""
    buying: Floats
    """Probability of an order in the next period."""
    loglik: tuple[Floats, Floats] | None = None
    """Held-out log-likelihood and periods by customer; None where it is not comparable."""


def compare(
    answers: Mapping[str, Answered], bought: Floats, customers: Ints, repeats: int, seed: int
) -> Compared:
    """Every answer on the same customers with the same bootstrap draws.

    Parameters
    ----------
    bought
        1 = ordered in the period after the test cutoff.
    """
    weights = customer_weights(customers, repeats, seed)
    everything = np.vstack([np.ones(len(bought)), weights])
    draws: dict[str, dict[str, Floats]] = {}
    rules = answers[RULES].label
    for name, said in answers.items():
        p = np.clip(said.buying, LEAST, 1 - LEAST)
        own = dict(evaluate(Ranked.of(bought, p, 0.5), weights, OF_BUYING))
        if said.loglik is not None:
            total, periods = said.loglik
            own["loglik"] = (everything @ total) / np.maximum(everything @ periods, 1.0)
        same = adjusted_rand(
            table_of(said.label, rules, int(said.label.max()) + 1, int(rules.max()) + 1)
        )
        own["agreement"] = np.full(repeats + 1, same)
        own["states"] = np.full(repeats + 1, float(len(np.unique(said.label))))
        draws[name] = {metric: own[metric] for metric in METRICS if metric in own}
    assert CANDIDATE in draws, "the candidate is among the answers"
    return Compared(draws=draws, lower_is_better=LOWER, undirected=UNDIRECTED)
