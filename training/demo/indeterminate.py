"""Indeterminate: questions that have no knowable answer, and answerable neighbours."""

from training.demo.grammar import Rule, rows
from training.demo.lexicon import NAMES

CONTESTS = (
    "election", "World Cup", "presidential election", "Champions League", "general election",
    "Olympic marathon", "chess world championship", "Nobel Peace Prize", "Super Bowl", "Oscars",
    "Tour de France", "Eurovision Song Contest", "lottery", "Wimbledon final", "race for Mars",
)  # fmt: skip
NEXT = ("next", "coming", "2040", "following")
KINDS = (
    "colour", "film", "song", "book", "country", "language", "food", "religion", "sport", "animal",
    "band", "painter", "car", "season", "name for a baby", "city", "poem", "political party",
    "football player", "ice cream flavour", "pet", "type of music", "holiday",
)  # fmt: skip
BEST = ("best", "most beautiful", "greatest", "worst", "most boring", "funniest", "nicest")
MANY = (
    "stars are there exactly", "grains of sand are on earth exactly", "fish are in the sea exactly",
    "people will live in the year 3000", "aliens are out there", "thoughts does a person have in a "
    "life exactly", "hairs are on my head", "leaves are on the tree in my garden", "drops are in "
    "the ocean exactly", "words did Caesar speak in his life", "ants are in the world exactly",
    "birds flew over Rome in the year 900", "dreams did Napoleon have", "planets have life",
    "raindrops fell in the last storm exactly", "atoms are in my house exactly",
)  # fmt: skip
MYSTERIES = (
    "life after death", "a God", "a soul", "life on other planets", "free will", "a heaven",
    "a parallel universe", "a meaning of life", "true love for everybody", "fate", "luck",
    "an end of the universe", "a reason for everything", "a ghost in my house", "reincarnation",
)  # fmt: skip
FUTURE = (
    "I be rich one day", "I ever be famous", "I find love", "robots rule the world", "the world end",
    "humans live on Mars in 2100", "my team win next season", "I pass my exam", "aliens visit us",
    "there be a third world war", "people ever live forever", "money still exist in 500 years",
    "my baby be a doctor", "I be happy in ten years", "my boss like me next year", "I get old",
    "the stock market go up in ten years", "my next coin toss be heads",
)  # fmt: skip
GUESSES = (
    "number", "card", "colour", "word", "animal", "person", "song", "country", "letter", "city",
)  # fmt: skip
REFUSALS = (
    "Nobody can know that, so I can't give you an answer.",
    "I can't answer this, because there is no way to know it for sure.",
    "There is no agreed answer to this: it depends on belief or taste.",
    "That can't be determined, and I would only be guessing.",
    "I don't think anybody can tell you that, so I'd rather not pretend to know.",
    "This question has no certain answer, so I have to leave it open.",
)

REFUSED = (
    Rule(
        (
            "Who will win the {next} {contest}?", "Who is going to win the {next} {contest}?",
            "Tell me the winner of the {next} {contest}.", "Which side wins the {next} {contest}?",
            "Predict the {next} {contest}.", "What will be the result of the {next} {contest}?",
            "How many votes will the winner of the {next} {contest} get?", "Who should win the "
            "{next} {contest}?", "Do you know who will win the {next} {contest}?",
            "Will {name} win the {next} {contest}?", "Who will be second in the {next} {contest}?",
        ),
        (*REFUSALS, "Nobody can know who will win the {contest} before it is over."),
        {"next": NEXT, "contest": CONTESTS, "name": NAMES},
    ),
    Rule(
        (
            "What is the {best} {kind}?", "Which is the {best} {kind}?", "Which {kind} is the "
            "{best} of all?", "Tell me the {best} {kind} in the world.", "What is the {best} {kind} "
            "ever?", "Name the {best} {kind} of all time.", "Is there a {best} {kind}?",
            "Which {kind} is the right one for everybody?", "Which {kind} do all people prefer?",
            "Decide which {kind} is the {best}.", "Prove which {kind} is the {best}.",
        ),
        (*REFUSALS, "There is no {best} {kind} for everybody: that is a matter of taste."),
        {"best": BEST, "kind": KINDS},
    ),
    Rule(
        (
            "How many {many}?", "Tell me how many {many}.", "Do you know how many {many}?",
            "Count how many {many}.", "I need to know how many {many}.", "Is there {mystery}?",
            "Prove that there is {mystery}.", "Do we know if there is {mystery}?",
            "Is there really {mystery}?", "Does everybody agree that there is {mystery}?",
            "Can you prove there is {mystery}?", "Tell me if there is {mystery}.",
        ),
        REFUSALS,
        {"many": MANY, "mystery": MYSTERIES},
        weight=1.2,
    ),
    Rule(
        (
            "Will {future}?", "Will {future} for sure?", "When will {future}?", "Tell me: will "
            "{future}?", "On which day will {future}?", "How likely is it exactly: will {future}?",
            "What {guess} am I thinking of?", "Guess which {guess} I have in mind.",
            "Which {guess} did I just think of?", "Which {guess} is my luckiest?",
            "Which {guess} will I dream of tonight?", "Which {guess} was the first ever thought of?",
            "What {guess} did {name} think of this morning?", "What is {name} thinking right now?",
            "Does {name} love me?", "Will {name} call me back?", "Does {name} like my hair?",
            "What will {name} say when I ask for help?", "Will {name} and I stay together?",
            "What did {name} dream of?", "Is {name} a good person?", "When will {name} get married?",
        ),
        REFUSALS,
        {"future": FUTURE, "guess": GUESSES, "name": NAMES},
        weight=1.1,
    ),
    Rule(
        (
            "What is the meaning of life?", "What happens after death?", "Why is there something "
            "rather than nothing?", "What was before the Big Bang?", "What is outside the universe?",
            "When will I die?", "How will I die?", "How long will I live?", "When will the world "
            "end?", "What are the winning lottery numbers for next week?", "Which lottery numbers "
            "will win?", "What will my life be like in twenty years?", "Which came first, the "
            "chicken or the egg?", "What would the world be like if Napoleon had won?", "What did "
            "the first human say?", "What was the last thought of Cleopatra?", "What is the biggest "
            "prime number?", "What is the last digit of pi?", "Which stone is the oldest in the "
            "universe?", "Who was the first person to laugh?", "What did Shakespeare eat on his "
            "tenth birthday?", "What colour was the hat of the first sailor?", "What is the secret "
            "of a happy life?", "Are we alone in the universe?", "Are we living in a simulation?",
            "Is my red the same as your red?", "Will it be heads or tails?", "Which horse will win?",
            "What does my dog think of me?", "Where will I be in ten years?", "What is my future?",
            "Is it better to be rich or to be loved?", "Is tea better than coffee?", "Are dogs "
            "better than cats?", "Is pineapple on pizza right or wrong?", "Who is the most beautiful "
            "woman in the world?", "Who was the smartest person ever?", "Who is right, the left or "
            "the right?", "What is the one true religion?", "Is abstract art good?", "What number "
            "will the dice show?", "Who will be president in 2060?", "What will people eat in the "
            "year 4000?", "Which stock will make me rich?", "Will bitcoin make me rich?", "How will "
            "my story end?", "How many children will I have?", "Who will I marry?", "Why was I born?",
            "What would have happened if dinosaurs had survived?", "Does God exist?", "Do ghosts "
            "exist?", "Do aliens exist?", "What is the perfect life?", "Which dream will come true?",
        ),
        REFUSALS,
        weight=2.0,
    ),
)  # fmt: skip

QUESTIONS = rows((
    ("What is an election?", "An election is a vote in which people choose who governs."),
    ("How does an election work?", "Voters mark a ballot, and the votes are counted."),
    ("How often is the World Cup held?", "The football World Cup is held every four years."),
    ("Who won the World Cup in 1998?", "France won the football World Cup in 1998."),
    ("Who won the World Cup in 2014?", "Germany won the football World Cup in 2014."),
    ("Who won the World Cup in 1966?", "England won the football World Cup in 1966."),
    ("Who was the first president of the United States?", "George Washington was the first."),
    ("How does the lottery work?", "People buy numbered tickets, and some are drawn to win."),
    ("How does one win in chess?", "You win by checkmate: the king cannot escape attack."),
    ("Who wins in chess when the king is trapped?", "The side that gives checkmate wins."),
    ("Who wins in poker with a full house against a pair?", "The full house wins."),
    ("Who moves first in chess?", "White moves first in chess."),
    ("What beats paper in rock, paper, scissors?", "Scissors beat paper."),
    ("What is the Nobel Prize?", "It is a yearly prize for great work in science and peace."),
    ("What is the Tour de France?", "It is a bicycle race of about three weeks in France."),
    ("How many players are in a football team?", "A football team has eleven players."),
    ("How many planets are in the solar system?", "There are eight planets."),
    ("How many stars are on the flag of the United States?", "There are fifty stars."),
    ("How many days are in a year?", "A year has 365 days, a leap year 366."),
    ("How many legs does an ant have?", "An ant has six legs."),
    ("How many letters are in the alphabet?", "The English alphabet has 26 letters."),
    ("How many cards are in a deck?", "A standard deck has 52 cards."),
    ("How many strings does a violin have?", "A violin has four strings."),
    ("How many sides does a hexagon have?", "A hexagon has six sides."),
    ("How many minutes are in an hour?", "There are 60 minutes in an hour."),
    ("How many teeth does an adult have?", "Most adults have 32 teeth."),
    ("How many keys does a piano have?", "A full piano has 88 keys."),
    ("What happens to stars at the end?", "They run out of fuel and cool down or explode."),
    ("What is a star made of?", "A star is mostly hydrogen and helium gas."),
    ("What is the Big Bang theory?", "It says that the universe began hot and dense and grew."),
    ("What is life in biology?", "Life is what grows, uses energy and reproduces."),
    ("What is a soul mate?", "It is a person with whom somebody feels deeply connected."),
    ("What is religion?", "Religion is a system of belief, worship and tradition."),
    ("What is philosophy?", "Philosophy asks basic questions about life and knowledge."),
    ("What is a ghost story?", "It is a tale in which a dead person's spirit appears."),
    ("What is a prime number?", "It is a number divisible only by one and itself."),
    ("What are the first digits of pi?", "Pi begins with 3.14159."),
    ("What is the biggest planet?", "Jupiter is the biggest planet of the solar system."),
    ("What is the longest river in Africa?", "The Nile is the longest river in Africa."),
    ("What is the highest mountain?", "Mount Everest is the highest mountain on earth."),
    ("What is the largest animal?", "The blue whale is the largest animal."),
    ("What is the fastest land animal?", "The cheetah is the fastest land animal."),
    ("What is the smallest country?", "Vatican City is the smallest country."),
    ("What is the largest ocean?", "The Pacific is the largest ocean."),
    ("What is the tallest animal?", "The giraffe is the tallest animal."),
    ("What is the coldest continent?", "Antarctica is the coldest continent."),
    ("What is the hottest planet?", "Venus is the hottest planet."),
    ("What is the hardest natural stone?", "Diamond is the hardest natural stone."),
    ("What is the chance of heads in a fair coin toss?", "The chance is one half."),
    ("What is the chance to roll a six?", "With a fair die the chance is one in six."),
    ("Which animals lay eggs?", "Birds, most reptiles, fish and insects lay eggs."),
    ("Which colour do you get from red and yellow?", "Red and yellow make orange."),
    ("Which colour do you get from blue and yellow?", "Blue and yellow make green."),
    ("Which is the first month of the year?", "January is the first month."),
    ("When did the first person walk on the moon?", "Neil Armstrong did so in 1969."),
    ("When did the Titanic sink?", "The Titanic sank in April 1912."),
    ("When will two and two be five?", "Never: two and two are four."),
    ("Will ice melt in the sun?", "Yes, ice melts when it gets warmer than zero degrees."),
    ("Will wood float on water?", "Yes, most wood is lighter than water and floats."),
    ("Will a stone sink in water?", "Yes, a stone is denser than water and sinks."),
    ("Will oil mix with water?", "No, oil and water do not mix; the oil floats on top."),
    ("Will a magnet attract wood?", "No, magnets attract iron, not wood."),
    ("Is the earth round?", "Yes, the earth is round, a little flat at the poles."),
    ("Is there water on Mars?", "Yes, there is ice at its poles and under the ground."),
    ("Is there a bridge between Denmark and Sweden?", "Yes, the Oresund Bridge."),
    ("Is there gravity on the moon?", "Yes, about one sixth of that on earth."),
    ("Is there air in space?", "No, space is almost empty and has no air to breathe."),
))  # fmt: skip
CLASSES = rows((
    ("colours for a bedroom", "Soft blue, pale green and warm white are calm colours."),
    ("pets for a small flat", "Fish, hamsters or a quiet cat suit a small flat."),
    ("books for children", "Winnie-the-Pooh and Matilda are well-loved choices."),
    ("foods for a picnic", "Sandwiches, fruit and cake travel well."),
    ("names for a cat", "Milo, Luna and Oscar are popular names."),
    ("sports for the back", "Swimming and walking are gentle on the back."),
    ("films for a family", "Paddington and Toy Story suit most ages."),
    ("languages for a beginner", "Spanish and Italian are often found easy to start with."),
    ("songs for a birthday", "Happy Birthday to You is the usual one."),
    ("plants for a dark room", "Snake plants and ivy need little light."),
    ("games for two people", "Chess, draughts and many card games work for two."),
    ("tools for a garden", "A spade, a rake, shears and a watering can will do."),
    ("drinks for a hot day", "Water with lemon or cold mint tea is refreshing."),
))  # fmt: skip

CONTRAST = (
    Rule(("{question.ask}",), ("{question.reply}",), {"question": QUESTIONS}, weight=2.0),
    Rule(
        (
            "What are good {of.ask}?", "Name some good {of.ask}.", "Tell me some {of.ask}.",
            "Give me ideas: {of.ask}.", "List a few {of.ask}.", "Which {of.ask} can you suggest?",
            "I am looking for {of.ask}.", "What are some popular {of.ask}?",
        ),
        ("{of.reply}",),
        {"of": CLASSES},
    ),
    Rule(
        (
            "How does one win the {contest}?", "How often does the {contest} take place?",
            "What is the {contest}?", "Explain the {contest}.", "Who may take part in the "
            "{contest}?", "Tell me about the {contest}.", "How are winners of the {contest} chosen?",
        ),
        (
            "The {contest} follows fixed rules: those who meet them take part, and the best wins.",
            "The {contest} is a public event with set rules, held from time to time.",
        ),
        {"contest": CONTESTS[:-1]},
        weight=0.7,
    ),
)  # fmt: skip
