from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from holdfast.mailbox import Mailbox
from holdfast.story import Story
from tasks.resources import Resources
from tasks.settings import Settings


@dataclass
class Live:
    """One whole stack, shared by the tests of a session in the order of their files."""

    settings: Settings
    resources: Resources
    box: Mailbox
    story: Story
    console: Console
    projects: Path
