"""What people are asked about a version that passed its gates, or about which the gates have a question."""

import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from data.markdown import escaped
from data.wording import moment
from models.cards import gate_lines, gate_table
from models.judging import Judgement, hindering
from monitoring.effects import NewDecision
from monitoring.records import Message
from monitoring.store.approvals import Approval
from projects.declaration import Project
from tasks import messages, trials
from tasks.reports import Report
from tasks.resources import Resources
from tasks.settings import Settings

FORM = "approve or reject"


def ask(
    resources: Resources,
    project: Project,
    version: str,
    judgement: Judgement,
    *,
    champion: str | None,
    intent: int | None,
    token: int | None,
) -> Report:
    """Ask people whether a version may serve; a second call finds the first one's question.

    The keeper makes the form in Prefect and sends the alert that links to it (tasks.forms).

    Raises: StaleToken, LostRace.
    """
    gates, now = judgement.table(), resources.now()
    sentence = f"version {version} waits for a person: {judgement.sentence}"
    inputs = {"version": version, "intent": intent, "gates": gates, "champion": champion}
    approval, _ = resources.store.approvals.ask(
        NewDecision(project.name, "ask", f"version {version}", sentence, inputs),
        version=version,
        champion=champion,
        now=now,
        expires_at=now + project.governor.approval_timeout,
        token=token,
        intent=intent,
    )
    trials.offer(resources, project, version)
    links = {f"version {version} in MLflow": resources.models.version_url(project.name, version)}
    return Report(sentence, advice(approval, hindering(gates)), links, gates)


def asked_gates(resources: Resources, approval: Approval) -> list[Mapping[str, Any]]:
    """Return the gates as they stood when people were asked."""
    found = resources.store.ledger.decisions(
        approval.project, subject=f"version {approval.version}", kinds=("ask",), limit=1
    )
    return list(found[0].inputs.get("gates", [])) if found else []


def advice(approval: Approval, waived: Sequence[str]) -> str:
    """Say how to answer, what a yes means, and what silence does."""
    about = f"{approval.project} {approval.version} --reason …"
    yes = f"A yes waives {', '.join(waived)}. " if waived else ""
    alias = "" if waived else ", or by giving it the alias `champion` in MLflow"
    return (
        f"{yes}Answer in the form (its button is Resume), or by `holdfast approve {about}` or "
        f"`holdfast reject {about}`{alias}. Without an answer it is a no on {moment(approval.expires_at)}."
    )


def page(resources: Resources, approval: Approval) -> Report:
    """Return what a person reads before answering: the gates' numbers, what they say, and what an answer does."""
    gates = asked_gates(resources, approval)
    parts = [gate_table(gates), gate_lines(gates), advice(approval, [escaped(one) for one in hindering(gates)])]
    links = {f"version {approval.version} in MLflow": resources.models.version_url(approval.project, approval.version)}
    return Report(f"{approval.project}: {approval.reason}", "\n\n".join(parts if gates else parts[2:]), links)


def listed(resources: Resources, name: str | None, *, answered: bool) -> list[dict[str, Any]]:
    """Return a line for each open question, and for the last answered ones if asked for; newest first."""
    store = resources.store.approvals
    found = store.recent(name, 20) if answered else store.open_ones(name)[::-1]
    return [
        {
            "project": one.project,
            "version": one.version,
            "against": one.champion,
            "asked": moment(one.asked_at),
            "until": moment(one.expires_at),
            "answer": one.answer or "waits",
            "by": one.actor,
            "why": one.why or one.reason,
            "form": run_page(resources.settings, one.run) if one.run and not one.answer else None,
        }
        for one in found
    ]


def question(resources: Resources, approval: Approval, run: str | None) -> tuple[Message, ...]:
    """Return the alert that asks; `run` shows the form."""
    text = f"{approval.reason}. {advice(approval, hindering(asked_gates(resources, approval)))}"
    return alert(resources, approval, "asked", text, run)


def reminder(resources: Resources, approval: Approval, run: str | None) -> tuple[Message, ...]:
    """Return the alert that asks once more."""
    since = duration(resources.now() - approval.asked_at)
    said = advice(approval, hindering(asked_gates(resources, approval)))
    return alert(resources, approval, "reminder", f"for {since} {approval.reason}. {said}", run)


def ended(resources: Resources, approval: Approval, text: str) -> tuple[Message, ...]:
    """Return the alert that nobody has answered."""
    return alert(resources, approval, "expired", text, None)


def alert(resources: Resources, approval: Approval, key: str, text: str, run: str | None) -> tuple[Message, ...]:
    """Return one alert about a question for every channel, with the ways to answer."""
    settings, version = resources.settings, approval.version
    form = {} if run is None else {FORM: run_page(settings, run)}
    links = {**form, f"version {version} in MLflow": resources.models.version_url(approval.project, version)}
    facts = {"approval": approval.id, "version": version, "until": approval.expires_at.isoformat()}
    return messages.alerts(
        settings,
        approval.project,
        f"approval-{approval.id}-{key}",
        "approval",
        text,
        links=links | tunnel(settings),
        **facts,
    )


def run_page(settings: Settings, run: str) -> str:
    """Return the page of a run in Prefect; a suspended one shows its form there."""
    return f"{settings.prefect_url.removesuffix('/api')}/runs/flow-run/{run}"


def tunnel(settings: Settings) -> dict[str, str]:
    """Return how to reach the two UIs from elsewhere, where they listen on this machine alone."""
    local = [urlsplit(url) for url in (settings.prefect_url, settings.mlflow_url)]
    ports = " ".join(
        f"-L {url.port}:127.0.0.1:{url.port}" for url in local if url.hostname in ("127.0.0.1", "localhost")
    )
    return {"tunnel": f"ssh -N {ports} {socket.gethostname()}"} if ports else {}


def duration(span: timedelta) -> str:
    """Say a time span in the largest unit that people would use."""
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if count := int(span.total_seconds() // seconds):
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "a moment"
