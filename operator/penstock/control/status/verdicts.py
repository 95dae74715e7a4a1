"""Conditions in the making: small words for verdicts, and their publication with kstatus' abnormal-true pair."""

from datetime import datetime

from penstock.api.source import Failure
from penstock.control.resolve import Graph, Problem
from penstock.language import conditions, times
from penstock.language.conditions import Condition, Verdict


def published(graph: Graph, verdicts: list[Verdict], now: datetime) -> list[Condition]:
    """With kstatus' abnormal-true pair: Reconciling while we work, Stalled when the user must change something."""
    ready = verdicts[0]
    if ready.reason == "Progressing":
        verdicts = [*verdicts, Verdict(type="Reconciling", status="True", reason="Progressing", message=ready.message)]
    elif ready.status == "False":
        verdicts = [*verdicts, Verdict(type="Stalled", status="True", reason=ready.reason, message=ready.message)]
    before = getattr(graph.status, "conditions", [])
    return conditions.merge(before, verdicts, graph.meta.generation, times.text(now))


def true(kind: str, message: str = "", reason: str = "Succeeded") -> Verdict:
    """It holds."""
    return Verdict(type=kind, status="True", reason=reason, message=message)


def false(kind: str, reason: str, message: str) -> Verdict:
    """It does not hold, for this reason."""
    return Verdict(type=kind, status="False", reason=reason, message=message)


def unknown(kind: str, reason: str, message: str) -> Verdict:
    """It is not known yet."""
    return Verdict(type=kind, status="Unknown", reason=reason, message=message)


def as_before(graph: Graph, kind: str, otherwise: Verdict) -> Verdict:
    """What was published last; or `otherwise` where that was nothing, or only what it waited for."""
    before = conditions.find(getattr(graph.status, "conditions", []), kind)
    if before is None or before.reason == "Waiting":
        return otherwise
    return again(before)


def delayed(verdict: Verdict, why: str | None, failure: Failure | None) -> Verdict:
    """A verdict on what has ended, while what comes next is under way and may have to wait.

    A failure stays in sight until that has ended: `failure` is what it was, `why` what the attempt of now waits for.
    """
    if verdict.status == "False":
        if failure is None:
            return verdict
        now = f"{failure.message.rstrip('.')[:500]}; now {why}" if why is not None else failure.message
        return false(verdict.type, failure.reason, now)
    return verdict if why is None else unknown(verdict.type, "Waiting", why)


def of_then(graph: Graph, verdict: Verdict) -> Verdict:
    """A verdict that the spec as it is now has no part in yet: of the generation that was published last."""
    before = conditions.find(getattr(graph.status, "conditions", []), verdict.type)
    return verdict if before is None else verdict.model_copy(update={"generation": before.observed_generation})


def again(condition: Condition) -> Verdict:
    """The verdict that a published condition was."""
    return Verdict(type=condition.type, status=condition.status, reason=condition.reason, message=condition.message)


def accepted(graph: Graph, trouble: Problem | None, message: str) -> Verdict:
    """Ready as it is for kinds that need nothing but a valid spec, resolved references, and their children in place."""
    if trouble is not None:
        return false("Ready", trouble.reason, trouble.message)
    if (suspended := graph.suspended) is not None:
        return true("Ready", suspended, "Suspended")
    return true("Ready", message)
