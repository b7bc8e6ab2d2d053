"""Questions on snapshots without a clock: ours, chosen inside each fold, beside library defaults.

The pipeline's own division: stratified five-fold cross-validation by customer, repeated as the YAML
says. Ours searches, calibrates and fits inside each training fold. The others see the same rows and
the same folds with their defaults: words as categories where they can, else one column per word;
numbers standardised and missing ones replaced by the median where they must be. ROC-AUC is the mean
over folds, as is usual; the interval of a difference is the corrected resampled t of Nadeau and
Bengio (2003), which knows that training folds overlap. LightGBM runs where it is installed.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/telco.py [configs/telco.yaml] [repeats]
"""

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from features.progress import Progress
from features.settings import Workspace
from training.pipeline import PREPARING, load_plan, prepare
from training.splits import Block
from training.supervised.learn import learn
from training.supervised.stages import division
from training.tune import tune

OURS = "ours, nested"
LEADING = ("XGBoost", "LightGBM", "logistic regression", "HistGradientBoosting")
"""Those that ours is held against; the others are shown for comparison, on the first repeat."""
Made = Callable[[], Any]


def numbers(*steps: Any) -> Made:
    """A classifier over one-hot words and standardised numbers without holes."""
    return lambda: make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), *steps)


def others() -> dict[str, tuple[bool, Made]]:
    """Name -> whether it takes words as categories, and how it is made."""
    import xgboost

    found: dict[str, tuple[bool, Made]] = {
        "XGBoost": (True, lambda: xgboost.XGBClassifier(enable_categorical=True, n_jobs=1)),
        "logistic regression": (False, numbers(LogisticRegression(max_iter=2000))),
        "HistGradientBoosting": (
            True,
            lambda: HistGradientBoostingClassifier(
                categorical_features="from_dtype", random_state=0
            ),
        ),
        "random forest": (False, numbers(RandomForestClassifier(random_state=0))),
        "decision tree": (False, numbers(DecisionTreeClassifier(random_state=0))),
        "linear SVM": (False, numbers(LinearSVC(random_state=0))),
        "naive Bayes": (False, numbers(GaussianNB())),
        "neural network": (False, numbers(MLPClassifier((32,), max_iter=300, random_state=0))),
    }
    if find_spec("lightgbm"):
        import lightgbm

        found["LightGBM"] = (True, lambda: lightgbm.LGBMClassifier(n_jobs=1, verbose=-1))
    return found


def answered(block: Block, words: bool, made: Made) -> np.ndarray:
    """Scores of the held rows by a library's classifier taught by the others."""
    X = block.rows.X if words else pd.get_dummies(block.rows.X, dtype=np.float64)
    model = made().fit(X[block.teaching], block.rows.y[block.teaching])
    held = X[block.held]
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(held)[:, 1])
    return np.asarray(model.decision_function(held))


def corrected(differences: np.ndarray, folds: int) -> tuple[float, float, float]:
    """Mean and 95 % interval of a paired difference over repeated folds, by Nadeau and Bengio."""
    n = len(differences)
    spread = np.sqrt((1 / n + 1 / (folds - 1)) * differences.var(ddof=1))
    reach = student.ppf(0.975, n - 1) * spread
    mean = float(differences.mean())
    return mean, mean - float(reach), mean + float(reach)


def main() -> None:
    """Print the table, and ours against the best of the leading others."""
    warnings.simplefilter("ignore")
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "configs/telco.yaml")
    changed = [f"cutoffs.repeats={sys.argv[2]}"] if len(sys.argv) > 2 else []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("PERENNIAL_KEYS_DIR", f"{scratch}/keys")
        place = Workspace.locate(Path(scratch, "store"), Path(scratch, "registry"))
        plan: Any = load_plan(place, path, changed)
        prepared = prepare(place, plan, Progress(plan.config.name, PREPARING))
        splits = division(place, plan, prepared)
    config, kind = plan.config, plan.task.kind
    rounds, found, spent = splits.judged, {}, {}

    def ours(k: int) -> np.ndarray:
        within = rounds[k]
        part, _ = tune(
            within, kind, config.model, config.search, config.seed, None, lambda *_: None
        )
        learned = learn(within, kind, part, config.calibrate, config.seed, lambda: None)
        return learned.predict(within.last.answered.X)

    asked: dict[str, Callable[[int], np.ndarray]] = {OURS: ours}
    for name, (words, made) in others().items():
        asked[name] = lambda k, words=words, made=made: answered(rounds[k].last, words, made)
    for name, answer in asked.items():
        began, lines = time.perf_counter(), []
        some = rounds if name in (OURS, *LEADING) else rounds[: config.cutoffs.folds]
        for k, within in enumerate(some):
            y, p = within.last.answered.y, answer(k)
            bounded = p.min() >= 0 and p.max() <= 1
            lines.append((roc_auc_score(y, p), log_loss(y, p) if bounded else np.nan))
        found[name], spent[name] = np.array(lines), time.perf_counter() - began
    folds, repeats = config.cutoffs.folds, config.cutoffs.repeats
    print(f"{config.name}: {len(splits.rows):,} rows, {splits.rows.X.shape[1]} columns, "
          f"rate {splits.rows.y.mean():.3f}; {repeats} x {folds} folds")  # fmt: skip
    print(f"{'':22}{'ROC-AUC':>9}{'of folds':>10}{'log loss':>10}{'ours better by':>34}{'s':>7}")
    for name, lines in sorted(found.items(), key=lambda item: -item[1][:, 0].mean()):
        auc = lines[:, 0]
        by = ""
        if name != OURS:
            mean, low, high = corrected(found[OURS][: len(auc), 0] - auc, folds)
            by = f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
        print(f"{name:22}{auc.mean():>9.4f}{auc.std(ddof=1):>10.4f}{lines[:, 1].mean():>10.4f}"
              f"{by:>34}{spent[name]:>7.0f}")  # fmt: skip
    if "LightGBM" not in found:
        print("LightGBM is not installed")
    best = max((n for n in LEADING if n in found), key=lambda n: found[n][:, 0].mean())
    mean, low, high = corrected(found[OURS][:, 0] - found[best][:, 0], folds)
    print(f"ours against the best of {', '.join(n for n in LEADING if n in found)} ({best}): "
          f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]")  # fmt: skip


if __name__ == "__main__":
    main()
