"""Alerts by e-mail: our own sender, for a message must have the same Message-ID in every copy."""

import logging
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import unquote, urlsplit

from data.errors import DeliveryFailed
from monitoring.records import Message
from monitoring.wording import body, subject

log = logging.getLogger(__name__)

SECONDS = 10.0  # for one step of a conversation with a receiver


def send(message: Message, url: str, sender: str, to: str) -> None:
    """Send a message, its Message-ID and Date the same in every copy. `to`: addresses, separated by commas.

    Raises: DeliveryFailed.
    """
    mail = EmailMessage()
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    mail["Date"] = format_datetime(message.created_at)
    try:
        mail["From"], mail["To"], mail["Subject"] = sender, to, subject(message)
    except ValueError as error:
        raise DeliveryFailed("email", f"HOLDFAST_EMAIL_FROM or _TO: {error}") from error
    mail.set_content(body(message))
    try:
        with smtp(url) as server:
            refused = server.send_message(mail)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise DeliveryFailed("email", f"{type(error).__name__}: {error}") from error
    if refused:
        log.warning("%s: refused for %d of the addressees, taken for the others", message.id, len(refused))


@contextmanager
def smtp(url: str) -> Iterator[smtplib.SMTP]:
    """Talk to the mail server: TLS from the start (smtps), by STARTTLS where offered, and before any password."""
    where = urlsplit(url)
    host, context = where.hostname or "localhost", ssl.create_default_context()
    if where.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, where.port or 465, timeout=SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, where.port or 25, timeout=SECONDS)
    with server:
        server.ehlo()
        if where.scheme != "smtps" and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
        elif where.scheme != "smtps" and where.password and host not in {"localhost", "127.0.0.1", "::1"}:
            raise smtplib.SMTPNotSupportedError("no STARTTLS, and a password is not sent in the open")
        if where.username:
            server.login(unquote(where.username), unquote(where.password or ""))
        yield server
