"""A dispatch that is killed at random moments and run again: nobody is asked twice, nobody is lost unnamed.

The killed process is a real one and so is the server, which remembers what it accepted.
"""

import random
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import open_ledger
from track_pipeline.demo.simulator import SimulatorProcess
from track_pipeline.domain.areas import Area
from track_pipeline.services.status import funnel_of
from track_pipeline_tests.builders import DAY, encounters, planned

NOW = datetime(2025, 3, 11, 9, tzinfo=ZoneInfo("America/Sao_Paulo"))
LINES = 120
BATCH = 4

_DISPATCH = f"""
import sys
from datetime import date
from pathlib import Path
from track_pipeline.domain.areas import Area
from track_pipeline.policy import load_policy
from track_pipeline.runtime import Runtime
from track_pipeline.services.sending import Partition
from track_pipeline.settings import load_settings

environment = {{"TRACK_HOME": sys.argv[1], "TRACK_API_URL": sys.argv[2], "TRACK_NOW": "{NOW.isoformat()}"}}
settings = load_settings(environment, None)
policy = load_policy()
sending = policy.sending.model_copy(update={{"batch_size": {BATCH}}})
runtime = Runtime(settings, policy=policy.model_copy(update={{"sending": sending}}))
partition = Partition(runtime.registry.hospital("HMS"), date.fromisoformat("{DAY}"), Area.INTERNACAO, "email")
print("ready", flush=True)
runtime.dispatcher.dispatch(partition, run_id=sys.argv[3])
"""


@pytest.mark.parametrize("seed", range(4))
def test_however_often_it_is_killed_each_encounter_is_accepted_at_most_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    plan = planned(*({} for _ in range(LINES)))
    lake = Lake(tmp_path)
    lake.write(plan, "invitation", Area.INTERNACAO, DAY, "HMS")
    lake.write(encounters(*({} for _ in range(LINES))), "extract", Area.INTERNACAO, DAY, "HMS")
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite", clock=lambda: NOW)
    decided = plan.select(
        "database", "encounter_id", "unit", "setor", "survey_uuid", "channel", "result", "reason", rule="decided_by"
    )
    versions = {"rules_version": None, "policy_version": None}
    ledger.replace_encounters("HMS", DAY, Area.INTERNACAO, decided.with_columns(**versions))

    with SimulatorProcess() as simulator:
        for attempt in range(4):
            command = [sys.executable, "-c", _DISPATCH, str(tmp_path), simulator.url, f"run-{attempt}"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                if attempt < 3:
                    time.sleep(chance.uniform(0.005, 0.15))
                    process.kill()
                process.wait(timeout=60)
        accepted = Counter(line["cd_atendimento"] for line in simulator.control("requests")["lines"])

    funnel = funnel_of(ledger, DAY, "HMS", Area.INTERNACAO)
    ledger.close()
    assert set(accepted.values()) == {1}
    assert funnel.closes
    assert funnel.sent + funnel.unknown == LINES
    # What the server accepted and the ledger does not call sent can only be named unknown.
    assert funnel.sent <= len(accepted) <= funnel.sent + funnel.unknown
    assert funnel.unknown <= 3 * BATCH
