"""Whether the MLflow server is there, and its errors in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from data.errors import NoSuchVersion, ServerUnavailable

if TYPE_CHECKING:
    import httpx

PROBE_SECONDS = 3.0


def probe(client: "httpx.Client", url: str) -> None:
    """Ask the server for a sign of life; any answer but its own failure is one.

    Raises: ServerUnavailable.
    """
    import httpx

    try:
        answer = client.get(f"{url}/health")
    except httpx.HTTPError as error:
        raise ServerUnavailable(f"the MLflow server at {url} does not answer: {error}") from error
    if answer.status_code >= 500:
        raise ServerUnavailable(f"the MLflow server at {url} answers {answer.status_code}")


@contextmanager
def translated() -> Iterator[None]:
    """Raise MLflow's errors as ours: what isn't there, and a server that fails; others are bugs."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except MlflowException as error:
        said = str(error).splitlines()[0][:300]
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NoSuchVersion(said) from error
        if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"):
            raise ServerUnavailable(f"MLflow: {said}") from error
        raise
    except RequestException as error:
        raise ServerUnavailable(f"MLflow: {str(error)[:300]}") from error
