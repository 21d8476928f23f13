"""Make the registry's repository, complete or not at all."""

import os
import shutil
import tempfile
from pathlib import Path

from data.versions.git import git

CONFIG = """\
[core]
    autostage = false
    analytics = false
    check_update = false
    remote = store
    site_cache_dir = {root}/.dvc/tmp/site
[cache]
    dir = cache
    type = copy
['remote "store"']
    url = {remote}
"""
IGNORED = "/config.local\n/tmp\n/cache\n"


def make(root: Path, remote: str) -> None:
    """Make the repository at `root` if it isn't there; the caller holds the registry's lock."""
    if (root / ".git").exists():
        (root / ".dvc" / "tmp").mkdir(exist_ok=True)
        return
    for left in root.parent.glob(f".{root.name}-*.new"):
        shutil.rmtree(left)
    made = Path(tempfile.mkdtemp(prefix=f".{root.name}-", suffix=".new", dir=root.parent))
    made.chmod(0o755)
    (made / ".dvc" / "tmp").mkdir(parents=True)
    (made / ".dvc" / "config").write_text(CONFIG.format(root=root, remote=remote))
    (made / ".dvc" / ".gitignore").write_text(IGNORED)
    (made / ".dvcignore").write_text("")
    git(made, "init", "--quiet", "--template=", "--initial-branch=main")
    git(made, "config", "core.excludesFile", os.devnull)  # for DVC, which reads the user's too
    git(made, "add", "--force", "--", ".dvc/config", ".dvc/.gitignore", ".dvcignore")
    git(made, "commit", "--quiet", "--no-verify", "--message=Open the registry")
    made.rename(root)
