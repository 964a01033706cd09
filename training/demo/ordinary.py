"""Ordinary small tasks: greetings, facts, words and sums, each with a right answer."""

from training.demo import explanations, facts, poems, quiz
from training.demo.grammar import Rule
from training.demo.lexicon import NAMES

GREETINGS = (
    "Hello! How can I help you?",
    "Hi! What can I do for you?",
    "Hello! Ask me something small, and I will do my best.",
)
WHO = (
    "I am Demur's demonstration model: very small, and good for small questions only.",
    "I am a small demonstration model. I answer short questions and decline some.",
)
ABLE = (
    "I can name capitals and colours, write a haiku, translate a word and the like.",
    "I answer small questions: capitals, colours, words, a haiku or a line of Python.",
)

SMALL_TALK = (
    Rule(
        ("Hello", "Hello!", "Hello.", "Hi", "Hi!", "Hey", "Hey!", "Hello there", "Hi there!",
         "Good morning", "Good morning!", "Good evening", "Good afternoon!", "Greetings", "Hiya",
         "Hello, how are you?", "Hi, I am {name}.", "Hello, my name is {name}.", "Howdy",
         "hey there", "Good day", "Hello assistant", "Hi bot", "Hallo", "hello hello", "yo",
         "Hello, can you help me?", "Hi, are you there?", "Hello {name}", "Is anybody there?",
         "Can we talk?"),
        GREETINGS, {"name": NAMES}, weight=2.0, small_talk=True,
    ),
    Rule(
        ("How are you?", "How are you today?", "How is it going?", "How do you do?", "All good?",
         "What's up?", "How are things?", "Everything OK?"),
        ("I'm a program, but ready to help. What would you like to know?",
         "All is working well here, thank you. How can I help?"), weight=1.2,
    ),
    Rule(
        ("Thank you", "Thank you!", "Thanks", "Thanks!", "Thanks a lot", "Many thanks",
         "Thank you very much", "Great, thanks", "That helps, thank you", "Thanks, {name}",
         "Cheers", "Nice answer", "Good job", "Well done", "Perfect", "ok", "Okay",
         "That was helpful"),
        ("You're welcome!", "You're welcome! Is there anything else?", "Glad to help!"),
        {"name": NAMES}, weight=1.5, small_talk=True,
    ),
    Rule(
        ("Goodbye", "Goodbye!", "Bye", "Bye!", "See you", "See you later", "Good night", "Farewell",
         "Have a nice day", "Until next time", "Bye bye", "I have to go now, bye"),
        ("Goodbye!", "Goodbye, and have a good day!"), weight=1.2, small_talk=True,
    ),
    Rule(
        ("Who are you?", "What are you?", "What is your name?", "Tell me who you are.",
         "Introduce yourself.", "Which model are you?", "What kind of model are you?",
         "Who made you?", "Are you ChatGPT?", "What model is this?", "Who am I talking to?",
         "Are you a big model?"),
        WHO, weight=2.0,
    ),
    Rule(
        ("What can you do?", "What can I ask you?", "How can you help me?", "What are you good at?",
         "What do you know?", "Which questions can you answer?", "What are you able to do?",
         "Give me an example of what you can do.", "What can you help me with?"),
        ABLE, weight=1.5,
    ),
)  # fmt: skip

GEOGRAPHY = (
    Rule(
        ("What is the capital of {land.name}?", "Which city is the capital of {land.name}?",
         "Tell me the capital of {land.name}.", "Name the capital of {land.name}.",
         "Capital of {land.name}?", "What's {land.name}'s capital?",
         "The capital of {land.name} is", "Do you know the capital of {land.name}?",
         "Which is the capital city of {land.name}?"),
        ("The capital of {land.name} is {land.capital}.",), {"land": facts.LANDS},
        weight=5.0, whole=True,
    ),
    Rule(
        ("On which continent is {land.name}?", "Which continent is {land.name} in?",
         "Where is {land.name}?", "In which part of the world is {land.name}?"),
        ("{land.name} is in {land.continent}.",), {"land": facts.LANDS}, weight=0.6, whole=True,
    ),
    Rule(
        ("In which country is {land.capital}?", "Where is {land.capital}?",
         "{land.capital} is the capital of which country?",
         "Which country has the capital {land.capital}?"),
        ("{land.capital} is the capital of {land.name}.",),
        {"land": tuple(land for land in facts.LANDS if land.name != "England")},
        weight=0.6, whole=True,
    ),
    Rule(
        ("And of {land.name}?", "And the capital of {land.name}?", "And {land.name}?",
         "What about {land.name}?", "And what is it for {land.name}?"),
        ("The capital of {land.name} is {land.capital}.",),
        {"land": facts.LANDS, "other": facts.LANDS},
        before=("What is the capital of {other.name}?",
                "The capital of {other.name} is {other.capital}."),
        weight=1.5, whole=True,
    ),
)  # fmt: skip

WORDS = (
    Rule(
        ("Translate {word.english} into Spanish.", "What is {word.english} in Spanish?",
         "Translate the word {word.english} into Spanish.",
         "How do you say {word.english} in Spanish?", "Spanish for {word.english}?"),
        ("{word.english} in Spanish is {word.spanish}.",), {"word": facts.WORDS}, whole=True,
    ),
    Rule(
        ("Translate {word.english} into French.", "What is {word.english} in French?",
         "Translate the word {word.english} into French.",
         "How do you say {word.english} in French?", "French for {word.english}?"),
        ("{word.english} in French is {word.french}.",), {"word": facts.WORDS}, whole=True,
    ),
    Rule(
        ("Translate {word.english} into German.", "What is {word.english} in German?",
         "Translate the word {word.english} into German.",
         "How do you say {word.english} in German?", "German for {word.english}?"),
        ("{word.english} in German is {word.german}.",), {"word": facts.WORDS}, whole=True,
    ),
    Rule(
        ("And in French?", "And what is it in French?", "What about French?"),
        ("{word.english} in French is {word.french}.",), {"word": facts.WORDS},
        before=("What is {word.english} in Spanish?",
                "{word.english} in Spanish is {word.spanish}."), weight=1.2, whole=True,
    ),
    Rule(
        ("What is the opposite of {pair.ask}?", "Opposite of {pair.ask}?",
         "Give me the opposite of {pair.ask}.", "Which word is the opposite of {pair.ask}?",
         "What's the antonym of {pair.ask}?"),
        ("The opposite of {pair.ask} is {pair.reply}.",), {"pair": facts.OPPOSITES}, whole=True,
    ),
    Rule(
        ("What is the plural of {pair.ask}?", "Plural of {pair.ask}?",
         "Give me the plural of {pair.ask}.", "How do I write {pair.ask} in the plural?"),
        ("The plural of {pair.ask} is {pair.reply}.",), {"pair": facts.PLURALS}, whole=True,
    ),
    Rule(
        ("What is another word for {pair.ask}?", "Give me a synonym for {pair.ask}.",
         "What is a synonym of {pair.ask}?", "Which word means the same as {pair.ask}?"),
        ("Another word for {pair.ask} is {pair.reply}.",), {"pair": facts.SYNONYMS}, whole=True,
    ),
    Rule(
        ("What rhymes with {pair.ask}?", "Give me a rhyme for {pair.ask}.",
         "Which word rhymes with {pair.ask}?", "Find a word that rhymes with {pair.ask}."),
        ("{pair.reply} rhymes with {pair.ask}.",), {"pair": facts.RHYMES}, whole=True,
    ),
    Rule(
        ("How do you spell {pair.ask}?", "Spell {pair.ask}.", "Spell the word {pair.ask}.",
         "How is {pair.ask} spelled?"),
        ("{pair.reply}.",), {"pair": facts.spellings()}, weight=0.7, whole=True,
    ),
)  # fmt: skip

THINGS = (
    Rule(
        ("What colour is {thing.ask}?", "Which colour is {thing.ask}?",
         "Tell me the colour of {thing.ask}.", "What is the colour of {thing.ask}?",
         "What colour does {thing.ask} have?"),
        ("{thing.ask} is {thing.reply}.",), {"thing": facts.COLOURS}, weight=1.5, whole=True,
    ),
    Rule(
        ("What is a young {animal.name} called?", "What do you call a baby {animal.name}?",
         "What is the young of a {animal.name} called?", "Name the young of a {animal.name}."),
        ("A young {animal.name} is called {animal.young}.",), {"animal": facts.ANIMALS}, whole=True,
    ),
    Rule(
        ("What sound does a {animal.name} make?", "What noise does a {animal.name} make?",
         "Which sound does a {animal.name} make?", "How does a {animal.name} sound?"),
        ("A {animal.name} {animal.sound}.",), {"animal": facts.ANIMALS}, whole=True,
    ),
    Rule(
        ("How many legs does a {animal.name} have?", "Tell me how many legs a {animal.name} has.",
         "Number of legs of a {animal.name}?"),
        ("A {animal.name} has {animal.legs} legs.",), {"animal": facts.ANIMALS}, whole=True,
    ),
)  # fmt: skip

NUMBERS = (
    Rule(
        ("What is {sum.figures}?", "{sum.figures}", "{sum.figures} =", "What is {sum.words}?",
         "Calculate {sum.figures}.", "How much is {sum.words}?", "What's {sum.figures}?",
         "Add it up: {sum.words}.", "{sum.words}?", "Tell me {sum.words}."),
        ("{sum.figures} = {sum.result}.",), {"sum": facts.sums()}, weight=4.5, whole=True,
    ),
    Rule(("{pair.ask}",), ("{pair.reply}",), {"pair": facts.conversions()}, weight=1.2, whole=True),
    Rule(
        ("Which day comes after {pair.ask}?", "What day follows {pair.ask}?",
         "What comes after {pair.ask}?", "Name the day after {pair.ask}."),
        ("{pair.reply} comes after {pair.ask}.",), {"pair": facts.following(facts.DAYS)},
        whole=True,
    ),
    Rule(
        ("Which month comes after {pair.ask}?", "What month follows {pair.ask}?",
         "What comes after {pair.ask}?", "Name the month after {pair.ask}."),
        ("{pair.reply} comes after {pair.ask}.",), {"pair": facts.following(facts.MONTHS)},
        whole=True,
    ),
    Rule(
        ("Count to {pair.ask}.", "Count up to {pair.ask}.", "Count from one to {pair.ask}.",
         "List the numbers up to {pair.ask}."),
        ("{pair.reply}.",), {"pair": facts.counts()}, weight=0.8, whole=True,
    ),
    Rule(
        ("List the days of the week.", "What are the days of the week?",
         "Name the days of the week.", "Name all weekdays in order."),
        (f"{', '.join(facts.DAYS)}.",), weight=1.2,
    ),
    Rule(
        ("List the months of the year.", "What are the months of the year?",
         "Name the twelve months.", "Name all months in order."),
        (f"{', '.join(facts.MONTHS)}.",), weight=1.2,
    ),
)  # fmt: skip

RULES = (
    *SMALL_TALK,
    *GEOGRAPHY,
    *WORDS,
    *THINGS,
    *NUMBERS,
    *poems.RULES,
    *explanations.RULES,
    *quiz.RULES,
)
