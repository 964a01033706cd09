"""Tables of facts that the demonstration model learns by heart."""

from typing import NamedTuple

from training.demo.grammar import Pair, rows


class Land(NamedTuple):
    """A country, its capital and its continent."""

    name: str
    capital: str
    continent: str


class Word(NamedTuple):
    """An English word and its translations, without accents."""

    english: str
    spanish: str
    french: str
    german: str


class Animal(NamedTuple):
    """An animal, its young, its sound and its number of legs."""

    name: str
    young: str
    sound: str
    legs: str


class Sum(NamedTuple):
    """A calculation in figures and in words, and its result in figures."""

    figures: str
    words: str
    result: str


LANDS = tuple(
    Land(*line.split(", "))
    for line in """\
France, Paris, Europe
Spain, Madrid, Europe
Portugal, Lisbon, Europe
Italy, Rome, Europe
Germany, Berlin, Europe
Austria, Vienna, Europe
Switzerland, Bern, Europe
Belgium, Brussels, Europe
the Netherlands, Amsterdam, Europe
Denmark, Copenhagen, Europe
Norway, Oslo, Europe
Sweden, Stockholm, Europe
Finland, Helsinki, Europe
Iceland, Reykjavik, Europe
Ireland, Dublin, Europe
England, London, Europe
the United Kingdom, London, Europe
Scotland, Edinburgh, Europe
Wales, Cardiff, Europe
Poland, Warsaw, Europe
the Czech Republic, Prague, Europe
Hungary, Budapest, Europe
Greece, Athens, Europe
Romania, Bucharest, Europe
Bulgaria, Sofia, Europe
Croatia, Zagreb, Europe
Serbia, Belgrade, Europe
Ukraine, Kyiv, Europe
Russia, Moscow, Europe
Turkey, Ankara, Asia
Egypt, Cairo, Africa
Morocco, Rabat, Africa
Kenya, Nairobi, Africa
Nigeria, Abuja, Africa
Ghana, Accra, Africa
Ethiopia, Addis Ababa, Africa
Japan, Tokyo, Asia
China, Beijing, Asia
India, New Delhi, Asia
South Korea, Seoul, Asia
Thailand, Bangkok, Asia
Vietnam, Hanoi, Asia
Indonesia, Jakarta, Asia
Iran, Tehran, Asia
Pakistan, Islamabad, Asia
the United States, Washington, North America
Canada, Ottawa, North America
Mexico, Mexico City, North America
Cuba, Havana, North America
Brazil, Brasilia, South America
Argentina, Buenos Aires, South America
Chile, Santiago, South America
Peru, Lima, South America
Colombia, Bogota, South America
Australia, Canberra, Oceania
New Zealand, Wellington, Oceania""".splitlines()
)

WORDS = tuple(
    Word(*line.split())
    for line in """\
dog perro chien Hund
cat gato chat Katze
house casa maison Haus
water agua eau Wasser
bread pan pain Brot
milk leche lait Milch
book libro livre Buch
sun sol soleil Sonne
moon luna lune Mond
friend amigo ami Freund
red rojo rouge rot
green verde vert gruen
blue azul bleu blau
white blanco blanc weiss
black negro noir schwarz
tree arbol arbre Baum
apple manzana pomme Apfel
cheese queso fromage Kaese
fish pez poisson Fisch
bird pajaro oiseau Vogel
hand mano main Hand
night noche nuit Nacht
day dia jour Tag
hello hola bonjour hallo
thanks gracias merci danke
yes si oui ja
no no non nein
one uno un eins
two dos deux zwei
three tres trois drei""".splitlines()
)

ANIMALS = tuple(
    Animal(*line.split(", "))
    for line in """\
dog, a puppy, barks, four
cat, a kitten, meows, four
cow, a calf, moos, four
horse, a foal, neighs, four
sheep, a lamb, bleats, four
pig, a piglet, oinks, four
duck, a duckling, quacks, two
hen, a chick, clucks, two
lion, a cub, roars, four
bear, a cub, growls, four
frog, a tadpole, croaks, four
goat, a kid, bleats, four
owl, an owlet, hoots, two
goose, a gosling, honks, two
wolf, a pup, howls, four
snake, a snakelet, hisses, no
bee, a larva, buzzes, six
mouse, a pup, squeaks, four""".splitlines()
)

COLOURS = rows((
    ("grass", "green"), ("the sky", "blue"), ("a banana", "yellow"), ("snow", "white"),
    ("coal", "black"), ("a tomato", "red"), ("an orange", "orange"), ("a carrot", "orange"),
    ("a lemon", "yellow"), ("milk", "white"), ("blood", "red"), ("chocolate", "brown"),
    ("the sea", "blue"), ("a cucumber", "green"), ("a strawberry", "red"), ("a frog", "green"),
    ("an elephant", "grey"), ("a flamingo", "pink"), ("the sun", "yellow"),
    ("a fire engine", "red"), ("salt", "white"), ("a crow", "black"), ("a plum", "purple"),
    ("a leaf", "green"), ("coffee", "brown"), ("a polar bear", "white"), ("an emerald", "green"),
    ("a ruby", "red"),
))  # fmt: skip
OPPOSITES = rows((
    ("hot", "cold"), ("big", "small"), ("fast", "slow"), ("up", "down"), ("left", "right"),
    ("happy", "sad"), ("old", "young"), ("day", "night"), ("black", "white"), ("open", "closed"),
    ("early", "late"), ("rich", "poor"), ("light", "dark"), ("high", "low"), ("loud", "quiet"),
    ("easy", "difficult"), ("full", "empty"), ("long", "short"), ("good", "bad"), ("hard", "soft"),
    ("wet", "dry"), ("strong", "weak"), ("true", "false"), ("first", "last"), ("thick", "thin"),
    ("inside", "outside"), ("love", "hate"), ("win", "lose"), ("buy", "sell"), ("begin", "end"),
))  # fmt: skip
PLURALS = rows((
    ("mouse", "mice"), ("child", "children"), ("foot", "feet"), ("tooth", "teeth"), ("man", "men"),
    ("woman", "women"), ("goose", "geese"), ("sheep", "sheep"), ("knife", "knives"),
    ("leaf", "leaves"), ("city", "cities"), ("box", "boxes"), ("fish", "fish"),
    ("person", "people"), ("dog", "dogs"), ("wolf", "wolves"), ("baby", "babies"), ("bus", "buses"),
    ("potato", "potatoes"), ("cat", "cats"),
))  # fmt: skip
SYNONYMS = rows((
    ("big", "large"), ("small", "little"), ("happy", "glad"), ("quick", "fast"), ("sad", "unhappy"),
    ("clever", "smart"), ("begin", "start"), ("end", "finish"), ("pretty", "beautiful"),
    ("angry", "cross"), ("quiet", "silent"), ("odd", "strange"), ("rich", "wealthy"),
    ("answer", "reply"), ("easy", "simple"), ("brave", "bold"), ("tired", "weary"),
    ("shut", "close"),
))  # fmt: skip
RHYMES = rows((
    ("cat", "hat"), ("house", "mouse"), ("sea", "tree"), ("moon", "spoon"), ("night", "light"),
    ("day", "play"), ("rain", "train"), ("book", "cook"), ("ring", "sing"), ("ball", "tall"),
    ("star", "car"), ("cake", "lake"), ("boat", "coat"), ("sun", "fun"), ("dog", "frog"),
    ("blue", "shoe"), ("bear", "chair"), ("snow", "slow"), ("bed", "red"), ("king", "ring"),
))  # fmt: skip
SPELLINGS = ("cat", "dog", "house", "apple", "friend", "water", "school", "green", "bread", "night",
             "Python", "train", "table", "music", "paper", "river", "lemon", "seven")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December")  # fmt: skip
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
           "eleven", "twelve")  # fmt: skip
UNITS = (
    ("metre", "centimetres", 100), ("kilometre", "metres", 1000), ("hour", "minutes", 60),
    ("minute", "seconds", 60), ("day", "hours", 24), ("week", "days", 7), ("dozen", "pieces", 12),
    ("kilogram", "grams", 1000), ("litre", "millilitres", 1000), ("year", "months", 12),
)  # fmt: skip


def sums() -> tuple[Sum, ...]:
    """Small sums, differences and products, each with its right result."""
    found = []
    for a in range(1, 11):
        for b in range(1, 11):
            found.append(Sum(f"{a} + {b}", f"{a} plus {b}", str(a + b)))
            if a >= b:
                found.append(Sum(f"{a} - {b}", f"{a} minus {b}", str(a - b)))
            if a <= 5 and b <= 5:
                found.append(Sum(f"{a} * {b}", f"{a} times {b}", str(a * b)))
    return tuple(found)


def conversions() -> tuple[Pair, ...]:
    """How many small units are in one to five large ones."""
    return tuple(
        Pair(
            f"How many {small} are in {count} {unit}{'s' if count > 1 else ''}?",
            f"{count * factor} {small}.",
        )
        for unit, small, factor in UNITS
        for count in (1, 2, 3, 5)
    )


def following(names: tuple[str, ...]) -> tuple[Pair, ...]:
    """Each name with its successor, round the end."""
    return tuple(Pair(name, names[(at + 1) % len(names)]) for at, name in enumerate(names))


def spellings() -> tuple[Pair, ...]:
    """Each word with its letters in capitals."""
    return tuple(Pair(word, "-".join(word.upper())) for word in SPELLINGS)


def counts() -> tuple[Pair, ...]:
    """Counting up to each small number."""
    return tuple(
        Pair(NUMBERS[last], ", ".join(NUMBERS[1 : last + 1])) for last in range(2, len(NUMBERS))
    )
