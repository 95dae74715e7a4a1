"""CronJobs' schedules and time zones: the real API server, the embedded one and Penstock's models agree on each."""

import functools
import random
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from conformance.conftest import Both
from embedded import harness
from penstock.language import scalars
from support import crontable

_TEMPLATE = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}}}
_CREATE = "POST", "/apis/batch/v1/namespaces/default/cronjobs?dryRun=All"


def _answers(both: Both, spec: dict[str, Any]) -> list[tuple[int, str]]:
    """What the real and the embedded server say to a CronJob, without making it."""
    body = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "schedules"},
        "spec": {"schedule": "@daily", "jobTemplate": _TEMPLATE} | spec,
    }
    answers = []
    for kubeconfig in (both.real, both.embedded):
        status, answer = harness.Kube(kubeconfig, "default").http(*_CREATE, body)
        answers.append((status, answer["message"] if status >= 300 else ""))
    return answers


def _accepts(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        adapter.validate_python(text)
    except ValidationError:
        return False
    return True


@functools.cache
def _schedules() -> list[str]:
    """Some schedules of each kind of the table, always the same."""
    dice = random.Random(7)
    accepted = crontable.accepted()
    refused = [text for text, _ in crontable.refused()]
    return dice.sample(accepted, 150) + dice.sample(refused, 150) + ["TZ=UTC * * * * *", "CRON_TZ=UTC @daily", "TZ=UTC"]


def test_schedules_are_accepted_by_all_or_refused_by_all(both: Both) -> None:
    different = []
    for text in _schedules():
        real, embedded = _answers(both, {"schedule": text})
        penstock = _accepts(TypeAdapter(scalars.Cron), text)
        if real[0] != embedded[0] or (real[0] < 300) != penstock or ("TZ" not in text and real != embedded):
            different.append((text, real, embedded, penstock))
    assert different == []


@pytest.mark.parametrize("text", ["@every 1h", "@every 90s"])
def test_an_interval_is_what_only_the_real_server_takes(both: Both, text: str) -> None:
    real, embedded = _answers(both, {"schedule": text})
    assert (real[0], embedded[0]) == (201, 422)
    assert "@every" in embedded[1]


def test_time_zones_are_accepted_by_all_or_refused_by_all(both: Both) -> None:
    different = []
    for name, _ in crontable.zones():
        real, embedded = _answers(both, {"timeZone": name})
        penstock = _accepts(TypeAdapter(scalars.TimeZone), name)
        # Beside the zones of its machine lie folders, and tables with other content.
        other_file = any(words in real[1] for words in ("malformed time zone", ": is a directory"))
        if real[0] != embedded[0] or (real[0] < 300) != penstock or (real != embedded and not other_file):
            different.append((name, real, embedded, penstock))
    assert different == []
