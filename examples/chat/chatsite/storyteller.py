"""A language model without weights or network: the same prompt always has the same answer."""

import json
import random
import re
from collections.abc import Iterable, Iterator

LONGEST_TOPIC = 120  # characters

OPENINGS = (
    "You ask about “{topic}”. I put it to the lighthouse keeper, who has spent forty years sending "
    "small pieces of light to people he will never meet.",
    "“{topic}”? The night train's conductor laughed when I asked her, and then she grew quiet, and "
    "then she sat down opposite me and took off her cap.",
    "Let me think about “{topic}” the way the river thinks about the sea: out loud, a little at a "
    "time, and without once turning back.",
    "There is a telegraph office in the hills where “{topic}” has been on the wire since the "
    "spring. The clerk taps it out one letter at a time, because that is how letters come.",
    "An old clockmaker keeps a drawer marked “{topic}”. Nobody has seen her open it, yet "
    "every clock in the shop leans towards it slightly.",
)
THOUGHTS = (
    "Nothing worth hearing arrives all at once, he said. Rain does not. Bread does not. Even a "
    "letter is read one word after another, however fast it came.",
    "Most questions, she said, are a way of asking somebody to stay a while. So I stayed, and the "
    "kettle took its time, and neither of us minded.",
    "The trick is to say the first word before you know the last one. The second word "
    "always turns up; it has nowhere else to be.",
    "I wrote down everything I knew on one side of a postcard. There was room left over, so I drew "
    "a heron, and the heron turned out to be the better answer.",
    "You can hurry a message or you can hold it back until it is complete, but it is only "
    "in between, while it is on its way, that it is truly alive.",
)
TURNS = (
    "Three gulls disagreed loudly. We let them finish.",
    "Somewhere a door was closed gently, by someone who had thought about it.",
    "Outside it began to snow upwards, as it does there in the evenings.",
    "The cat, who had heard all of this before, asked to be let out.",
    "A bell rang eleven times for noon, and nobody corrected it.",
)
ENDINGS = (
    "So that is my answer, as far as it goes: it goes about this far, and then it waves.",
    "If you leave before the end, the story stops mid-word and tidies up after itself. You stayed, "
    "though. Thank you.",
    "Ask me again tomorrow and I will tell you exactly the same thing. It is my best quality.",
    "I have carried this to you one syllable at a time and spilled almost none of it.",
    "And the light went round again, as punctual as bread, and found you still reading.",
)


def answer(prompt: str) -> Iterator[str]:
    """The tokens of an answer; joined they are a short text that ends with a newline."""
    topic = " ".join(prompt.split())[:LONGEST_TOPIC].rstrip("?!. ") or "nothing in particular"
    chance = random.Random(topic.casefold())
    paragraphs = (
        chance.choice(OPENINGS).format(topic=topic),
        " ".join((chance.choice(THOUGHTS), chance.choice(TURNS))),
        chance.choice(ENDINGS),
    )
    # A word, or a piece of a long one, with the white space before it.
    for token in re.finditer(r"\s*\S{1,6}", "\n\n".join(paragraphs)):
        yield token.group()
    yield "\n"


def events(tokens: Iterable[str]) -> Iterator[str]:
    """The same as server-sent events; the last one tells an EventSource not to ask again."""
    for token in tokens:
        yield f"data: {json.dumps(token)}\n\n"
    yield "event: end\ndata:\n\n"
