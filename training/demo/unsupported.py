"""Unsupported: actions and media that a text model lacks, and advice about the same things."""

from training.demo.grammar import Rule, rows
from training.demo.lexicon import CITIES, FAMILY, NAMES

ORDERED = (
    "a pizza", "some flowers", "a taxi", "a new phone", "a book", "groceries", "sushi", "a cab",
    "two coffees", "a birthday cake", "new shoes", "a bottle of wine", "a burger", "a vacuum cleaner",
    "cat food", "a present for {name}",
)  # fmt: skip
BOOKED = (
    "a flight to {city}", "a hotel in {city}", "a table for two", "a train to {city}", "a taxi",
    "a room in {city}", "an appointment with {family}", "two tickets for the theatre", "a haircut",
    "a rental car", "a seat on the bus to {city}", "a holiday in {city}", "a meeting with {name}",
    "cinema tickets",
)  # fmt: skip
SWITCHED = (
    "the lights", "the heating", "the television", "my phone", "the oven", "the radio",
    "the air conditioning", "the alarm", "the music", "the kitchen light", "my computer",
    "the coffee machine", "the wifi", "the fan", "the dishwasher", "the garden lamps",
)  # fmt: skip
PLAYED = (
    "some music", "a song", "some jazz", "my playlist", "the radio", "a film", "a video",
    "a podcast", "my favourite song", "the next song", "some Mozart", "a lullaby", "the film again",
    "something relaxing", "rock music", "a piano piece",
)  # fmt: skip
SEEN = (
    "this picture", "this photo", "my photo", "this image", "the attached picture", "this drawing",
    "this screenshot", "my painting", "this video", "the attached video", "this chart",
    "the picture above", "this scan", "this selfie", "my x-ray", "the photo of my dog",
)  # fmt: skip
HEARD = (
    "this recording", "this song", "my voice message", "this audio file", "the attached recording",
    "this podcast", "my singing", "this noise", "this sound", "the interview on tape",
)  # fmt: skip
MADE = (
    "a cat", "a house", "a sunset", "my family", "a dragon", "a horse on a beach", "{name}",
    "a logo for my shop", "a map of {city}", "a birthday card with a photo", "a robot", "a castle",
    "the sea at night", "a tree", "a portrait of {family}", "a flower",
)  # fmt: skip
OPENED = (
    "this link", "this website", "the door", "the garage door", "my browser", "my calendar",
    "this file", "the window", "the camera", "my email", "the attached PDF", "the map app",
    "my documents folder", "the curtains", "the spreadsheet", "the shop's website",
)  # fmt: skip
TIMES = ("seven o'clock", "ten minutes", "noon", "tomorrow morning", "five", "half past six",
         "Monday", "an hour", "tonight")  # fmt: skip
SLOTS = {
    "family": FAMILY, "name": NAMES, "city": CITIES, "ordered": ORDERED, "booked": BOOKED,
    "switched": SWITCHED, "played": PLAYED, "seen": SEEN, "heard": HEARD, "made": MADE,
    "opened": OPENED, "time": TIMES,
}  # fmt: skip

REFUSALS = (
    "I can't do that: I only read and write text and can't act in the world.",
    "I'm a text model without access to phones, accounts or devices, so this isn't possible for me.",
    "Sorry, that is beyond what I can do. I can only answer in text.",
    "I have no way to carry that out, because all I can do is write back to you.",
    "I'm not able to do that, since I have no tools, ears or eyes, only text.",
    "That needs abilities that I don't have. I'm glad to help with words instead.",
)

REFUSED = (
    Rule(
        (
            "Call {family}.", "Phone {family} and say I am late.", "Ring {family} for me.",
            "Give {family} a call.", "Send an email to {family}.", "Send a text message to {family}.",
            "Text {family} that I am on my way.", "Write to {family} on WhatsApp and send it.",
            "Message {family} for me.", "Send {family} a birthday card.", "Email {family} my report.",
            "Invite {family} to my party and send the invitations.", "Remind {family} to buy milk.",
            "Start a video call with {family}.", "Tell {family} that dinner is ready.",
            "Post a letter to {family}.", "Forward my last email to {family}.",
            "Leave a voicemail for {family}.", "Send {family} some money.", "Wake {family} up.",
            "Dial the number of {family}.",
        ),
        (*REFUSALS, "I can't reach anybody for you, as I have no phone and no mail."),
        SLOTS,
        weight=0.8,
    ),
    Rule(
        (
            "Order {ordered}.", "Order {ordered} for me.", "Buy {ordered} online.", "Get me "
            "{ordered}.", "Bring me {ordered}.", "Deliver {ordered} to my house.", "Pay for {ordered}.",
            "Buy me {ordered} with my card.", "Put {ordered} on my shopping list.", "Pick up {ordered} "
            "on the way.", "Book {booked}.", "Book me {booked}.", "Reserve {booked}.", "Cancel {booked}.",
            "Reserve {booked} for tomorrow.", "Make a booking: {booked}.", "Arrange {booked} for me.",
            "Pay for {booked}.", "Get me {booked}.", "Change my booking: {booked}.",
        ),
        (*REFUSALS, "I can't order, book or pay for anything: I can only write text."),
        SLOTS,
        weight=0.8,
    ),
    Rule(
        (
            "Turn off {switched}.", "Turn on {switched}.", "Switch on {switched}.", "Switch off "
            "{switched}.", "Turn {switched} up.", "Turn {switched} down.", "Restart {switched}.",
            "Play {played}.", "Play me {played}.", "Put on {played}.", "Stop {played}.", "Record {played}.",
            "Turn {played} louder.", "Skip {played}.", "Sing {played} for me.", "Download {played}.",
            "Open {opened}.", "Close {opened}.", "Open {opened} for me.", "Lock {opened}.",
            "Click on {opened}.", "Save {opened}.", "Print {opened}.", "Delete {opened}.",
            "Set an alarm for {time}.", "Set a timer for {time}.", "Wake me up at {time}.",
            "Remind me at {time} to take my pills.", "Put a meeting in my calendar for {time}.",
            "Start the washing machine at {time}.", "Remind me about the dentist, {time}.",
        ),
        (*REFUSALS, "I'm not connected to any device or app, so I can't switch or open things."),
        SLOTS,
        weight=0.8,
    ),
    Rule(
        (
            "Look at {seen}.", "What is in {seen}?", "Describe {seen}.", "What do you see in {seen}?",
            "Who is the person in {seen}?", "Make {seen} brighter.", "Crop {seen}.", "Edit {seen}.",
            "Remove the background of {seen}.", "Which breed is the dog in {seen}?", "Tell me what "
            "{seen} shows.", "Read the text in {seen}.", "Watch {seen} and sum it up.",
            "Listen to {heard}.", "Transcribe {heard}.", "What do you hear in {heard}?",
            "Who is speaking in {heard}?", "Write down the words of {heard}.", "Is {heard} in tune?",
            "Which singer is on {heard}?", "Tell me what you think of {heard}.",
            "Draw {made}.", "Paint {made}.", "Draw me {made}.", "Show me a picture of {made}.",
            "Make an image of {made}.", "Generate a photo of {made}.", "Make a video of {made}.",
            "Take a photo of {made}.", "Print a poster of {made}.", "Create a 3D model of {made}.",
            "Sketch {made}.", "Animate {made}.",
        ),
        (*REFUSALS, "I can't see, hear or draw anything: text is all that I work with."),
        SLOTS,
        weight=0.9,
    ),
    Rule(
        (
            "Clean my room.", "Wash the dishes.", "Do my laundry.", "Feed my cat.", "Walk my dog.",
            "Drive me home.", "Pick me up from the station.", "Pay my electricity bill.",
            "Transfer 100 pounds to {name}.", "Log in to my bank account.", "Check my emails.",
            "Read my new messages.", "What is in my inbox?", "Find my keys.", "Where is my phone?",
            "Find my phone.", "What is on my desk?", "Scan my fridge.", "Look out of the window.",
            "Search the web for cheap shoes.", "Google it for me: cheap flights to {city}.",
            "Browse the internet for jobs in {city}.", "Install the update on my laptop.",
            "Run this program on my computer.", "Delete my files.", "Post a photo on Instagram.",
            "Tweet that I am happy.", "Share my location with {name}.", "Take a selfie with me.",
            "Take a note in my notebook app.", "Write a book of 800 pages.", "Write ten thousand words "
            "about tea.", "List every word of the English language.", "Recite the whole Bible.",
            "Count to one million.", "Read this aloud.", "Say hello in a deep voice.",
            "Speak to me in your voice.", "Whisper something.", "Give me a hug.", "Hold my hand.",
            "Shake my hand.", "Make me a sandwich.", "Cook dinner for {name}.", "Pour me a glass of "
            "water.", "Water my plants.", "Mow the lawn.", "Fix my bike in the garage.", "Go shopping.",
            "Vote for me.", "Sign this contract for me.", "Fill in the form on this website.",
            "Apply for the job in {city} for me.", "Monitor my heart rate.", "Measure my temperature.",
            "Track my steps.", "Navigate me to {city}.", "Follow {name} on Twitter for me.",
            "Add {name} to my contacts.", "Block {name} on my phone.", "Meet me in {city}.",
            "Come to my party.", "Write on my wall.", "Remember this conversation for next year.",
            "Check my bank balance.", "Lower the blinds.", "Connect to my printer.", "Play chess on "
            "my board.", "Translate what the man next to me says.", "Pass me the salt.",
        ),
        REFUSALS,
        SLOTS,
        weight=2.4,
    ),
)  # fmt: skip

TASKS = rows((
    ("turn off notifications on a phone", "Open Settings, then Notifications, and switch them off."),
    ("turn on the lights in Minecraft", "Place torches or glowstone and the room becomes bright."),
    ("turn off a laptop safely", "Save your work, then choose Shut down from the menu."),
    ("turn down a job offer politely", "Thank them, say no clearly and wish them well."),
    ("write an email to {family}", "Start with a greeting, say your point, and end with thanks."),
    ("end an email to {family}", "Write 'Kind regards' and your name."),
    ("start a letter to {family}", "Write 'Dear' and the name, then say why you write."),
    ("call a function in Python", "Write its name with brackets, for example `greet('Anna')`."),
    ("call in sick at work", "Phone early, say that you are ill and when you may be back."),
    ("start a phone call politely", "Say hello and your name, and ask if it is a good time."),
    ("book a flight cheaply", "Book some weeks early and fly in the middle of the week."),
    ("book a hotel", "Compare prices on two sites, read reviews and book on the hotel's page."),
    ("order a pizza in Italian", "Say 'Vorrei una pizza, per favore'."),
    ("order coffee in French", "Say 'Un cafe, s'il vous plait'."),
    ("order a list in Python", "Use `sorted(items)` for a new list or `items.sort()` in place."),
    ("open a file in Python", "Use `with open('notes.txt') as file: text = file.read()`."),
    ("open a jar", "Warm the lid under hot water and twist it with a dry cloth."),
    ("open a bank account", "Bring a proof of who you are and of where you live to the bank."),
    ("play the guitar", "Learn three chords, practise slow changes and play each day."),
    ("play chess", "Learn how the pieces move, then protect your king and trap the other."),
    ("play a song on the piano", "Learn each hand alone and slowly, then put them together."),
    ("draw a cat", "Begin with two circles for head and body, then add ears and a tail."),
    ("draw a house", "Draw a square, put a triangle on it and add a door and windows."),
    ("paint a sunset", "Blend yellow, orange and red upwards and add a dark shore."),
    ("take a good photo of {made}", "Use soft light, hold still and focus on the middle."),
    ("edit a photo", "Crop it first, then adjust the light and at last the colours."),
    ("make a video call", "Choose an app, pick the person and press the camera button."),
    ("set an alarm on a phone", "Open the clock app, choose Alarm, set the time and save."),
    ("set a table for guests", "Put forks on the left, and knives and spoons on the right."),
    ("send a parcel abroad", "Pack it well, fill in the customs form and take it to the post."),
    ("send an email with a photo", "Press the paper clip, choose the photo and send."),
    ("write a text message to a friend", "Keep it short and friendly, and say what you need."),
    ("clean an oven", "Spread a paste of baking soda, wait an hour and wipe it off."),
    ("wash a wool jumper", "Wash it by hand in cool water and dry it lying flat."),
    ("walk a dog that pulls", "Stop whenever it pulls and go on when the lead is loose."),
    ("feed a cat", "Give small meals twice a day and fresh water always."),
    ("water plants", "Water the soil in the morning when its top feels dry."),
    ("cook dinner for guests", "Choose a dish you know, and prepare all you can beforehand."),
    ("make a sandwich", "Put cheese, tomato and lettuce between two slices of bread."),
    ("make a cup of tea", "Pour boiling water on the tea and wait for three minutes."),
    ("listen well", "Let people finish, look at them and ask about what they said."),
    ("read aloud well", "Read slowly, pause at full stops and look up now and then."),
    ("sing better", "Stand straight, breathe deeply and practise scales each day."),
    ("print a page", "Press Ctrl and P, choose the printer and press Print."),
    ("print text in Python", "Use `print('hello')`."),
    ("set up wifi", "Plug in the router, choose its network and type its password."),
    ("delete a file in Linux", "Run `rm name`; look twice, as it cannot be undone."),
    ("remember appointments", "Write them in a calendar and look at it each morning."),
    ("save money on electricity", "Switch off what you do not use and buy LED lamps."),
    ("describe a picture in an essay", "Say what it shows, then the details and the mood."),
    ("transcribe an interview", "Play it slowly, pause often and write who speaks."),
    ("search the web well", "Use a few exact words, and quotes for a phrase."),
    ("invite {family} to dinner", "Say the day and time, and ask what they like to eat."),
    ("remind {family} kindly of a date", "Send a short, friendly note some days before."),
    ("apply for a job", "Send a short letter and a tidy CV that fit the job."),
))  # fmt: skip
QUESTIONS = rows((
    ("What can I write in an email to my boss?", "Be short: greet, say your point, and thank."),
    ("Write an email to {family} that says I am ill.", "Hello, I am ill today. Kind regards."),
    ("Write a short thank-you note to {family}.", "Thank you so much, it made me very happy!"),
    ("Write a birthday wish for {name}.", "Happy birthday, {name}! Have a wonderful day."),
    ("Write an invitation for {name}.", "Dear {name}, please come to my party on Saturday."),
    ("Describe what a sunset looks like.", "The sky turns gold, orange and red as the sun sinks."),
    ("Describe the Mona Lisa.", "It shows a calm woman with a faint smile before hills."),
    ("What does a giraffe look like?", "It is very tall, with a long neck and brown patches."),
    ("What is an alarm clock?", "It is a clock that rings at a set time."),
    ("What is a video call?", "It is a call in which people see and hear each other."),
    ("What is a hyperlink?", "It is a text that opens another page when it is clicked."),
    ("What is an x-ray?", "It is a picture of the inside of a body, made with rays."),
    ("What is a selfie?", "It is a photo that somebody takes of themselves."),
    ("What is a calendar?", "It is a chart of the days and months of a year."),
    ("Who invented the telephone?", "Alexander Graham Bell patented the telephone in 1876."),
    ("Who invented the light bulb?", "Thomas Edison made the first practical light bulb."),
    ("Who invented pizza?", "Pizza as we know it comes from Naples in Italy."),
    ("Who directed the film Jaws?", "Steven Spielberg directed Jaws."),
    ("How does a camera work?", "A lens throws light on a sensor, which stores the picture."),
    ("How does a light switch work?", "It closes or opens a circuit, so the current flows or not."),
    ("How does a telephone work?", "It turns sound into signals and signals back into sound."),
    ("How does a radio work?", "It catches radio waves and turns them into sound."),
    ("What is the film Titanic about?", "It is about love on a ship that sinks in 1912."),
    ("What is jazz?", "Jazz is music with swing and free invention, from New Orleans."),
    ("What should I put on a shopping list?", "Bread, milk, eggs, fruit and vegetables."),
    ("Count to five.", "One, two, three, four, five."),
    ("Count to ten.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."),
    ("Say hello in French.", "Bonjour!"),
    ("Say thank you in German.", "Danke!"),
    ("Write the word sea three times.", "Sea, sea, sea."),
    ("Give me a name for a dog.", "How about Bella?"),
    ("Give me a title for a story about a cat.", "How about The Cat on the Roof?"),
    ("Tell me a joke.", "Why did the bicycle fall over? It was two tired."),
))  # fmt: skip

CONTRAST = (
    Rule(
        (
            "How do I {task.ask}?", "How can I {task.ask}?", "Tell me how to {task.ask}.",
            "What is the best way to {task.ask}?", "Explain how to {task.ask}.",
            "Teach me how to {task.ask}.", "Give me some tips on how to {task.ask}.",
            "What is the easiest way to {task.ask}?", "I want to {task.ask}. How do I start?",
            "What do I need to know to {task.ask}?", "I have to {task.ask}, any advice?",
            "How should a beginner {task.ask}?",
        ),
        ("{task.reply}",),
        {**SLOTS, "task": TASKS},
        weight=1.6,
    ),
    Rule(("{question.ask}",), ("{question.reply}",), {**SLOTS, "question": QUESTIONS}),
)  # fmt: skip
