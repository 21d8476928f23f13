"""Secrets of a home that its own processes share: made once, whoever comes first, and readable by their user alone."""

import base64
import os
import secrets
from contextlib import suppress
from pathlib import Path

WEBHOOK = "mlflow-webhook"  # MLflow signs with it what it tells the service
ENCRYPTION = "mlflow-encryption"  # MLflow keeps its webhooks' secrets under it


def secret(home: Path, name: str) -> str:
    """Return a secret of 256 bits in URL-safe base64, made if there is none yet."""
    path = home / "secrets" / name
    with suppress(FileNotFoundError):
        return path.read_text()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = path.with_name(f".{name}.{secrets.token_hex(8)}")
    half.touch(mode=0o600)
    half.write_text(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    with suppress(FileExistsError):
        os.link(half, path)  # whole or not at all, and only one's
    half.unlink()
    return path.read_text()
