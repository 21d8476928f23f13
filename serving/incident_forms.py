"""What a person may do to an incident, as forms on its page."""

from html import escape

from monitoring.evidence import WORLD
from monitoring.incidents import harmless_absence, harmless_rate
from monitoring.records import Incident
from serving.deeds import DAYS, LONGEST_REASON
from serving.html import link, tag
from serving.incident_list import page_of
from serving.viewing import Viewer
from serving.words import many

HARMLESS = "It is harmless: take the change into what windows are compared with, and close the incident"
USUAL = "So many labels are usual from now on: compare the next windows with these, and close the incident"
ABSENT = "So much is not measured from now on: compare the next windows with these, and close the incident"
BROKEN = "It is a broken sensor: block retraining, and learn nothing from these windows"


def acts(one: Incident, viewer: Viewer) -> str:
    """Return the buttons, or why there are none; nothing for what is over."""
    if one.closed_at:
        return ""
    title = tag("h2", "What to do")
    if not viewer.acts:
        why = "Your key may not act on incidents: that needs the scope admin." if viewer.logged else "Log in to act."
        again = "" if viewer.logged else f" {link(f'/login?next={page_of(one)}', 'Log in')}"
        return f'{title}<p class="soft">{tag("span", why)}{again}</p>'
    rows = "".join([*quick(one, viewer), *reasoned(one, viewer)])
    said = tag("p", f"The ledger will say that {viewer.name} did it.", "soft small")
    return f'{title}<div class="acts">{rows}</div>{said}'


def quick(one: Incident, viewer: Viewer) -> list[str]:
    """Return the buttons that need no reason."""
    here, forms = page_of(one), []
    if not one.acknowledged_at:
        forms.append(viewer.form(f"{here}/acknowledge", '<button class="first">Acknowledge</button>'))
    for days, span in DAYS.items():
        hidden = f'<input type="hidden" name="days" value="{days}">'
        forms.append(viewer.form(f"{here}/snooze", f"{hidden}<button>Snooze {many(span.days, 'day')}</button>"))
    if one.kind in WORLD:
        forms.append(viewer.form(f"{here}/retrain", "<button>Retrain</button>"))
    return forms


def reasoned(one: Incident, viewer: Viewer) -> list[str]:
    """Return the forms that ask for a reason; what is no change of the world is neither harmless nor a fault yet."""
    if harmless_rate(one):
        return [viewer.form(f"{page_of(one)}/accept", fields("Accept", USUAL), "reasoned")]
    if harmless_absence(one):
        return [viewer.form(f"{page_of(one)}/accept", fields("Accept", ABSENT), "reasoned")]
    if one.kind not in WORLD or one.declared_by:
        return []
    asked = (("Accept", HARMLESS), ("Fault", BROKEN))
    return [viewer.form(f"{page_of(one)}/{word.lower()}", fields(word, what), "reasoned") for word, what in asked]


def fields(word: str, meaning: str) -> str:
    """Return the field for a reason, and its button."""
    name = f"reason-{word.lower()}"
    return (
        f"<fieldset><legend>{word}</legend><p>{escape(meaning)}.</p>"
        f'<label for="{name}">Reason, for the ledger</label><div class="row">'
        f'<input id="{name}" name="reason" required maxlength="{LONGEST_REASON}" autocomplete="off">'
        f"<button>{word}</button></div></fieldset>"
    )
