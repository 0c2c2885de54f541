"""Who is in a room, as one of its members knows it by hearsay.

Nobody keeps a list that all agree on: a process that is killed could not take its people off it.
Instead each member (an open page; a person may have several) keeps a list of its own. Who comes in
says hello to the group, and each member answers; all say hello again from time to time, and who has
not been heard for long is gone. That works with every channel layer, and heals by itself.
"""

from chatsite.people import Person


class Presence:
    """The members of a room, by the names of their channels; times are the caller's clock."""

    def __init__(self) -> None:
        self.members: dict[str, tuple[Person, float]] = {}

    def heard(self, member: str, person: Person, now: float) -> bool:
        """A member said hello; returns whether its person is new, or has a new name."""
        known = any(person == other for other, _ in self.members.values())
        self.members[member] = (person, now)
        return not known

    def left(self, member: str) -> Person | None:
        """A member said good-bye; returns its person if no other page of theirs is open."""
        person, _ = self.members.pop(member, (None, 0.0))
        if person and not any(person["id"] == other["id"] for other, _ in self.members.values()):
            return person
        return None

    def silent(self, since: float) -> list[str]:
        """The members that have not been heard since then."""
        return [member for member, (_, heard) in self.members.items() if heard < since]
