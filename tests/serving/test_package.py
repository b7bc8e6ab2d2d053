"""Packaging refuses what was not approved, what was changed, and what answers otherwise."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.errors import DataError, NotApproved
from features.settings import Workspace
from serving import bento, package, replay
from serving.base import RULES, make_app
from serving.guard import Guard
from serving.release import Release
from tests.serving.conftest import GOLDEN_ROWS, Made
from training import bundle as bundles
from training import versions
from training.keys import signing_key, verifying_key
from training.record import Record
from training.supervised import bundle as supervised
from training.supervised.bundle import Bundle
from training.versions import Approved


def approve(monkeypatch: pytest.MonkeyPatch, folder: Path, digest: str, version: int = 3) -> None:
    """A reviewer approved what lies in ``folder``."""
    granted = Approved("churn", version, digest, folder, "Ann", "2026-01-02T03:04:05+00:00")
    monkeypatch.setattr(versions, "approved", lambda *_: granted)
    monkeypatch.setattr(package, "misplaced", lambda *_: [])
    monkeypatch.setattr(package, "_posted", lambda *_: None)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[bento.Order]:
    """Orders that would have been built; each leaves its model and an empty Bento behind."""
    orders: list[bento.Order] = []

    def build(order: bento.Order, context: Path) -> None:
        del context
        orders.append(order.model_copy())
        model = bento.folder(order.home, "models", order.model)
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(order.release, model)
        done = bento.folder(order.home, "bentos", order.bento)
        done.mkdir(parents=True, exist_ok=True)
        (done / "bento.yaml").touch()

    monkeypatch.setattr(package, "_build", build)
    return orders


def nothing_written(place: Workspace) -> bool:
    """Whether neither store nor record has anything of it."""
    left = (
        [path for path in place.store.rglob("*") if path.is_file()] if place.store.exists() else []
    )
    return not left and not Record(place).entries()


def test_unapproved_version_is_refused(
    workplace: Workspace, monkeypatch: pytest.MonkeyPatch, built: list[Any]
) -> None:
    """The reviewers' refusal reaches the caller, and nothing is left behind."""

    def refuse(*_: Any) -> None:
        raise NotApproved("model 'churn' has no approved version")

    monkeypatch.setattr(versions, "approved", refuse)
    with pytest.raises(NotApproved, match="no approved version"):
        package.package(workplace, "churn")
    assert not built
    assert nothing_written(workplace)


def test_an_alias_moved_around_the_commands_is_refused_once(
    made: Made, workplace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put back and said; a dry run says so and leaves it where it is."""
    approve(monkeypatch, made.folder, made.digest)
    moved = ["alias champion stood at 2, the record says 3"]
    repaired: list[str] = []
    monkeypatch.setattr(package, "misplaced", lambda *_: moved)
    monkeypatch.setattr(package, "mirror", lambda _, model: repaired.append(model))
    with pytest.raises(DataError, match="changed around the record of decisions; decide by"):
        package.package(workplace, "churn", dry_run=True)
    assert not repaired
    with pytest.raises(DataError, match="were put back; .*\n.*alias champion stood at 2"):
        package.package(workplace, "churn")
    assert repaired == ["churn"]
    assert nothing_written(workplace)


@pytest.mark.parametrize("name", ["model.ubj", "answer.json", "golden.npz", "manifest.json"])
def test_tampered_bundle_is_refused(
    name: str,
    made: Made,
    workplace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    built: list[Any],
) -> None:
    """A changed file of an approved version stops it before anything is written."""
    shutil.copytree(made.folder, tmp_path / "copy")
    path = tmp_path / "copy" / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    approve(monkeypatch, tmp_path / "copy", made.digest)
    with pytest.raises(DataError, match=str(tmp_path / "copy")):
        package.package(workplace, "churn")
    assert not built
    assert nothing_written(workplace)


def test_another_bundle_than_the_approved_is_refused(
    made: Made, workplace: Workspace, monkeypatch: pytest.MonkeyPatch, built: list[Any]
) -> None:
    """A validly signed bundle with another digest is not what the reviewer saw."""
    approve(monkeypatch, made.folder, "f" * 64)
    with pytest.raises(DataError, match="was approved as ffffffffffff"):
        package.package(workplace, "churn")
    assert not built
    assert nothing_written(workplace)


def rewritten(bundle: Bundle, folder: Path, keys: Path, **changes: Any) -> str:
    """The bundle with another answer, signed anew."""
    assert bundle.golden is not None
    answer = bundle.answer.model_copy(update=changes)
    changed = Bundle(answer, bundle.model, bundle.calibrator)
    return supervised.write(changed, bundle.golden.X, folder, signing_key(keys))


@pytest.mark.parametrize("task", ["weather", "guard", "demo", "base"])
def test_question_without_a_service_of_its_own_goes_to_the_generic_one(
    bundle: Bundle, task: str
) -> None:
    """Also where a file of that name does something else."""
    asked = bundle.answer.model_copy(update={"task": task})
    other = Bundle(asked, bundle.model, bundle.calibrator)
    assert package._service(other) == "serving.generic:Generic"
    assert package._service(bundle) == "serving.churn:Churn"


def test_different_answers_in_process_are_refused(
    made: Made, workplace: Workspace, monkeypatch: pytest.MonkeyPatch, built: list[Any]
) -> None:
    """Golden rows that come out otherwise here, by more than 1e-9, stop it."""
    predict = Bundle.predict
    monkeypatch.setattr(
        Bundle, "predict", lambda self, X: tuple(a + 1e-8 for a in predict(self, X))
    )
    approve(monkeypatch, made.folder, made.digest)
    with pytest.raises(DataError, match=r"largest difference 1\.0e-08"):
        package.package(workplace, "churn")
    assert not built
    assert nothing_written(workplace)


@pytest.mark.parametrize("part", ["predicted", "explained"])
def test_different_answers_over_http_are_refused(
    part: str, made: Made, workplace: Workspace, monkeypatch: pytest.MonkeyPatch, built: list[Any]
) -> None:
    """A handler that mixes up rows is noticed by the replay over HTTP, and nothing is noted."""
    from serving.endpoints import Endpoints

    handler = getattr(Endpoints, part)

    def mixed(self: Any, asked: Any, *more: Any) -> Any:
        return handler(self, replace(asked, X=asked.X[::-1].copy()), *more)

    monkeypatch.setattr(Endpoints, part, mixed)
    approve(monkeypatch, made.folder, made.digest)
    with pytest.raises(DataError, match="answered differently over HTTP"):
        package.package(workplace, "churn")
    assert not built
    assert nothing_written(workplace)


def test_rows_that_the_service_refuses_are_told(
    bundle: Bundle,
    workplace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    built: list[Any],
) -> None:
    """A declared range that the training data break is found before anybody is served."""
    columns = tuple(
        column.model_copy(update={"high": 1.0})
        if column.name == "rfm__frequency_orders"
        else column
        for column in bundle.answer.columns
    )
    digest = rewritten(bundle, tmp_path / "other", workplace.keys, columns=columns)
    approve(monkeypatch, tmp_path / "other", digest)
    with pytest.raises(DataError, match=r"a golden request is refused by /predict.*rfm__frequency"):
        package.package(workplace, "churn")
    assert not built


def test_packaging_is_noted_and_recognised(
    made: Made, workplace: Workspace, monkeypatch: pytest.MonkeyPatch, built: list[bento.Order]
) -> None:
    """The check is in the record; the same version is not packaged twice; another one is."""
    approve(monkeypatch, made.folder, made.digest)
    first = package.package(workplace, "churn")
    assert first.fresh
    noted = Record(workplace).entries("churn")
    assert [(e.event, e.version, e.digest, e.actor) for e in noted] == [
        ("checked", 3, made.digest, "package")
    ]
    assert noted[0].evidence["bento"] == first.bento
    assert noted[0].evidence["largest_difference"] <= 1e-9
    assert bundles.load(first.bundle, verifying_key(made.keys)).digest == made.digest
    again = package.package(workplace, "churn")
    assert (again.bento, again.fresh, len(built)) == (first.bento, False, 1)
    approve(monkeypatch, made.folder, made.digest, version=4)
    assert package.package(workplace, "churn").bento != first.bento
    assert len(built) == 2


def test_changed_code_is_packaged_anew_and_keeps_the_stored_model(
    made: Made, workplace: Workspace, monkeypatch: pytest.MonkeyPatch, built: list[bento.Order]
) -> None:
    """Another Bento, the same model: an older Bento may pin it."""
    approve(monkeypatch, made.folder, made.digest)
    first = package.package(workplace, "churn")
    monkeypatch.setattr(package, "code_fingerprint", lambda *_: "other code")
    second = package.package(workplace, "churn")
    assert second.bento != first.bento
    assert [order.keep_model for order in built] == [False, True]
    assert built[0].model == built[1].model


@pytest.mark.parametrize("damage", ["model", "bento", "note"])
def test_unfinished_packaging_is_done_again(
    damage: str,
    made: Made,
    workplace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    built: list[bento.Order],
) -> None:
    """A Bento that is gone, half there, or was never noted is built anew."""
    approve(monkeypatch, made.folder, made.digest)
    first = package.package(workplace, "churn")
    if damage == "model":
        (first.bundle / "model.ubj").write_bytes(b"x")
    elif damage == "bento":
        shutil.rmtree(bento.folder(bento.home(workplace), "bentos", first.bento))
    else:
        (workplace.registry / "record.db").unlink()
    again = package.package(workplace, "churn")
    assert (again.fresh, again.bento, len(built)) == (True, first.bento, 2)


def test_dry_run_writes_nothing(
    made: Made, workplace: Workspace, monkeypatch: pytest.MonkeyPatch, built: list[bento.Order],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """It says which Bento it would build."""
    approve(monkeypatch, made.folder, made.digest)
    with caplog.at_level("INFO", logger="perennial"):
        told = package.package(workplace, "churn", dry_run=True)
    assert not told.fresh
    assert f"build {told.bento}" in caplog.text
    assert not built
    assert nothing_written(workplace)


def test_failed_build_is_told_and_not_noted(
    made: Made, workplace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last lines of BentoML's output are in the error; no note, no scratch."""
    approve(monkeypatch, made.folder, made.digest)
    monkeypatch.setattr(package, "_service", lambda _: "serving.nowhere:Nowhere")
    with pytest.raises(DataError, match="could not be built") as told:
        package.package(workplace, "churn")
    assert "serving.nowhere" in str(told.value)
    assert nothing_written(workplace)


def test_release_says_who_approved_what(made: Made, bundle: Bundle, statement: Release) -> None:
    """The HTTP replay covers predictions and explanations; its figure is the largest of all."""
    app = Guard(make_app(bundle, statement), RULES)
    assert replay.through_app(bundle, app) == 0.0
    assert bundle.golden is not None
    shifted = bundle.golden.contributions + np.eye(GOLDEN_ROWS, 6) * 1e-10
    golden = supervised.Golden(
        bundle.golden.X, bundle.golden.prediction, bundle.golden.score, bundle.golden.base, shifted
    )
    other = Bundle(bundle.answer, bundle.model, bundle.calibrator, bundle.digest, golden)
    assert replay.through_app(other, Guard(make_app(bundle, statement), RULES)) == pytest.approx(
        1e-10, rel=1e-3
    )
