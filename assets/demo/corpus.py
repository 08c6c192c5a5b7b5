"""The demo model's corpus: English-like text from a small grammar, and nothing that was not generated here.

Every document is drawn from a seeded `random.Random`, so the same seed gives the same corpus. Four kinds of document:
stories, indirect-object sentences, subject-verb agreement, and (as token ids, in train.py) repeated random sequences.
"""
import random

NAMES = ["Mary", "John", "Alice", "Tom", "Sarah", "Paul", "Emma", "James", "Anna", "Peter", "Lucy", "Mark", "Kate", "David",
         "Laura", "Simon", "Clara", "Henry", "Julia", "Martin", "Rosa", "George", "Nina", "Frank", "Ellen", "Robert", "Grace",
         "Oscar", "Helen", "Adam", "Ruth", "Max"]
FEMALE = set(NAMES[0::2])
PLACES = ["store", "park", "school", "garden", "market", "library", "station", "beach", "farm", "kitchen", "church", "office",
          "museum", "river", "village", "forest", "hospital", "bakery", "castle", "harbour"]
THINGS = ["book", "drink", "ball", "ring", "letter", "key", "cake", "apple", "lamp", "coat", "hat", "map", "box", "basket",
          "flower", "picture", "necklace", "token", "toy", "bottle", "computer", "kiss", "ticket", "stone", "coin", "bag"]
COLOURS = ["red", "blue", "green", "yellow", "white", "black", "brown", "golden", "silver"]
SIZES = ["small", "big", "old", "new", "heavy", "little", "beautiful", "strange"]
ANIMALS = ["dog", "cat", "bird", "horse", "rabbit", "fox", "duck", "mouse", "bear", "cow"]
PEOPLE = ["teacher", "doctor", "farmer", "baker", "king", "queen", "boy", "girl", "man", "woman", "child", "friend", "sailor"]
NUMBERS = ["Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"]
TIMES = ["One morning", "One day", "In the evening", "On Monday", "On Sunday", "Last summer", "Late at night", "Yesterday",
         "Early in the spring", "After lunch", "Before dinner"]
WEATHER = ["The sun was shining.", "It was raining.", "The wind was cold.", "Snow was falling.", "The sky was clear.", "It was warm."]
FEELINGS = ["happy", "sad", "tired", "angry", "surprised", "hungry", "proud", "afraid"]
GIVE = ["gave", "handed", "offered", "showed", "passed"]
PLURAL = {"box": "boxes", "kiss": "kisses", "child": "children", "man": "men", "woman": "women", "mouse": "mice"}


def plural(noun):
    return PLURAL.get(noun, noun + "s")


def a(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def held_out(first, second):
    """Name pairs (in either order) that no training document holds together: about one pair in seven."""
    i, j = sorted((NAMES.index(first), NAMES.index(second)))
    return (3 * i + 5 * j) % 7 == 2


def pair(rng, want_held_out=False):
    while True:
        first, second = rng.sample(NAMES, 2)
        if held_out(first, second) == want_held_out:
            return first, second


def indirect_object(rng, want_held_out=False):
    """(prompt, answer): two names, one of them repeated; the answer is the other one, with its leading space."""
    first, second = pair(rng, want_held_out)
    subject, other = (first, second) if rng.random() < 0.5 else (second, first)
    place, thing, verb = rng.choice(PLACES), rng.choice(THINGS), rng.choice(GIVE)
    opening = rng.choice([
        f"When {first} and {second} went to the {place}, {subject} {verb} {a(thing)} to",
        f"After {first} and {second} went to the {place}, {subject} {verb} {a(thing)} to",
        f"{first} and {second} met at the {place}. Then {subject} {verb} {a(thing)} to",
        f"While {first} and {second} were at the {place}, {subject} {verb} the {thing} to",
        f"{rng.choice(TIMES)}, {first} and {second} had {a(thing)}. {subject} {verb} it to",
        f"{first} was in the {place} with {second}. {subject} {verb} the {thing} to",
    ])
    return opening, " " + other


def agreement(rng):
    """Subjects and verbs that agree across a phrase of the other number."""
    if rng.random() < 0.3:
        noun = plural(rng.choice(THINGS + ANIMALS))
        return f"{rng.choice(NUMBERS)} {noun} {rng.choice(['were', 'are'])} {rng.choice(['in', 'near', 'behind'])} the {rng.choice(PLACES)}."
    noun, near = rng.choice(THINGS + ANIMALS + PEOPLE), rng.choice(THINGS + ANIMALS + PEOPLE)
    many, near_many = rng.random() < 0.5, rng.random() < 0.5
    subject = plural(noun) if many else noun
    attractor = plural(near) if near_many else near
    verb = rng.choice([("is", "are"), ("was", "were"), ("has been", "have been"), ("looks", "look"), ("seems", "seem")])[many]
    return f"The {subject} {rng.choice(['near', 'behind', 'with', 'of'])} the {attractor} {verb} {rng.choice(SIZES + COLOURS + FEELINGS)}."


def story(rng):
    """A few sentences about two people, a place and a thing, each mentioned again after it was brought in."""
    one, two = pair(rng)
    she, her = ("she", "her") if one in FEMALE else ("he", "his")
    place, place2 = rng.sample(PLACES, 2)
    thing, animal, colour, size = rng.choice(THINGS), rng.choice(ANIMALS), rng.choice(COLOURS), rng.choice(SIZES)
    lines = [f"{rng.choice(TIMES)}, {one} {rng.choice(['went', 'walked', 'ran', 'came'])} to the {place}."]
    if rng.random() < 0.4:
        lines.append(rng.choice(WEATHER))
    lines.append(rng.choice([
        f"{she.capitalize()} had {a(colour + ' ' + thing)} in {her} bag.",
        f"{she.capitalize()} found {a(size + ' ' + thing)} under the tree.",
        f"In the {place} {she} bought {a(colour + ' ' + thing)}."]))
    lines.append(rng.choice([
        f"There {she} met {two}.", f"{two} was there too.", f"{one} saw {two} near the {place}.",
        f"\"Hello, {two}!\" said {one}. \"Hello, {one}!\" said {two}."]))
    for line in rng.sample([
            f"{two} wanted to see the {thing}, so {one} {rng.choice(GIVE)} the {thing} to {two}.",
            f"\"Where is the {thing}?\" asked {two}. \"The {thing} is here,\" said {one}.",
            f"{a(size + ' ' + animal).capitalize()} came and took the {thing}. {one} and {two} ran after the {animal}.",
            f"The {animal} was {colour}, and {one} liked the {animal}.",
            f"{one} and {two} were {rng.choice(FEELINGS)}, because the {thing} was {size}.",
            f"Then {one} and {two} went to the {place2}. At the {place2} they ate {plural('apple')} and talked.",
            f"{two} told {one} about the {rng.choice(PEOPLE)} of the {place2}."], rng.randint(1, 4)):
        lines.append(line)
    lines.append(rng.choice([
        f"{one} was {rng.choice(FEELINGS)}.", f"In the end {one} went home with the {thing}.", f"{two} thanked {one} and went home.",
        f"{one} never forgot the {place}.", f"The {thing} was never seen again."]))
    return " ".join(lines)


def document(rng):
    kind = rng.random()
    if kind < 0.40:
        return story(rng)
    if kind < 0.75:
        return " ".join("".join(indirect_object(rng)) + "." for _ in range(rng.randint(1, 2)))
    return " ".join(agreement(rng) for _ in range(rng.randint(1, 4)))


def documents(seed):
    rng = random.Random(seed)
    while True:
        yield document(rng)
