"""A small sequence network as a recommender, beside the other methods on the same customers.

A customer is a sequence of baskets, each the mean of its items' vectors and the days since the one
before; a GRU reads them (GRU4Rec, Hidasi et al. 2016, on baskets as in DREAM, Yu et al. 2016) and
says after each which items follow within 90 days: softmax over all items, cross-entropy, no drawn
negatives. Population, truth and the other rows are those of `benchmarks/recommend.py`. The number
of epochs is chosen on 2011-06-12; 2011-09-10 is looked at once. It needs `pip install torch`.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/recommend_sequence.py
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from recommend import TEST, World, floor_scores, listed, measures, paired, sales

VALIDATION = pd.Timestamp("2011-06-12")
EPOCHS = (20, 30, 40, 50)
"""After so many the lists are judged."""
SIZE = 64
BASKETS = 40
"""The last ones of each customer are read."""
TOGETHER = 32
"""Customers of a step."""
WINDOW = 90


class Sequences:
    """Baskets by customer, oldest first: items, days since the one before, what follows."""

    def __init__(self, world: World) -> None:
        past = world.past
        customer = np.searchsorted(world.customers, past["customer"])
        item = np.searchsorted(world.products, past["product"])
        day = (past["day"] - world.cutoff).dt.days.to_numpy()
        lines = np.unique(np.column_stack([customer, day, item]), axis=0)
        edges = np.flatnonzero(np.any(np.diff(lines[:, :2], axis=0, prepend=-1) != 0, axis=1))
        self.baskets: list[list[tuple[int, np.ndarray]]] = [[] for _ in world.customers]
        for part in np.split(lines, edges[1:]):
            self.baskets[part[0, 0]].append((int(part[0, 1]), part[:, 2]))
        self.baskets = [own[-BASKETS:] for own in self.baskets]
        self.targets = [[self._after(own, at) for at in range(len(own))] for own in self.baskets]
        self.n_items = len(world.products)

    def _after(self, baskets: list[tuple[int, np.ndarray]], at: int) -> np.ndarray:
        """Items that follow a basket within the window."""
        day, _ = baskets[at]
        after = [items for later, items in baskets[at + 1 :] if later < day + WINDOW]
        return np.unique(np.concatenate(after)) if after else np.zeros(0, int)

    def batch(self, customers: np.ndarray):
        """Tensors of some customers: items, whose basket they are, gaps, targets, lengths."""
        import torch

        own = [self.baskets[c] for c in customers]
        width = max(len(baskets) for baskets in own)
        items = [torch.from_numpy(i) for baskets in own for _, i in baskets]
        gaps = torch.zeros(len(own), width, 1)
        place, targets = [], []
        for r, baskets in enumerate(own):
            days = [day for day, _ in baskets]
            gaps[r, : len(days), 0] = torch.tensor(np.log1p(np.diff(days, prepend=days[0])))
            place += range(r * width, r * width + len(days))
            targets += self.targets[customers[r]]
        sizes = torch.tensor([len(i) for i in items])
        starts = torch.cumsum(sizes, 0) - sizes
        last = torch.tensor([r * width + len(b) - 1 for r, b in enumerate(own)])
        return torch.cat(items), starts, torch.tensor(place), gaps, targets, last


def network(n_items: int):
    """Items' vectors, a GRU over baskets, and scores by the same vectors."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.EmbeddingBag(n_items, SIZE, mode="mean")
            nn.init.normal_(self.items.weight, std=0.05)
            self.gap = nn.Linear(1, SIZE)
            self.read = nn.GRU(SIZE, SIZE, batch_first=True)
            self.drop = nn.Dropout(0.2)
            self.bias = nn.Parameter(torch.zeros(n_items))

        def forward(self, items, starts, place, gaps):
            rows = torch.zeros(gaps.shape[0] * gaps.shape[1], SIZE)
            rows = rows.index_copy(0, place, self.items(items, starts))
            inputs = rows.view(*gaps.shape[:2], SIZE) + self.gap(gaps)
            states, _ = self.read(self.drop(inputs))
            return self.drop(states.reshape(-1, SIZE))

        def scores(self, states):
            return states @ self.items.weight.T + self.bias

    return Network()


def trained(world: World, epochs: tuple[int, ...]):
    """Scores of the customers who bought, after each number of epochs."""
    import torch

    torch.manual_seed(7)
    torch.set_num_threads(1)
    told, rng = Sequences(world), np.random.default_rng(7)
    made = network(told.n_items)
    steps = torch.optim.Adam(made.parameters(), lr=5e-3, weight_decay=1e-6)
    several = np.array([c for c, own in enumerate(told.baskets) if len(own) > 1])
    for epoch in range(1, max(epochs) + 1):
        made.train()
        for at in np.array_split(rng.permutation(several), len(several) // TOGETHER):
            *inputs, targets, _ = told.batch(at)
            asked = [n for n, target in enumerate(targets) if len(target)]
            if not asked:
                continue
            states = made(*inputs)[inputs[2][asked]]
            log = torch.log_softmax(made.scores(states), dim=1)
            sizes = [len(targets[n]) for n in asked]
            row = np.repeat(np.arange(len(asked)), sizes)
            weight = torch.tensor(np.repeat(1 / np.array(sizes), sizes), dtype=torch.float32)
            true = np.concatenate([targets[n] for n in asked])
            loss = -(log[row, true] * weight).sum() / len(asked)
            steps.zero_grad()
            loss.backward()
            steps.step()
        if epoch in epochs:
            made.eval()
            with torch.no_grad():
                parts = []
                for at in np.array_split(world.asked, len(world.asked) // 256):
                    *inputs, _, last = told.batch(at)
                    parts.append(made.scores(made(*inputs)[last]).numpy())
            yield epoch, np.vstack(parts)


def judged(world: World, scores: np.ndarray) -> dict[str, np.ndarray]:
    """NDCG@10 by customer, of everything and of what was never bought."""
    bought = world.bought[world.asked].toarray()
    truth, beyond = world.truth[world.asked].tocsr(), world.beyond[world.asked]
    new = (truth - truth.multiply(world.bought[world.asked])).tocsr()
    new.eliminate_zeros()
    return {
        "everything": measures(listed(scores, np.ones_like(bought)), truth, beyond)["ndcg"],
        "never bought": measures(listed(scores, ~bought), new, beyond)["ndcg"],
    }


def main() -> None:
    """Choose the epochs on the validation cutoff, compare at the test cutoff."""
    if find_spec("torch") is None:
        sys.exit("needs torch, which is no part of the project's environment: pip install torch")
    lines = sales(Path(os.environ["PERENNIAL_DATA_DIR"]))
    world, found = World(lines, VALIDATION), {}
    for epoch, scores in trained(world, EPOCHS):
        means = {kind: np.nanmean(v) for kind, v in judged(world, scores).items()}
        found[epoch] = sum(means.values())
        said = ", ".join(f"{kind} {mean:.4f}" for kind, mean in means.items())
        print(f"{VALIDATION:%Y-%m-%d}, {epoch:2d} epochs: NDCG@10 {said}", flush=True)
    best, world = max(found, key=found.get), World(lines, TEST)
    begun = time.process_time()
    ((_, scores),) = trained(world, (best,))
    took = time.process_time() - begun
    ours = judged(world, scores)
    print(
        f"{TEST:%Y-%m-%d}, {best} epochs, {took:.0f} s of the processor, "
        f"{len(world.asked):,} customers"
    )
    print(f"{'GRU over baskets':26s}" + "".join(f"  {np.nanmean(v):.4f}" for v in ours.values()))
    for name, other in floor_scores(world).items():
        row = judged(world, other)
        print(
            f"{name:26s}"
            + "".join(
                f"  {np.nanmean(v):.4f} (the network {paired(ours[kind], v)})"
                for kind, v in row.items()
            )
        )


if __name__ == "__main__":
    main()
