"""The recent messages. This is a memory, not an archive: what is old makes room."""

from typing import Any, Self

from django.db import models, transaction

from chatsite.people import LONGEST_NAME, Person
from chatsite.rooms import LONGEST_ROOM

KEPT_IN_A_ROOM = 50
KEPT_IN_ALL = 5000  # anybody can open rooms


class Message(models.Model):
    room = models.CharField(max_length=LONGEST_ROOM)
    person = models.CharField(max_length=40)
    name = models.CharField(max_length=LONGEST_NAME * 5)  # an account's name may be longer
    text = models.TextField()
    nonce = models.CharField(max_length=40)
    sent = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)
        indexes = (models.Index(fields=["room", "id"], name="room_messages"),)
        constraints = (
            models.UniqueConstraint(fields=["room", "person", "nonce"], name="said_once"),
        )

    def __str__(self) -> str:
        return f"{self.name} in {self.room}: {self.text}"

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.pk,
            "person": Person(id=self.person, name=self.name),
            "text": self.text,
            "sent": self.sent.isoformat(),
        }

    @classmethod
    @transaction.atomic
    def record(cls, room: str, person: Person, text: str, nonce: str) -> tuple[Self, bool]:
        """Keep a message; also returns whether it is new.

        A page whose connection broke cannot know whether its last message arrived, and sends it
        again. The nonce, a random name that the page gave it, tells.
        """
        message, new = cls.objects.get_or_create(
            room=room,
            person=person["id"],
            nonce=nonce,
            defaults={"name": person["name"], "text": text},
        )
        if new:
            here = cls.objects.filter(room=room)
            here.exclude(pk__in=here.order_by("-pk")[:KEPT_IN_A_ROOM]).delete()
            cls.objects.filter(pk__lte=message.pk - KEPT_IN_ALL).delete()
        return message, new

    @classmethod
    def recent(cls, room: str) -> list[Self]:
        """The messages of a room, oldest first; never more than are kept."""
        return list(cls.objects.filter(room=room))

    @classmethod
    def lively_rooms(cls, count: int = 12) -> list[str]:
        """The rooms in which something was said last."""
        rooms = cls.objects.values("room").annotate(last=models.Max("pk")).order_by("-last")
        return [room["room"] for room in rooms[:count]]
