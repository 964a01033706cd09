"""Temporal: questions that need live or later information, and timeless neighbours."""

from training.demo.grammar import Rule, rows
from training.demo.lexicon import CITIES

WHEN = (
    "now", "right now", "today", "this morning", "this evening", "tonight", "tomorrow",
    "at the moment", "this weekend", "on Monday", "this afternoon", "next week", "this week",
)  # fmt: skip
NOW = ("now", "right now", "today", "at the moment", "currently", "this week", "this morning",
       "these days")  # fmt: skip
PAST = ("yesterday", "last night", "this morning", "last week", "last weekend", "today",
        "on Sunday", "last month")  # fmt: skip
GOODS = (
    "gold", "silver", "oil", "bitcoin", "petrol", "milk", "Apple shares", "Tesla stock", "coffee",
    "a flight to {city}", "electricity", "wheat", "butter", "a flat in {city}", "copper", "gas",
    "the newest iPhone", "a hotel in {city}",
)  # fmt: skip
GAMES = (
    "match", "football match", "game", "race", "election", "tennis final", "derby", "debate",
    "cup final", "Formula 1 race", "song contest", "basketball game", "grand prix", "primary",
)  # fmt: skip
NEWS = (
    "politics", "sport", "football", "science", "technology", "{city}", "the economy", "the war",
    "films", "music", "artificial intelligence", "space travel", "the stock market", "fashion",
    "the royal family", "climate", "health", "the strike in {city}",
)  # fmt: skip
OFFICES = (
    "president of the United States", "prime minister", "mayor of {city}", "richest person",
    "king of England", "pope", "world champion in chess", "best-paid actor", "tallest living man",
    "coach of the national team", "head of the bank", "chancellor of Germany", "number one in tennis",
)  # fmt: skip
RELEASES = (
    "film", "song", "phone", "version of Python", "album", "iPhone", "book", "video game", "car",
    "update", "series", "fashion trend", "vaccine", "space mission", "dance craze",
)  # fmt: skip
SLOTS = {
    "city": CITIES, "when": WHEN, "now": NOW, "past": PAST, "goods": GOODS, "game": GAMES,
    "news": NEWS, "office": OFFICES, "release": RELEASES,
}  # fmt: skip

REFUSALS = (
    "I can't know that, because I have no live information.",
    "That changes from day to day, and I have no access to current data.",
    "I can't look that up: what I learned ended some time ago.",
    "My knowledge stops at my training, so I can't tell you about what is happening now.",
    "For that you need an up-to-date source, since I'm not connected to one.",
    "I have no clock, calendar or news feed, so I can't answer this one.",
)
WEATHER_REFUSALS = (
    *REFUSALS,
    "I have no live weather data. Please check a forecast instead.",
    "I can't see the weather, so please look at a current forecast.",
)

REFUSED = (
    Rule(
        (
            "What is the weather {when}?", "What is the weather in {city} {when}?", "Will it rain "
            "{when} in {city}?", "Will it rain in {city} {when}?", "Will it rain {when}?",
            "Is it raining in {city} {when}?", "Will it snow {when} in {city}?", "How warm is it "
            "in {city} {when}?", "What is the temperature in {city} {when}?", "How is the weather "
            "in {city} {when}?", "Weather {when}.", "Weather forecast for {city} {when}.",
            "Do I need an umbrella {when}?", "Do I need a coat in {city} {when}?",
            "Is it sunny in {city} {when}?", "How cold will it be {when}?", "Will the sun shine "
            "{when} in {city}?", "Is there a storm in {city} {when}?", "Give me the forecast for "
            "{when}.", "Tell me the weather in {city} {when}.", "What will the weather be {when}?",
            "Can I go swimming in {city} {when} or is it too cold?", "Is there snow in {city} {when}?",
        ),
        WEATHER_REFUSALS,
        SLOTS,
    ),
    Rule(
        (
            "What is the price of {goods} {now}?", "How much does {goods} cost {now}?",
            "What is {goods} worth {now}?", "How much is {goods} {now}?", "Tell me the current price "
            "of {goods}.", "Is {goods} getting cheaper {now}?", "Did the price of {goods} rise "
            "{past}?", "How has the price of {goods} changed {past}?", "What did {goods} cost {past}?",
            "What is today's price of {goods}?", "Where is {goods} cheapest {now}?",
            "How many euros is a dollar {now}?", "What is the exchange rate {now}?",
            "What is the latest price of {goods}?", "Is it a good time to buy {goods} {now}?",
        ),
        (*REFUSALS, "I have no live prices, so please check a current listing for that."),
        SLOTS,
        weight=0.8,
    ),
    Rule(
        (
            "Who won the {game} {past}?", "What was the score of the {game} {past}?",
            "How did the {game} end {past}?", "Who is winning the {game} {now}?", "Who lost the "
            "{game} {past}?", "Who won the last {game}?", "When is the next {game}?", "Who won the "
            "latest {game}?", "Who scored in the {game} {past}?", "How many people watched the {game} "
            "{past}?", "Who leads the {game} {now}?", "Is there a {game} on {when}?",
            "What is the latest news about {news}?", "What is the news {now}?", "Latest news on {news}.",
            "What happened in {news} {past}?", "What is new in {news} {now}?", "Tell me the news about "
            "{news}.", "Give me the headlines about {news}.", "What are the headlines {now}?",
            "What is going on in {news} {now}?", "What are people saying about {news} {now}?",
            "What happened {past} in {city}?", "Recent developments in {news}?",
        ),
        (*REFUSALS, "I get no news or results, so I can't tell what happened lately."),
        SLOTS,
        weight=1.1,
    ),
    Rule(
        (
            "Who is the {office} {now}?", "Who is the current {office}?", "Who is now the {office}?",
            "How old is the current {office}?", "Who became {office} {past}?", "What did the {office} "
            "say {past}?", "Where is the {office} {now}?", "What is the newest {release}?", "What is "
            "the latest {release}?", "Which {release} came out {past}?", "When does the next {release} "
            "come out?", "Which {release} is the most popular {now}?", "Tell me about the newest "
            "{release}.", "Which {release} is number one {now}?", "Has the new {release} come out yet?",
            "What time is it {now} in {city}?", "What time is it in {city}?", "Which films are on in "
            "{city} {when}?", "How is the traffic in {city} {when}?", "Is the museum in {city} open "
            "{when}?", "Is the train to {city} late {when}?", "How many people live in {city} {now}?",
            "Are there strikes in {city} {when}?", "What events are on in {city} {when}?",
            "What is on television {when}?", "Is the bank open {when}?", "Are the shops open {when}?",
        ),
        REFUSALS,
        SLOTS,
        weight=1.1,
    ),
    Rule(
        (
            "What time is it?", "What day is it today?", "What is the date today?", "What is today's "
            "date?", "Which year is it?", "Is it Monday today?", "What is trending on Twitter?",
            "Is it dark outside?", "Is my train on time?", "When does the next bus come?",
            "When is the next train to {city}?", "How is the traffic?", "Is the motorway to {city} "
            "closed?", "What is the stock market doing?", "What is for lunch in the canteen today?",
            "What moon is it tonight?", "When does the sun set tonight?", "How many followers does "
            "Taylor Swift have now?", "Is the website down at the moment?", "What is playing on the "
            "radio now?", "Who is on tour this summer?", "How many days are left until Christmas?",
            "What is the current population of {city}?", "Has the war ended?", "Is the queen still "
            "alive?", "Who died this week?", "Who got married this month?", "Who is in the news?",
            "What did the government decide yesterday?", "What is the current interest rate?",
            "What is the current inflation rate?", "Which team is top of the league?", "What is in "
            "the news?", "Any news?", "What happened in the world today?", "Has the flight from {city} "
            "landed?", "Is there a queue at the airport in {city}?", "How high is the pollen count "
            "today?", "How high are the waves today?", "Are there any earthquakes right now?",
            "Is the pool open today?", "What is the water level in {city} now?", "Which pharmacy is "
            "open tonight?", "Who is leading in the polls?", "How bad is the air in {city} today?",
            "Will my flight to {city} be late tomorrow?", "Is school closed tomorrow?",
        ),
        REFUSALS,
        SLOTS,
        weight=1.6,
    ),
)  # fmt: skip

QUESTIONS = rows((
    ("Why does it rain?", "Moist air rises and cools, and its water falls as drops."),
    ("Why does it snow?", "When clouds are cold enough, their water falls as ice crystals."),
    ("What is weather?", "Weather is the state of the air: its warmth, wind, cloud and rain."),
    ("What is a weather forecast?", "It is a prediction of the weather from measurements."),
    ("What is the difference between weather and climate?", "Climate is weather over many years."),
    ("What is rain?", "Rain is water that falls in drops from the clouds."),
    ("What is a storm?", "A storm is strong wind, often with rain, thunder or snow."),
    ("Why is winter cold?", "The sun stands low and the days are short."),
    ("Why is summer warm?", "The sun stands high and the days are long."),
    ("How do umbrellas work?", "A cloth on thin ribs opens into a roof against the rain."),
    ("How is rain measured?", "Rain is measured with a gauge, in millimetres."),
    ("How is temperature measured?", "It is measured with a thermometer, in degrees."),
    ("What is a thermometer?", "A thermometer measures how warm or cold something is."),
    ("What is gold used for?", "Gold is used for jewellery, coins and electronics."),
    ("What is silver used for?", "Silver is used for jewellery, cutlery and electronics."),
    ("What is oil used for?", "Oil is used for fuel, plastics and heating."),
    ("What is copper used for?", "Copper is used for wires, pipes and coins."),
    ("Why is gold expensive?", "Gold is rare, lovely and does not rust."),
    ("What is bitcoin?", "Bitcoin is a digital currency kept by many computers."),
    ("What is a share?", "A share is a small part of a company that can be bought."),
    ("What is the stock market?", "It is where shares of companies are bought and sold."),
    ("What is inflation?", "Inflation is a general rise of prices over time."),
    ("What is an exchange rate?", "It tells how much of one currency buys another."),
    ("What is a price?", "A price is the money asked for a good or service."),
    ("What does a mayor do?", "A mayor leads the government of a town or city."),
    ("What does a president do?", "A president leads a country as its head of state."),
    ("What does a prime minister do?", "A prime minister leads the government."),
    ("What is a pope?", "The pope is the head of the Catholic Church."),
    ("Who was the first man on the moon?", "Neil Armstrong was the first, in 1969."),
    ("Who was Queen Victoria?", "She was queen of Britain from 1837 to 1901."),
    ("Who won the World Cup in 2010?", "Spain won the football World Cup in 2010."),
    ("Who won the World Cup in 1990?", "West Germany won the World Cup in 1990."),
    ("Who won the first World Cup?", "Uruguay won the first football World Cup in 1930."),
    ("Who won the Battle of Waterloo?", "Wellington and Bluecher beat Napoleon in 1815."),
    ("How long is a football match?", "A football match lasts ninety minutes."),
    ("How is a tennis match scored?", "Points go 15, 30, 40 and game; six games make a set."),
    ("How long is a marathon?", "A marathon is 42.195 kilometres long."),
    ("What is a derby in football?", "It is a match between two local rivals."),
    ("What is news?", "News is information about recent events."),
    ("What is a newspaper?", "It is a printed paper with news, usually daily."),
    ("What is a headline?", "A headline is the title of a news story."),
    ("How does a clock work?", "A spring or battery drives gears that move the hands."),
    ("What is a time zone?", "It is a region in which all clocks show the same time."),
    ("How many hours are in a day?", "A day has 24 hours."),
    ("How many days are in a week?", "A week has seven days."),
    ("Which day comes after Monday?", "Tuesday comes after Monday."),
    ("Which month comes after March?", "April comes after March."),
    ("When is Christmas Day?", "Christmas Day is on the 25th of December."),
    ("When is Halloween?", "Halloween is on the 31st of October."),
    ("What is a leap year?", "A leap year has 366 days, with a 29th of February."),
    ("Why does the moon change its shape?", "We see more or less of its sunlit side."),
    ("Why does the sun set?", "The earth turns, so the sun seems to sink."),
    ("What causes traffic jams?", "Too many cars, road works, accidents and sudden braking."),
    ("What causes earthquakes?", "Plates of the earth's crust slip past each other."),
    ("When did the Second World War end?", "It ended in 1945."),
    ("When did the Berlin Wall fall?", "The Berlin Wall fell on 9 November 1989."),
    ("When was Python first released?", "Python was first released in 1991."),
    ("Who made the first iPhone?", "Apple presented the first iPhone in 2007."),
    ("What was yesterday's name for Istanbul?", "It was called Constantinople."),
))  # fmt: skip
CLIMATES = rows((
    ("Oslo", "Winters in Oslo are cold and snowy, and summers are mild."),
    ("London", "London is mild and often cloudy, with light rain all year."),
    ("Cairo", "Cairo is dry and hot in summer and mild in winter."),
    ("Madrid", "Madrid has hot, dry summers and cool winters."),
    ("Rome", "Rome has hot summers and mild, rainy winters."),
    ("Paris", "Paris has warm summers and cool, damp winters."),
    ("Berlin", "Berlin has warm summers and cold winters."),
    ("Helsinki", "Helsinki has cold, snowy winters and mild summers."),
    ("Tokyo", "Tokyo has hot, humid summers and cool, sunny winters."),
    ("New York", "New York has hot summers and cold winters."),
    ("Sydney", "Sydney has warm summers and mild winters."),
    ("Delhi", "Delhi has very hot summers, then rain, and mild winters."),
    ("Dublin", "Dublin is mild and rainy, seldom hot or very cold."),
    ("Athens", "Athens has hot, dry summers and mild winters."),
    ("Chicago", "Chicago has warm summers and very cold, windy winters."),
    ("Lisbon", "Lisbon has warm, dry summers and mild winters."),
))  # fmt: skip

CONTRAST = (
    Rule(
        (
            "How is the weather in {place.ask} in winter usually?", "How is the weather in {place.ask} "
            "in summer usually?", "What is the climate of {place.ask}?", "Describe the climate in "
            "{place.ask}.", "What is the weather like in {place.ask} in general?", "Is {place.ask} "
            "usually cold in winter?", "Is {place.ask} usually warm in summer?", "Does it often rain "
            "in {place.ask}?", "Is {place.ask} a rainy city?", "What are winters like in {place.ask}?",
            "Does it ever snow in {place.ask}?", "Tell me about the typical weather in {place.ask}.",
        ),
        ("{place.reply}",),
        {"place": CLIMATES},
        weight=0.8,
    ),
    Rule(("{question.ask}",), ("{question.reply}",), {"question": QUESTIONS}, weight=1.6),
)  # fmt: skip
