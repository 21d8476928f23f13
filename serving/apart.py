"""`python -m serving.apart INCIDENT ACTOR`: ask for a retraining in a process of its own.

Whether one may begin depends on the project's file, which may import anything; the service's process reads none.
"""

import subprocess
import sys

from data.environment import child_environment
from data.errors import HoldfastError
from serving.refusals import Refused
from tasks import acting, person_runs
from tasks.reports import Report
from tasks.resources import Resources, connect

SECONDS = 60.0  # for the project file's imports
WHY = "asked for on the incident's page"


def retrain(resources: Resources, incident: int, actor: str) -> Report:
    """Have a retraining of an incident asked for.

    Raises: Refused 409, with the reason; 503, it takes too long.
    """
    command = [sys.executable, "-m", "serving.apart", str(incident), actor]
    try:
        told = subprocess.run(
            command,
            env=child_environment(resources.settings.home, {}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Refused(503, f"the project's file was not read in {SECONDS:g} seconds", "project") from error
    if told.returncode:
        why = (told.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise Refused(409, why[:500], "incident")
    return Report(told.stdout.strip())


def main() -> int:
    """Ask for it; 1 where that may not be, and why."""
    incident, actor = int(sys.argv[1]), sys.argv[2]
    resources = connect()
    try:
        project = acting.open_incident(resources, incident).project
        said = person_runs.retrain(resources, project, incident, WHY, actor).sentence
    except HoldfastError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
