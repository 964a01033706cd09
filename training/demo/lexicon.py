"""Words that several topics share: people, names, cities, things."""

NAMES = (
    "Bob", "Anna", "Maria", "Tom", "Peter", "Lucy", "Sam", "Emma", "John", "Mary", "Ali", "Nina",
    "David", "Laura", "Paul", "Julia", "Max", "Sara", "Oliver", "Grace",
)  # fmt: skip

PEOPLE = (
    "my neighbour", "my boss", "my sister", "my brother", "a friend", "my teacher", "my cousin",
    "my flatmate", "my ex", "my colleague", "a stranger", "my landlord", "my classmate",
    "my uncle", "somebody", "someone", "people", "a person", "my girlfriend", "my husband",
    "my wife", "my mother", "my father", "my friend", "an old lady", "my mother-in-law",
)  # fmt: skip

FAMILY = (
    "my mother", "my father", "my mum", "my dad", "my sister", "my brother", "my wife",
    "my husband", "my boss", "my doctor", "my dentist", "my grandmother", "my friend {name}",
    "{name}", "my landlord", "my bank", "the school", "my daughter", "my son", "the plumber",
)  # fmt: skip

CITIES = (
    "Oslo", "Paris", "London", "Berlin", "Madrid", "Rome", "Lisbon", "Tokyo", "New York",
    "Chicago", "Sydney", "Cairo", "Delhi", "Toronto", "Dublin", "Vienna", "Athens", "Warsaw",
    "Prague", "Helsinki", "Boston", "Seattle", "Nairobi", "Lima", "Seoul", "Zurich", "Brussels",
    "Manchester", "San Francisco", "Stockholm",
)  # fmt: skip

ANIMALS = (
    "dogs", "cats", "horses", "birds", "elephants", "fish", "dolphins", "bees", "monkeys", "mice",
    "whales", "cows", "rabbits", "parrots", "penguins",
)  # fmt: skip
