import os
from collections.abc import Iterator

import pytest
from live_stack import Live
from rich.console import Console

from holdfast import stack
from holdfast.mailbox import mailbox
from holdfast.story import Story
from tasks.resources import connect

QUICK = {
    "HOLDFAST_LEASE_SECONDS": "6",
    "HOLDFAST_KEEPER_SECONDS": "0.5",
    "HOLDFAST_INTENT_GRACE_SECONDS": "15",
    "HOLDFAST_WEBHOOK_SECRET": "tests",
    "HOLDFAST_ALERTS_LOOPBACK": "true",
    "HOLDFAST_EXAMPLES": "digits,electricity",
}


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home, projects = tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("users-projects")
    console = Console(width=110)
    story = Story(console)
    before = dict(os.environ)
    with mailbox() as box:
        os.environ.update({**QUICK, "HOLDFAST_WEBHOOK_URL": box.url, "HOLDFAST_PROJECTS": str(projects)})
        with stack.lent(home, story.say) as settings:
            resources = connect(settings)
            os.environ.clear()  # the stack has its variables; other tests must not
            os.environ.update(before)
            yield Live(settings, resources, box, story, console, projects)
            resources.store.close()
