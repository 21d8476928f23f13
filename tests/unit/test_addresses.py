import apprise
import pytest

from data.errors import BadSetting
from monitoring.addresses import APPRISE, HTTP, objection
from tasks.settings import read_settings

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # imported by Apprise


@pytest.mark.parametrize(
    ("url", "loopback", "why"),
    [
        ("https://hooks.example.org/in?token=hunter2", False, ""),
        ("http://hooks.example.org/hunter2", True, "in the open"),
        ("http://127.0.0.1:9000/hunter2", False, "HOLDFAST_ALERTS_LOOPBACK"),
        ("http://127.0.0.1:9000/hunter2", True, ""),
        ("http://[::1]/", True, ""),
        ("http://localhost/", True, ""),
        ("http://127.0.0.1.example.org/hunter2", True, "in the open"),
        ("http://10.0.0.1/hunter2", True, "in the open"),
        ("file:///etc/passwd", True, "reads like"),
        ("gopher://hunter2/", True, "not known"),
        ("hooks.example.org/hunter2", True, "reads like"),
        ("http://[hunter2", True, "can't be read"),
        ("slack://hunter2/b/c", False, "not known"),
    ],
)
def test_a_webhook_goes_over_tls_or_to_this_machine_where_that_is_allowed(url: str, loopback: bool, why: str) -> None:
    found = objection(url, HTTP, loopback=loopback)
    assert why in found if why else found == ""
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "url", ["slack://a/b/c", "workflows://h/a/b/c", "discord://a/b", "pagerduty://a@b", "jsons://h"]
)
def test_chats_and_pagers_are_known_to_go_over_tls(url: str) -> None:
    assert objection(url, APPRISE, loopback=False) == ""


@pytest.mark.parametrize("url", ["json://example.org", "mailto://a:b@example.org", "ntfy://t", "syslog://x"])
def test_what_goes_in_the_open_is_refused(url: str) -> None:
    assert objection(url, APPRISE, loopback=True)


def test_apprise_agrees_on_which_schemes_are_safe() -> None:
    details = apprise.Apprise().details()["schemas"]
    secure = {scheme for one in details for scheme in one["secure_protocols"] or ()}
    plain = {scheme for one in details for scheme in one["protocols"] or ()}
    assert APPRISE.tls - {"https"} <= secure - plain
    assert APPRISE.open - {"http"} <= plain


def test_a_bad_address_is_refused_at_the_start_without_being_shown() -> None:
    for setting, name in (("webhook_url", "HOLDFAST_WEBHOOK_URL"), ("alert_urls", "HOLDFAST_ALERT_URLS")):
        with pytest.raises(BadSetting, match=f"{name}: address 1: ") as refused:
            read_settings(**{setting: "http://example.org/hunter2"})
        assert "hunter2" not in str(refused.value)
    assert read_settings(webhook_url="http://127.0.0.1:1/", alerts_loopback=True).webhook_url
    with pytest.raises(BadSetting, match="address 2: "):
        read_settings(alert_urls="slack://a/b/c json://127.0.0.1")
