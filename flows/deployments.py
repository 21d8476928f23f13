"""The deployments of every project, put into Prefect without undoing what a person changed there."""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from data.errors import BrokenProject
from flows.api import Api, Refused, opened
from flows.applied import Applied, keep, merged, remember
from projects.declaration import Project
from tasks.settings import Settings

logger = logging.getLogger(__name__)

TAG = "holdfast"
SLUG = "holdfast"
"""Marks the schedule that is ours; a person may add others beside it."""


@dataclass(frozen=True)
class Kind:
    """One flow's deployments: its schedule comes from the project, and `armed` says whether it starts active."""

    flow: str
    every: Callable[[Project], timedelta | None] = lambda _: None
    armed: bool = False


KINDS = (
    Kind("ingest", lambda project: project.schedule.ingest),
    Kind("harvest", lambda project: project.schedule.harvest),
    Kind("train", lambda project: project.schedule.train),
    Kind("monitor", lambda project: project.schedule.monitor, armed=True),
    Kind("score", lambda project: project.schedule.score, armed=True),
    Kind("promote"),
    Kind("rollback"),
    Kind("approve"),
    Kind("ask"),
    Kind("accept"),
    Kind("verify"),
)


@dataclass(frozen=True)
class Wanted:
    """A deployment as we would have it. `fields` and `schedule` are a person's to change; the rest is ours."""

    flow: str
    project: str
    fields: Mapping[str, Any]
    schedule: Mapping[str, Any] | None  # {"interval": seconds, "active": bool}

    @property
    def name(self) -> str:
        """As people say it: `monitor/digits`."""
        return f"{self.flow}/{self.project}"


def wanted(project: Project) -> list[Wanted]:
    """Return the deployments of a project."""
    made = []
    for kind in KINDS:
        every = kind.every(project)
        fields = {
            "description": description(kind.flow),
            "paused": False,
            "parameters": {"project": project.name},
            "tags": sorted({TAG, f"project:{project.name}"}),
        }
        schedule = None if every is None else {"interval": every.total_seconds(), "active": kind.armed}
        made.append(Wanted(kind.flow, project.name, fields, schedule))
    return made


def disabled(applied: Applied, project: str, why: str) -> list[Wanted]:
    """Return a project's deployments as they were, paused, with the reason where people look first."""
    made = []
    for name, record in applied.deployments.items():
        flow, _, owner = name.partition("/")
        if owner == project:
            text = f"**Disabled**: {why}\n\n{description(flow)}"
            made.append(
                Wanted(flow, owner, {**record["fields"], "paused": True, "description": text}, record["schedule"])
            )
    return made


def description(flow: str) -> str:
    """Return a flow's docstring up to its arguments, as the deployment's page shows it."""
    return inspect.cleandoc(function_of(flow).__doc__ or "").split("\n\nArgs:")[0]


def function_of(flow: str) -> Any:
    """Return the function under a flow."""
    return getattr(import_module(f"flows.{flow}"), flow).fn


def form(flow: str, project: str) -> dict[str, Any]:
    """Return the schema of a deployment's parameters; the project is fixed."""
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(function_of(flow)).model_dump(mode="json", exclude_unset=True)
    schema["properties"]["project"] |= {"enum": [project], "default": project, "readOnly": True}
    return schema


def apply(settings: Settings, loaded: Mapping[str, Project], broken: Mapping[str, BrokenProject]) -> dict[str, str]:
    """Make Prefect show every project and return the ids of the deployments to serve, by name.

    Raises: ServerUnavailable. What was done until then is remembered.
    """
    from flows.automations import apply_automations

    applied = remember(settings.home)
    with opened(settings.prefect_url) as api:
        try:
            if applied.deployments and not any(standing(api, name) for name in applied.deployments):
                applied.forget()
            known = {name.partition("/")[2] for name in applied.deployments}
            plan = [one for project in loaded.values() for one in wanted(project)]
            for project in sorted(known - set(loaded)):
                why = str(broken.get(project, f"no project file named {project}.py is at work any more"))
                plan += disabled(applied, project, why)
            ids = placed(api, applied, plan)
            apply_automations(api, applied, ids)
        finally:
            keep(settings.home, applied)
    return ids


def placed(api: Api, applied: Applied, plan: Iterable[Wanted]) -> dict[str, str]:
    """Put each deployment in its place; one that Prefect refuses hinders no other."""
    ids = {}
    for one in plan:
        try:
            ids[one.name] = place(api, applied, one)
        except Refused as refused:
            logger.error("deployment %s: %s", one.name, refused)  # noqa: TRY400
    return ids


def standing(api: Api, name: str) -> dict[str, Any] | None:
    """Return a deployment as Prefect has it."""
    found: dict[str, Any] | None = api.find(f"/deployments/name/{name}")
    return found


def place(api: Api, applied: Applied, one: Wanted) -> str:
    """Create or update one deployment and return its id."""
    ours = {"entrypoint": f"flows.{one.flow}.{one.flow}", "parameter_openapi_schema": form(one.flow, one.project)}
    now = standing(api, one.name)
    if now is None:
        made = create(api, one, ours)
        schedule = one.schedule
    else:
        made = str(now["id"])
        last = applied.deployments.get(one.name)
        update(api, now, one.fields, (last or {}).get("fields", {}), ours)
        schedule = reschedule(api, now, one.schedule, last)
    applied.deployments[one.name] = {"id": made, "fields": dict(one.fields), "schedule": schedule}
    return made


def create(api: Api, one: Wanted, ours: Mapping[str, Any]) -> str:
    """Create a deployment that is not there."""
    flow = api.call("POST", "/flows/", {"name": one.flow})
    schedules = [] if one.schedule is None else [schedule_body(one.schedule)]
    body = {**one.fields, **ours, "name": one.project, "flow_id": flow["id"], "schedules": schedules}
    logger.info("deployment %s is new", one.name)
    return str(api.call("POST", "/deployments/", {**body, "enforce_parameter_schema": True})["id"])


def update(
    api: Api, now: Mapping[str, Any], fields: Mapping[str, Any], last: Mapping[str, Any], ours: Mapping[str, Any]
) -> None:
    """Change what is ours and what nobody touched; without a difference no request, which would reschedule runs."""
    target = {name: merged(last.get(name), now[name], value) for name, value in fields.items()} | dict(ours)
    changed = {name: value for name, value in target.items() if now[name] != value}
    if changed:
        logger.info("deployment %s: %s changed", now["name"], ", ".join(changed))
        api.call("PATCH", f"/deployments/{now['id']}", changed)


def reschedule(
    api: Api, now: Mapping[str, Any], schedule: Mapping[str, Any] | None, last: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """Bring our schedule to what is wanted, unless a person changed or deleted it; return what to remember."""
    path = f"/deployments/{now['id']}/schedules"
    mine = own_schedule(now)
    before = None if last is None else last["schedule"]
    if mine is None:
        if before is None and schedule is not None:  # never placed; one that was, and is gone, was deleted by a person
            api.call("POST", path, [schedule_body(schedule)])
            plan_runs(api, now, active=bool(schedule["active"]))
            return schedule
        return before and schedule
    if before is None:
        return schedule  # the memory is lost: what stands there is taken for a person's
    standing_now = schedule_of(mine)
    if schedule is None:
        if standing_now == before:
            api.call("DELETE", f"{path}/{mine['id']}")
        return None
    change = {part: merged(before.get(part), standing_now.get(part), value) for part, value in schedule.items()}
    if standing_now.get("interval") is not None and change != standing_now:
        api.call("PATCH", f"{path}/{mine['id']}", schedule_body(change))
        plan_runs(api, now, active=bool(change["active"]))
    return schedule


def plan_runs(api: Api, now: Mapping[str, Any], *, active: bool) -> None:
    """Have the first runs of a changed schedule planned; by itself Prefect looks once a minute."""
    if active and not now["paused"]:
        api.call("POST", f"/deployments/{now['id']}/schedule", {})


def own_schedule(now: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return our schedule among a deployment's."""
    return next((schedule for schedule in now["schedules"] if schedule.get("slug") == SLUG), None)


def schedule_of(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person may have set, in our words; a cron or rrule of theirs has no interval."""
    timing = {
        part: schedule["schedule"][part] for part in ("interval", "cron", "rrule") if part in schedule["schedule"]
    }
    return {**timing, "active": schedule["active"]}


def schedule_body(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schedule as Prefect takes it. It begins now, so that runs are spread as the projects came."""
    timing = {"interval": schedule["interval"], "anchor_date": datetime.now(UTC).isoformat(), "timezone": "UTC"}
    return {"schedule": timing, "active": schedule["active"], "slug": SLUG}


def differences(settings: Settings) -> list[str]:
    """Return, for people, where Prefect is not as we left it: edits that are kept.

    Raises: ServerUnavailable.
    """
    from flows.automations import automation_differences

    applied = remember(settings.home)
    lines: list[str] = []
    with opened(settings.prefect_url) as api:
        for name, record in sorted(applied.deployments.items()):
            lines += [f"{name}: {line}" for line in edits(standing(api, name), record)]
        lines += automation_differences(api, applied)
    return lines


def edits(now: Mapping[str, Any] | None, record: Mapping[str, Any]) -> Iterable[str]:
    """Tell how one deployment differs from what we last wrote."""
    if now is None:
        yield "deleted in Prefect; the next start makes it again"
        return
    for name, value in record["fields"].items():
        if now[name] != value:
            yield f"{name} is {now[name]!r} in Prefect, {value!r} from the project file"
    mine, before = own_schedule(now), record["schedule"]
    if mine is None and before is not None:
        yield f"its schedule ({told(before)}) was deleted in Prefect"
    elif mine is not None and before is not None and schedule_of(mine) != before:
        yield f"its schedule is {told(schedule_of(mine))} in Prefect, {told(before)} from the project file"


def told(schedule: Mapping[str, Any]) -> str:
    """Say a schedule."""
    timing = schedule.get("cron") or schedule.get("rrule") or f"every {timedelta(seconds=schedule['interval'])}"
    return f"{timing}, {'on' if schedule['active'] else 'off'}"
