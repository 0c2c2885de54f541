"""Who somebody is, for pages and WebSockets alike: an account, or a name kept in the session."""

import secrets
from typing import Any, TypedDict

from django import forms
from django.contrib.auth import get_user_model

LONGEST_NAME = 30


class Person(TypedDict):
    """What everybody may know of somebody. The id tells namesakes apart; it is not a secret."""

    id: str
    name: str


def person_of(user: Any, session: Any) -> Person | None:
    """A request's or a scope's user and session; None for those who have not said their name."""
    if user.is_authenticated:
        return Person(id=f"user-{user.pk}", name=user.get_username())
    visitor: Person | None = session.get("visitor")
    return visitor


class NameForm(forms.Form):
    name = forms.CharField(max_length=LONGEST_NAME)

    def clean_name(self) -> str:
        name = " ".join(self.cleaned_data["name"].split())
        # Also keeps out what is invisible or turns the direction of writing: names that lie.
        if not name.isprintable():
            raise forms.ValidationError("This name has characters that cannot be shown.")
        if get_user_model().objects.filter(username__iexact=name).exists():
            raise forms.ValidationError("This name belongs to an account.")
        return name

    def save(self, session: Any) -> None:
        """A new name for the same person, if the session has one already."""
        known = session.get("visitor") or {"id": f"visitor-{secrets.token_hex(8)}"}
        session["visitor"] = Person(id=known["id"], name=self.cleaned_data["name"])
