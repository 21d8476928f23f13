"""What a page's form brings, and that it is a form of ours."""

from urllib.parse import parse_qsl

from fastapi import Request

from serving.bodies import Bodies, media_type
from serving.refusals import Refused
from serving.state import State

KIND = b"application/x-www-form-urlencoded"
MOST_FIELDS = 10


async def read_form(state: State, bodies: Bodies, request: Request) -> dict[str, str]:
    """Return the fields of a form that was sent from a page of ours.

    Raises: Refused 400, 403, 408, 413, 415 or 503; ClientGone.
    """
    headers = dict(request.scope["headers"])
    if media_type(headers) != KIND:
        raise Refused(415, "this is for the forms on our pages; programs use the command line", "content-type")
    body = await bodies.read(headers, request.receive)
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"))
    except ValueError as error:
        raise Refused(400, "no form of ours reads like this", "body") from error
    finally:
        bodies.release(len(body))
    state.sessions.check(headers, fields.get("token", ""))
    return fields
