"""Telling others what happened to a version: a command of the user's own gets each new entry."""

import json
import logging
import os
import shlex
import subprocess

from training.record import Entry

log = logging.getLogger("perennial")

HOOK = "PERENNIAL_HOOK"
"""Command line that is run after each registration and decision, with the entry on its input."""
SECONDS = 30


def tell(entry: Entry) -> None:
    """Hand the entry as JSON to the hook, if one is set; what it does undoes nothing.

    A hook that fails or takes more than 30 seconds is reported in the log. An MLflow server has
    webhooks of its own, which hear of the mirrored tags and aliases.
    """
    command = os.environ.get(HOOK)
    if not command:
        return
    said = json.dumps({name: value for name, value in vars(entry).items() if name != "evidence"})
    try:
        done = subprocess.run(
            shlex.split(command), input=said, text=True, capture_output=True, timeout=SECONDS
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        log.warning("%s did not run: %s", HOOK, error)
        return
    if done.returncode:
        log.warning("%s ended with code %d: %s", HOOK, done.returncode, done.stderr[-500:])
