"""1,000 people whose names nobody else has, through all doors and their failures: none gets out.

The quick one of this kind is in ``test_who_is_who``.
"""

import gzip
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from tests.features.test_feeds import HEAD, table
from tests.features.test_who_is_who import HEADER as WHO_HEADER
from tests.features.test_who_is_who import IDENTITY_OF_SHOP, LINE, LINES, WHO
from tests.worlds import ROOT, write_raw

PEOPLE = 1_000
CANARY = re.compile(rb"quill[a-z]{6}feather|zephyr[a-z]{6}|kiosk-[a-z]{6}-zq", re.IGNORECASE)
SMALL = (
    "data=shop", "cutoffs.count=4", "cutoffs.folds=1", "cutoffs.history_days=60", "bootstrap=20",
    "search.trials=1", "features=[{use: rfm.Rfm}]", "baselines=[{use: recency.Recency}]",
)  # fmt: skip


def letters(number: int) -> str:
    """Six letters of its own for each number."""
    return "".join(chr(97 + number // 26**k % 26) for k in range(6))


def write_people(folder: Path) -> None:
    """Two accounts of each person, their orders of two years, and what tells who they are."""
    rng, start = random.Random(1), datetime(2023, 1, 1)
    lines, known = [], []
    for person in range(PEOPLE):
        word = letters(person)
        for account, share in ((f"card{person}", 0.5), (f"web{person}", 1.0)):
            when = start + timedelta(days=rng.uniform(0, 300))
            said = when.strftime("%Y-%m-%d %H:%M:%S")
            name, mail = f"Ada Quill{word}feather", f"ada.{person}@zephyr{word}.example"
            known.append((account, said, name, mail, f"kiosk-{word}-zq"))
            for _ in range(rng.randint(1, int(8 * share) + 1)):
                said = when.strftime("%Y-%m-%d %H:%M:%S")
                price = f"{rng.uniform(1, 90):.2f}"
                lines.append(
                    (account, f"o{len(lines)}", f"p{rng.randint(1, 40)}", "1", price, said)
                )
                when += timedelta(days=rng.expovariate(1 / 60))
                if when > start + timedelta(days=730):
                    break
    write_raw(folder / "lines.csv", lines, LINES[0])
    write_raw(folder / "who.csv", known, WHO_HEADER)


def declare(home: Path) -> None:
    """The YAML of the shop."""
    declared = HEAD | {
        "order_lines": table(LINE, "lines.csv"),
        "identifiers": table(WHO, "who.csv"),
        "identity": IDENTITY_OF_SHOP,
    }
    (home / "configs" / "data" / "shop.yaml").write_text(json.dumps(declared))


def found_in(folder: Path) -> list[Path]:
    """Files below ``folder`` that hold a canary, unpacked and in Parquet, too."""
    found = []
    for path in (p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".gz":
            data += gzip.decompress(data)
        if path.suffix == ".parquet":
            data += repr(pq.read_table(path).to_pylist()).encode()
        if CANARY.search(data) or CANARY.search(path.name.encode()):
            found.append(path)
    return found


def asked(home: Path, env: dict[str, str]) -> list[bytes]:
    """What a service answers to questions about people and with people in them, and its output.

    The service is the packaged one, by its door, until it is told to leave.
    """
    word = letters(5)
    name, mail = f"Ada Quill{word}feather", f"ada.5@zephyr{word}.example"
    serve = [sys.executable, "-m", "serving", "serve", "churn", "--port", "0", "--notice", "0"]
    running = subprocess.Popen(
        serve, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert running.stdout is not None
    said = [b""]
    while b"answers at" not in said[-1]:
        said.append(running.stdout.readline())
        assert said[-1], b"".join(said)
    address = said[-1].split(b"answers at ")[1].split(b",")[0].decode()
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        body = {"customers": ["card1", "web5"]}
        predicted = client.post("/predict", json=body)
        later = {"prediction": predicted.json()["request_id"]}
        replies = [predicted, *(client.post("/explain", json=k) for k in (body, later))]
        assert [reply.status_code for reply in replies] == [200] * 3
        replies += [client.get(path) for path in ("/page", "/customer", "/model", "/metrics")]
        replies.append(client.post("/customer", data={"customer": "card1"}))
        row = {"rows": [{name: mail}]}
        wrong = [
            client.post("/predict", json=row), client.post("/explain", json={"customers": [mail]}),
            client.post("/what-if", json={"of": body, "changes": {name: mail}}),
            client.post("/predict", content=mail, headers={"Content-Type": "application/json"}),
            client.post("/predict", json=row, headers={"Content-Type": f"text/{name}"}),
            client.get(f"/{mail}"), client.get("/predict", params={"name": name}),
        ]  # fmt: skip
        assert all(400 <= reply.status_code < 500 for reply in wrong)
        of_nobody = client.post("/customer", data={"customer": mail}, headers={"User-Agent": name})
    running.terminate()  # who begins tests in the background has them ignore Ctrl-C
    said.append(running.communicate(timeout=60)[0])
    return said + [reply.content for reply in (*replies, *wrong, of_nobody)]


@pytest.mark.e2e
@pytest.mark.slow
def test_nobody_of_1_000_gets_out(tmp_path: Path) -> None:
    """Logs, errors, pages, tables, features, profiles, models, services, temporary files: none.

    The one place is the quarantine, which keeps the bytes of a record for who mends it.
    """
    home, raw, temporary = tmp_path / "home", tmp_path / "raw", tmp_path / "temporary"
    for folder in (home, raw, temporary):
        folder.mkdir()
    shutil.copytree(ROOT / "configs", home / "configs")
    write_people(raw)
    declare(home)
    places = {"STORE": "store", "REGISTRY": "registry", "KEYS_DIR": "keys"}
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PERENNIAL_THREADS": "1",
        "TMPDIR": str(temporary),
    }
    env |= {f"PERENNIAL_{name}": str(home / value) for name, value in places.items()}
    env["PERENNIAL_DATA_DIR"] = str(raw)
    told = []

    def door(*words: str, code: int | None = 0, kill_after: float | None = None) -> None:
        command = [sys.executable, "-m", *words]
        running = subprocess.Popen(
            command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        if kill_after is not None:
            time.sleep(kill_after)
            os.killpg(running.pid, signal.SIGKILL)
        said = running.communicate()[0]
        told.append(said)
        if kill_after is None and code is not None:
            assert running.returncode == code, (words, said[-2000:])

    small = [word for setting in SMALL for word in ("--set", setting)]
    for seconds in (1.5, 3.0, 4.5, 6.0):
        door("features", "quality", "shop", kill_after=seconds)
    door("features", "quality", "shop")
    for more in ((), ("--weights",), ("--review", "9")):
        door("features", "identity", "shop", *more)
    door("features", "identity", "shop", "--pair", "card1", "web1", code=2)
    door("features", "lineage", "shop")
    door("features", "quarantine", "shop")
    churn = str(home / "configs" / "churn.yaml")
    door("features", "build", churn, *small)
    door("features", "publish", churn, *small)
    door("features", "check", churn, *small, code=None)
    door("training", "run", churn, *small)
    door("training", "review", "churn")
    door("training", "reviewer", "Ann")
    why = ("--reviewer", "Ann", "--reason", "they are looked for", "--override", "few customers")
    door("training", "approve", "churn", "--version", "1", *why)
    door("serving", "package", "churn")
    door("serving", "score", "churn", "--reasons", "2", "--out", "answers.csv")
    told += asked(home, env)
    door("serving", "report", "churn", code=None)

    # What fails: a wrong setting, a lost column, other encodings and delimiters, a cut-off file.
    door("features", "quality", "shop", "--set", "identity.keys.mail.columns=[post]", code=2)
    whole = (raw / "who.csv").read_bytes()
    for broken in (
        whole.replace(b"mail", b"post", 1), whole.replace(b"Ada", b"Ad\xe4"), b"\xff\xfe" + whole,
        whole.replace(b",kiosk", b";kiosk"), gzip.compress(whole)[:-40],
    ):  # fmt: skip
        (raw / "who.csv").write_bytes(broken)
        door("features", "quality", "shop", code=2)
    (raw / "who.csv").write_bytes(whole.replace(b"2023-", b"2O23-", 3))
    door("features", "quality", "shop")
    door("features", "quarantine", "shop")
    (raw / "who.csv").write_bytes(whole)
    door("features", "subject", "erase", "shop", "--customer", "card7")

    assert not CANARY.search(b"".join(told))
    kept = [p for p in found_in(home) if p.name != "quarantine.parquet"]
    assert [*kept, *found_in(temporary)] == []
    assert len(found_in(raw)) == 1, "the search finds them where they are"
