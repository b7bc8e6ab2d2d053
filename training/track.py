"""What a pipeline writes to MLflow: a run with its review pack, and its version."""

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from features.settings import Workspace
from features.store import Published
from training import bundle as bundles
from training.gates import CANDIDATE
from training.keys import verifying_key
from training.notify import tell
from training.pipeline import AnyPlan, Prepared
from training.record import Record
from training.tracker import CHALLENGER, client, experiment_of, registered_as

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

MOST_SAID = 5000
"""Characters that MLflow's databases keep of a description."""
LAST = ("Limits", "Make it again")
"""Sections at the card's end that the description has at its beginning."""
MORE = "\n\nMore in the run's artifacts, folder review: report.html and CARD.md."


def log_version(
    place: Workspace,
    plan: AnyPlan,
    prepared: Prepared,
    learned: Published,
    pack: Published,
    durations: dict[str, float],
) -> int:
    """Log the run with its pack, register its bundle as challenger, record it; return the version.

    A pack that is registered already is recognised, also where a run was killed on the way.
    """
    import mlflow

    api, name = client(place), plan.config.name
    pack_key = pack.manifest["key"]
    found = registered_as(api, name, pack_key)
    if found is None:
        experiment = experiment_of(api, place, name)
        _close_left_open(api, experiment, pack_key)
        with _run(api, experiment, plan, learned, pack) as run_id:
            _log(api, run_id, plan, prepared, learned, pack, durations)
            _log_trials(api, experiment, run_id, plan, pack)
            model = log_model(place, run_id, pack.folder, name)
        created = mlflow.register_model(model.model_uri, name, tags=_version_tags(learned, pack))
        found = int(created.version)
        said = description((pack.folder / "CARD.md").read_text(), run_id, name, found)
        api.update_model_version(name, str(found), description=said)
        api.update_registered_model(name, description=plan.task.question)
    api.set_registered_model_alias(name, CHALLENGER, str(found))
    record = Record(place)
    if not any(e.event == "registered" and e.version == found for e in record.entries(name)):
        facts = pack.manifest["facts"]
        entry = record.append(
            "registered",
            name,
            found,
            facts["digest"],
            actor="pipeline",
            reason="a run passed its last stage",
            evidence={
                "run_key": learned.manifest["key"],
                "pack_key": pack_key,
                "author": getpass.getuser(),
                **facts,
            },
        )
        tell(entry)
    return found


def log_matured(
    place: Workspace, name: str, version: int, stem: str, cutoff: datetime, values: dict[str, float]
) -> None:
    """Metrics of a version on labels that matured, as ``<stem>.<metric>`` at the cutoff's step."""
    from mlflow.entities import Metric

    api, step = client(place), int(f"{cutoff:%Y%m%d}")
    moment = int(cutoff.replace(tzinfo=UTC).timestamp() * 1000)
    run_id = str(api.get_model_version(name, str(version)).run_id)
    metrics = [Metric(f"{stem}.{k}", v, moment, step) for k, v in values.items() if pd.notna(v)]
    api.log_batch(run_id, metrics=metrics)
    for metric, value in values.items():
        api.set_model_version_tag(name, str(version), f"{stem}.{metric}", f"{value:.4f}")
    api.set_model_version_tag(name, str(version), stem, f"{cutoff:%Y-%m-%d}")


def _close_left_open(api: "MlflowClient", experiment: str, pack_key: str) -> None:
    for run in api.search_runs(
        [experiment], f"tags.pack_key = '{pack_key}' and attributes.status = 'RUNNING'"
    ):
        api.set_terminated(run.info.run_id, "KILLED")


@contextmanager
def _run(
    api: "MlflowClient", experiment: str, plan: AnyPlan, learned: Published, pack: Published
) -> Iterator[str]:
    facts, code = learned.manifest["facts"], pack.manifest["facts"]["code"]
    cutoff = json.loads((learned.folder / "bundle" / bundles.ANSWER).read_text())["cutoff"]
    tags = {
        "task": plan.task.name,
        "source": plan.source.name,
        "cutoff": cutoff,
        "horizon_days": str(plan.task.horizon_days),
        "seed": str(plan.config.seed),
        "stage": "candidate",
        "run_key": learned.manifest["key"],
        "pack_key": pack.manifest["key"],
        "bundle_digest": facts["digest"],
        "git_commit": code["commit"],
        "git_tree": code["tree"],
        "population_n": str(facts["test_rows"]),
        **facts["tags"],
    }
    words = (plan.config.name, facts["tags"]["model_family"], cutoff, tags["run_key"][:8])
    run_name = "-".join(words)
    run = api.create_run(experiment, tags=tags, run_name=run_name)
    try:
        yield run.info.run_id
    except BaseException:
        api.set_terminated(run.info.run_id, "FAILED")
        raise
    api.set_terminated(run.info.run_id, "FINISHED")


def _log(
    api: "MlflowClient",
    run_id: str,
    plan: AnyPlan,
    prepared: Prepared,
    learned: Published,
    pack: Published,
    durations: dict[str, float],
) -> None:
    from mlflow.entities import Metric, Param

    metrics = _metrics(pd.read_csv(pack.folder / "metrics.csv"))
    metrics |= {f"seconds.{stage}": seconds for stage, seconds in durations.items()}
    facts = learned.manifest["facts"]
    parameters = {
        "data": plan.source.name,
        "config_fingerprint": learned.manifest["key"],
        **facts["params"],
        "features": ",".join(part.use for part in plan.config.features),
    }
    api.log_batch(
        run_id,
        metrics=[Metric(k, float(v), 0, 0) for k, v in metrics.items() if pd.notna(v)],
        params=[Param(k, str(v)) for k, v in parameters.items()],
    )
    api.log_inputs(run_id, _inputs(plan, prepared))
    log_pack(api, run_id, pack.folder)


def log_pack(api: "MlflowClient", run_id: str, pack: Path) -> None:
    """The review pack as artifacts of the run; the bundle is the logged model's."""
    for path in sorted(pack.iterdir()):
        if path.name not in ("bundle", "manifest.json"):
            api.log_artifact(run_id, str(path), "review")


def _log_trials(
    api: "MlflowClient", experiment: str, run_id: str, plan: AnyPlan, pack: Published
) -> None:
    """The trials of the search, if there was one, as the YAML says."""
    from mlflow.entities import Metric, Param

    path = pack.folder / "search.csv"
    trials = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    if trials.empty:
        return
    if plan.config.trials_as == "table":
        # Categories: MLflow looks for columns of objects, and pandas warns of words among them.
        words = trials.select_dtypes(exclude=["number", "bool"]).columns
        api.log_table(run_id, trials.astype(dict.fromkeys(words, "category")), "trials.json")
        return
    tags = {"mlflow.parentRunId": run_id, "pack_key": pack.manifest["key"], "stage": "trial"}
    for line in trials.to_dict("records"):
        told = {name: value for name, value in line.items() if pd.notna(value)}
        child = api.create_run(experiment, tags=tags, run_name=f"trial {line['trial']}")
        api.log_batch(
            child.info.run_id,
            metrics=[Metric("value", told.pop("value"), 0, 0)] if "value" in told else [],
            params=[Param(name, str(value)) for name, value in told.items()],
        )
        api.set_terminated(child.info.run_id, "FINISHED")


def _metrics(table: pd.DataFrame) -> dict[str, float]:
    """Values with intervals: the candidate's as ``test.<metric>``, others under their name."""
    metrics: dict[str, float] = {}
    for line in table.itertuples():
        stem = f"test.{line.metric}" if line.answer == CANDIDATE else f"{line.answer}.{line.metric}"
        metrics |= {
            stem: line.value,
            f"{stem}.ci_low": line.ci_low,
            f"{stem}.ci_high": line.ci_high,
        }
    return metrics


def _inputs(plan: AnyPlan, prepared: Prepared) -> "list[DatasetInput]":
    """Tables and features by name and content; MLflow gets no data to look into."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for context, published in (
        ("tables", prepared.stored.published),
        ("features", prepared.features),
    ):
        source = CodeDatasetSource(
            {"source": plan.source.name, "published": published.manifest["key"]}
        )
        dataset = Dataset(
            f"{plan.source.name}.{context}", published.content, "code", source.to_json()
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    return inputs


def log_model(place: Workspace, run_id: str, pack: Path, name: str) -> Any:
    """Log the bundle of a review pack as a model of the run, with signature and example."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    made = bundles.load(pack / "bundle", verifying_key(place.keys))
    signature = ModelSignature(
        inputs=Schema([ColSpec(kind, name) for name, kind in made.inputs]),
        outputs=Schema([ColSpec(kind, name) for name, kind in made.outputs]),
    )
    rows = json.loads((pack / "input_example.json").read_text())["rows"]
    numbers = {name: "float64" for name, kind in made.inputs if kind == "double"}
    with mlflow.start_run(run_id=run_id):
        return mlflow.pyfunc.log_model(
            name=name,
            loader_module="training.bundle",
            data_path=str(pack / "bundle"),
            signature=signature,
            input_example=pd.DataFrame(rows).astype(numbers),
            pip_requirements=_requirements(),
        )


def _requirements() -> list[str]:
    """What a notebook needs to load the bundle; said outright: inferring it takes a process."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("perennial", "xgboost-cpu", "xgboost", "numpy", "pandas", "scikit-learn"):
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _version_tags(learned: Published, pack: Published) -> dict[str, str]:
    facts = pack.manifest["facts"]
    metrics = {name: f"{entry['value']:.4f}" for name, entry in facts["metrics"].items()}
    return {
        "review": "pending",
        "gates": "passed" if facts["gates_passed"] else "failed",
        "run_key": learned.manifest["key"],
        "pack_key": pack.manifest["key"],
        "bundle_digest": facts["digest"],
        "git_commit": facts["code"]["commit"],
        "git_tree": facts["code"]["tree"],
        **metrics,
    }


def description(card: str, run_id: str, name: str, version: int) -> str:
    """Commands, limits, gates and metrics of the card, as much as MLflow keeps.

    Plots come from the run's artifacts.
    """
    sections = {part.partition("\n")[0]: f"## {part.strip()}" for part in card.split("\n## ")[1:]}
    do = (
        f"Judge it: `python -m training review {name} --version {version}`\n\n"
        f"Make it again: `python -m training rerun {name}:{version}`"
    )
    first, *others = [part for title, part in sections.items() if title not in LAST]
    shown = "\n\n".join([do, first, sections["Limits"], *others])
    shown = shown.replace("](plots/", f"](get-artifact?run_uuid={run_id}&path=review/plots/")
    # MLflow sets cells without a gap: a space that does not break keeps them apart.
    spaced = shown.replace(" | ", "\u00a0\u00a0 | ").replace("---\u00a0\u00a0", "---")
    if len(spaced) <= MOST_SAID:
        return spaced
    return spaced[: MOST_SAID - len(MORE)].rpartition("\n")[0] + MORE
