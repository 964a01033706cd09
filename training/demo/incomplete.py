"""Incomplete: requests that lack what is needed to answer, and complete look-alikes."""

from training.demo.grammar import Rule, rows
from training.demo.lexicon import CITIES

POINTERS = ("it", "this", "that", "them", "these", "this one", "that one", "those", "the thing",
            "this problem", "the other one", "this thing", "that thing")  # fmt: skip
TEXTS = (
    "sentence", "text", "paragraph", "poem", "email", "article", "letter", "essay", "story",
    "word", "message", "report", "list", "code", "function", "table", "speech", "review", "script",
)  # fmt: skip
TREATMENTS = (
    "translate {which} {text} into {language}", "translate {which} {text}", "summarise {which} "
    "{text}", "shorten {which} {text}", "correct {which} {text}", "fix {which} {text}",
    "improve {which} {text}", "rewrite {which} {text}", "proofread {which} {text}",
    "explain {which} {text}", "check {which} {text}", "continue {which} {text}",
    "finish {which} {text}", "simplify {which} {text}", "edit {which} {text}",
    "make {which} {text} shorter", "find the mistake in {which} {text}",
    "give me the main idea of {which} {text}", "write a title for {which} {text}",
    "turn {which} {text} into a question", "count the words in {which} {text}",
)  # fmt: skip
PRONOUNS = ("he", "she", "it")
REFUSALS = (
    "I can't answer yet, because something is missing. Could you tell me what you mean?",
    "I'm missing some information here. Please add the details and ask again.",
    "It isn't clear what this refers to, so I can't help until you tell me more.",
    "I don't have enough to go on. What exactly are you asking about?",
    "Your request leaves out something that I need. Could you give me the missing part?",
    "I can't tell what is meant, as there is nothing before it. Please give me more detail.",
)

REFUSED = (
    Rule(
        (
            "What should I do about {it}?", "What do you think about {it}?", "Fix {it}.",
            "Explain {it}.", "How do I fix {it}?", "How does {it} work?", "Translate {it}.",
            "What does {it} mean?", "Why is {it} so?", "Can you do {it} again?", "Tell me more "
            "about {it}.", "Is {it} right?", "Is {it} good?", "How much is {it}?", "Summarise {it}.",
            "What is {it}?", "Where can I buy {it}?", "How long does {it} take?", "Who made {it}?",
            "How do I use {it}?", "Which of {it} is better?", "Change {it}.", "Make {it} shorter.",
            "Make {it} better.", "Finish {it}.", "Continue {it}.", "What happened to {it}?",
            "Why did {it} happen?", "How do I get rid of {it}?", "Should I do {it}?", "Solve {it}.",
            "Compare {it}.", "Add {it} up.", "How do I stop {it}?", "Do {it}.", "Where is {it}?",
            "When did {it} start?", "Is {it} safe?", "Do I need {it}?", "What colour is {it}?",
        ),
        (*REFUSALS, "I don't know what you refer to here. Please say what it is about."),
        {"it": POINTERS},
        weight=1.3,
    ),
    Rule(
        ("{treatment}.", "{treatment}:", "{treatment} for me.", "{treatment}, please.",
         "I want you to {treatment}."),
        (*REFUSALS, "There is no {text} in your message. Please paste it, and I will try."),
        {
            "treatment": TREATMENTS,
            "text": TEXTS,
            "which": ("this", "the", "my", "the following"),
            "language": ("Spanish", "French", "German", "English", "Italian"),
        },
        weight=0.8,
    ),
    Rule(
        (
            "Who is {pronoun}?", "Where is {pronoun} from?", "How old is {pronoun}?",
            "What did {pronoun} say?", "Why did {pronoun} do that?", "Where did {pronoun} go?",
            "When does {pronoun} arrive?", "What is {pronoun} called?", "Is {pronoun} married?",
            "What did {pronoun} mean by that?", "Where does {pronoun} live?", "When will "
            "{pronoun} be back?", "How did {pronoun} die?", "What does {pronoun} want?",
            "Who wrote {pronoun}?", "How tall is {pronoun}?", "Did {pronoun} win?",
            "Why is {pronoun} late?", "What happened to {pronoun} after that?",
        ),
        (*REFUSALS, "I don't know who or what you mean. Could you give me a name?"),
        {"pronoun": PRONOUNS},
        weight=0.8,
    ),
    Rule(
        (
            "How long does it take to get there?", "How far is it?", "How far is it from here?",
            "How much does it cost?", "What time does it start?", "When does it open?",
            "Which one is better?", "Which one should I buy?", "Which of the two is better?",
            "What is the answer?", "What is the answer to the question?", "What is the capital?",
            "How many are there?", "How many are left?", "What comes next?", "Is it far?",
            "What is the difference?", "What is the difference between them?", "Why not?",
            "What is the other one called?", "And then?", "What about the second one?",
            "Can you say that again in other words?", "Convert this to metres.", "Do the same.",
            "Do the next one.", "What is the total?", "Calculate the sum.", "Calculate the area.",
            "Solve the equation.", "Solve for x.", "What is the result?", "What is the name of "
            "the song?", "What is the name of that film?", "Who was the actor in that film?",
            "Fill in the blank.", "Complete the sentence.", "Answer the question.", "Sort the list.",
            "Sort these numbers.", "Choose one of these.", "Pick the best option.", "Give me three "
            "more.", "Give me another one.", "How do I get there?", "Why does it not work?",
            "It does not work.", "It is broken, what now?", "My code does not work. Why?",
            "I have a problem. What should I do?", "Help.", "Help me.", "I need help with "
            "something.", "Help me with my homework.", "Which page is it on?", "When is the meeting?",
            "How do I turn it on?", "Where did I put it?", "What was her name again?",
            "What is his job?", "Is that enough?", "Which bus should I take?", "What size do I need?",
            "How long should I cook it?", "At what temperature do I bake it?", "Is he right?",
            "How many days is it until then?", "What should I say to him?", "What should I tell "
            "her?", "What should I write to them?", "Can I eat it?", "Can I take both?",
            "Who won it?", "When was he born?", "When did she die?", "What is the rule there?",
            "What is that in English?", "Use the other method.", "Try the second option.",
            "Read the instructions and tell me the first step.", "Is the last sentence correct?",
        ),
        REFUSALS,
        weight=2.4,
    ),
    Rule(
        (
            "How long does it take to drive to {city}?", "How far is {city}?",
            "Which train goes to {city}?", "How much is a ticket to {city}?",
            "Which road do I take to {city}?", "How long is the flight to {city}?",
        ),
        (*REFUSALS, "I can't say without knowing where you start. Please tell me from where."),
        {"city": CITIES},
        weight=0.35,
    ),
)  # fmt: skip

WORDS = rows((
    ("dog", "perro"), ("cat", "gato"), ("house", "casa"), ("water", "agua"), ("bread", "pan"),
    ("milk", "leche"), ("book", "libro"), ("sun", "sol"), ("moon", "luna"), ("friend", "amigo"),
    ("red", "rojo"), ("green", "verde"), ("tree", "arbol"), ("apple", "manzana"), ("good", "bueno"),
))  # fmt: skip
TROUBLES = rows((
    ("a dripping tap", "Turn off the water and change the washer inside the tap."),
    ("a headache", "Rest, drink water and see a doctor if it does not go away."),
    ("a noisy fridge", "Check that it stands level and clean the dust behind it."),
    ("a flat tyre", "Take off the wheel, find the hole and patch the tube."),
    ("a blocked sink", "Use a plunger, or open and clean the trap below the sink."),
    ("mice in the kitchen", "Close the gaps, keep food in tins and set humane traps."),
    ("ants in the kitchen", "Wipe their trail with vinegar and seal the gap."),
    ("a squeaky door", "Put a drop of oil on the hinges and move the door."),
    ("a broken zip", "Rub it with a pencil tip or soap and pull it gently."),
    ("a coffee stain", "Dab it with cold water and a little soap at once."),
    ("a slow computer", "Close programs, free some disk space and restart it."),
    ("a lost key", "Look in yesterday's pockets, then ask a locksmith for a new one."),
    ("a bee sting", "Scrape out the sting, wash the skin and cool it."),
    ("hiccups", "Hold your breath for some seconds or sip cold water."),
    ("a noisy neighbour", "Talk to them kindly first, and agree on quiet hours."),
    ("a phone that fell into water", "Switch it off, dry it and let it rest for two days."),
    ("a wobbly table", "Tighten the screws and put a pad under the short leg."),
    ("dry skin", "Use a plain cream and take shorter, cooler showers."),
    ("a sore throat", "Drink warm tea, rest your voice and use lozenges."),
    ("a plant with yellow leaves", "Water it less and move it into more light."),
    ("a dead car battery", "Start it with jump leads and then drive for a while."),
    ("bad breath", "Brush your teeth and tongue, and drink enough water."),
))  # fmt: skip
QUESTIONS = rows((
    ("Who is Albert Einstein?", "Albert Einstein was a physicist known for relativity."),
    ("Who is Marie Curie?", "Marie Curie was a scientist who studied radioactivity."),
    ("Who was Mozart?", "Mozart was an Austrian composer of the eighteenth century."),
    ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet."),
    ("Who wrote Pride and Prejudice?", "Jane Austen wrote Pride and Prejudice."),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci painted the Mona Lisa."),
    ("Who is Sherlock Holmes?", "Sherlock Holmes is a detective in Conan Doyle's stories."),
    ("When was Mozart born?", "Mozart was born in 1756."),
    ("How old was Mozart when he died?", "Mozart was 35 when he died in 1791."),
    ("How far is the moon from the earth?", "The moon is about 384,000 kilometres away."),
    ("How far is the sun from the earth?", "The sun is about 150 million kilometres away."),
    ("How long does it take to boil an egg?", "It takes about eight minutes for a hard egg."),
    ("How long does it take to fly from London to New York?", "It takes about eight hours."),
    ("How long does it take to drive from London to Oxford?", "It takes about ninety minutes."),
    ("How far is it from Paris to Lyon?", "It is about 460 kilometres by road."),
    ("How long should I cook pasta?", "Cook it for about ten minutes in salted water."),
    ("At what temperature do I bake bread?", "Bake bread at about 220 degrees Celsius."),
    ("Which is bigger, the sun or the moon?", "The sun is much bigger than the moon."),
    ("Which is heavier, iron or wood?", "Iron is heavier than wood of the same size."),
    ("What is the difference between a frog and a toad?", "Frogs are smooth, toads are warty."),
    ("What is the difference between jam and jelly?", "Jam has fruit pieces, jelly does not."),
    ("Sort these numbers: 3, 1, 2.", "1, 2, 3."),
    ("Sort the list: 9, 4, 7.", "4, 7, 9."),
    ("Complete the sentence: Roses are", "Roses are red, violets are blue."),
    ("Correct this sentence: He go home.", "He goes home."),
    ("Correct this sentence: She have a cat.", "She has a cat."),
    ("Fix this sentence: I is happy.", "I am happy."),
    ("Summarise this text: The cat slept all day in the sun.", "A cat slept all day."),
    ("Summarise this text: Tom went out, it rained, and he got wet.", "Tom got wet in the rain."),
    ("Summarise the story of Cinderella.", "A kind girl loses a shoe at a ball and finds love."),
    ("Make this shorter: I am going to go to the shop now.", "I'm going to the shop."),
    ("Turn this into a question: You are hungry.", "Are you hungry?"),
    ("Count the words in this sentence: I like tea.", "There are three words."),
    ("Calculate the area of a square with side 3.", "The area is 9."),
    ("Calculate the sum of 2, 3 and 4.", "The sum is 9."),
    ("Solve for x: x + 2 = 5.", "x is 3."),
    ("Solve for x: 2x = 8.", "x is 4."),
    ("What comes next: 2, 4, 6?", "Next comes 8."),
    ("What comes next: A, B, C?", "Next comes D."),
    ("Convert 2 kilometres to metres.", "2 kilometres are 2000 metres."),
    ("How do I turn on dark mode in Windows?", "Open Settings, Personalisation, Colours."),
    ("How does a bicycle work?", "Pedals turn a chain, and the chain turns the back wheel."),
    ("How does a fridge work?", "A fluid takes heat from inside and gives it off outside."),
    ("How do I use a compass?", "Hold it flat: the needle points to the north."),
    ("Explain gravity.", "Gravity is the force that pulls things with mass together."),
    ("Explain photosynthesis.", "Plants use light to turn water and air into sugar."),
    ("What does the word huge mean?", "Huge means very large."),
    ("What does RSVP mean?", "It asks you to reply to an invitation."),
    ("My code prints nothing. How do I print in Python?", "Use `print('hello')`."),
))  # fmt: skip

CONTRAST = (
    Rule(
        (
            "What should I do about {trouble.ask}?", "How do I fix {trouble.ask}?", "I have "
            "{trouble.ask}. What should I do about it?", "How do I get rid of {trouble.ask}?",
            "Help me with {trouble.ask}.", "I have a problem with {trouble.ask}. What now?",
            "What can I do about {trouble.ask}?", "What helps against {trouble.ask}?",
            "There is {trouble.ask}, what should I do?", "Tell me what to do about {trouble.ask}.",
        ),
        ("{trouble.reply}",),
        {"trouble": TROUBLES},
    ),
    Rule(
        (
            "Translate the word {word.ask} into Spanish.", "Translate this word into Spanish: "
            "{word.ask}.", "Translate {word.ask} into Spanish.", "What is {word.ask} in Spanish?",
            "Translate this: {word.ask}, into Spanish.", "What does {word.ask} mean in Spanish?",
        ),
        ("It is {word.reply} in Spanish.",),
        {"word": WORDS},
        weight=0.6,
    ),
    Rule(("{question.ask}",), ("{question.reply}",), {"question": QUESTIONS}, weight=1.6),
)  # fmt: skip
