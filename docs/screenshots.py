"""Pictures of a registry in MLflow's own pages, for docs/review.md.

    python docs/screenshots.py MODEL VERSION [--registry registry] [--out docs/pictures]

Starts MLflow on loopback over the registry, looks at it with the system's Chromium (playwright),
and writes ``review_version.png``, ``review_pack.png`` and ``review_leaderboard.png``, in few
colours so that they stay small.
"""

import argparse
import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from features.settings import Workspace
from training import experiments
from training.tracker import client

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
WIDE, COLOURS = 1280, 96


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("version")
    parser.add_argument("--registry", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    said = parser.parse_args()
    place = Workspace.locate(registry=said.registry)
    api = client(place)
    run_id = str(api.get_model_version(said.model, said.version).run_id)
    experiment = api.get_run(run_id).info.experiment_id
    board = place.store / "leaderboard" / "leaderboard.html"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{place.registry / 'mlflow.db'}"],
        env=os.environ | {
            "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    root = f"http://127.0.0.1:{port}"
    version = f"{root}/#/models/{said.model}/versions/{said.version}"
    run = f"{root}/#/experiments/{experiment}/runs/{run_id}"
    pages = {
        "review_version": (version, 2000, "Purpose"),
        "review_pack": (f"{run}/artifacts/review/report.html", 900, "report.html"),
        "review_leaderboard": (board.as_uri(), 700, "Leaderboard"),
    }
    found = experiments.leaderboard(experiments.versions(place))
    experiments.write_leaderboard(found, board.parent)
    try:
        _wait(root)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for name, (url, height, awaited) in pages.items():
                page = browser.new_page(viewport={"width": WIDE, "height": height})
                _take(page, url, awaited, said.out / f"{name}.png")
                page.close()
            browser.close()
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def _wait(root: str) -> None:
    for _ in range(900):
        try:
            urlopen(f"{root}/health").read()  # noqa: S310  our own server
            return
        except OSError:
            time.sleep(0.2)
    sys.exit("MLflow does not answer")


def _take(page: Page, url: str, awaited: str, path: Path) -> None:
    page.goto(url)
    page.get_by_text(awaited).first.wait_for(timeout=120_000)
    for panel in page.get_by_role("button", name="Close").all()[:1]:
        panel.click()  # MLflow's own assistant
    page.wait_for_timeout(8_000)  # pictures inside the page
    picture = Image.open(io.BytesIO(page.screenshot()))
    path.parent.mkdir(parents=True, exist_ok=True)
    few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    few.save(path, optimize=True)
    sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
