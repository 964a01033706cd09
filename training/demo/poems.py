"""Haiku of five, seven and five syllables, and two-line rhymes."""

from training.demo.grammar import Rule, rows

HAIKU = rows((
    ("the sea", "Grey waves touch the shore\nand carry the light away.\nThe gulls cry for more."),
    ("rain", "Soft rain on the roof,\na thousand tiny fingers\nplaying one slow song."),
    ("snow", "White snow falls all night.\nIn the morning every road\nis a clean new page."),
    ("autumn", "A red leaf lets go,\nturns twice in the cool evening\nand lies down to sleep."),
    ("spring", "Green buds on the branch,\nthe river wakes and hurries.\nBees begin their work."),
    ("summer", "Long warm afternoon,\nthe grass is loud with crickets.\nEven shadows rest."),
    ("winter", "Bare trees, a pale sun.\nMy breath walks ahead of me\ndown the frozen lane."),
    ("the moon", "The moon climbs the hill,\na lantern without a hand\nlighting empty fields."),
    ("a cat", "The cat on the sill\nwatches one small bird all day\nand dreams of flying."),
    ("a dog", "Muddy paws, wet nose:\nthe dog brings me half a stick\nas if it were gold."),
    ("a frog", "An old quiet pond.\nA green frog sits on a leaf,\nthen only the rings."),
    ("a tree", "The tree gives its shade\nto everyone who is tired\nand asks for nothing."),
    ("coffee", "Steam above the cup,\nthe kitchen still dark and cold:\nmorning may begin."),
    ("tea", "Hot tea, a warm bowl.\nThe leaves unfold in silence.\nSo do my cold hands."),
    ("a mountain",
     "The mountain stands still\nand lets the clouds go round it.\nIt has time enough."),
    ("a river", "The river runs on,\npast mills and towns and meadows,\nand forgets them all."),
    ("the night",
     "The night puts out lights\none window after the next,\nthen it lights the stars."),
    ("the stars", "So many small fires\nfar above the sleeping town:\nnobody counts them."),
    ("the wind", "The wind has no hands,\nyet every door in the house\nopens when it knocks."),
    ("a flower",
     "Small yellow flower,\ngrown in a crack of the wall:\nthe whole street looks bright."),
    ("a computer",
     "The screen glows all night.\nOne small bug hides in the code\nuntil morning comes."),
    ("friendship", "Two cups, one table.\nWe say almost nothing now\nand we both know why."),
    ("bread", "Flour, water, salt,\nand a night to grow in peace:\nthe house smells of bread."),
    ("the sun", "The sun on my face\nbefore the town is awake:\na letter of light."),
    ("a bicycle", "Two wheels and a bell,\nthe whole long hill before me\nand wind in my sleeves."),
    ("a bird", "One bird on the wire\nsings into the cold morning.\nThe street stops to hear."),
))  # fmt: skip
RHYMES = rows((
    ("a cat", "The cat sat quiet by the door\nand listened to the ocean roar."),
    ("the sea", "The sea is wide, the sea is blue,\nit sings a song for me and you."),
    ("rain", "The rain came down on roof and tree\nand made a pond for you and me."),
    ("a dog", "My dog can run, my dog can play,\nhe wags his tail the livelong day."),
    ("the moon",
     "The moon looked in, so round and white,\nand wished the sleepy world good night."),
    ("snow", "The snow lies deep on hill and lane\nand taps so softly on the pane."),
    ("spring", "The spring is here, the birds all sing\nand joy is found in everything."),
    ("a tree", "There stands a tall and leafy tree,\nas old as anyone can be."),
))  # fmt: skip

RULES = (
    Rule(
        (
            "Write a haiku about {haiku.ask}.", "Write me a haiku about {haiku.ask}.",
            "A haiku about {haiku.ask}.", "Compose a haiku on {haiku.ask}.",
            "Give me a haiku about {haiku.ask}.", "I would like a haiku about {haiku.ask}.",
            "Make up a haiku about {haiku.ask}.", "Can I have a haiku about {haiku.ask}?",
            "Do you know a haiku about {haiku.ask}?",
        ),
        ("{haiku.reply}",),
        {"haiku": HAIKU},
        weight=3.0,
        whole=True,
    ),
    Rule(
        (
            "Write a short poem about {poem.ask}.", "Write a rhyme about {poem.ask}.",
            "Give me a two-line poem about {poem.ask}.",
            "Write two lines that rhyme about {poem.ask}.", "Write a poem about {poem.ask}.",
        ),
        ("{poem.reply}",),
        {"poem": RHYMES},
        weight=0.6,
        whole=True,
    ),
)  # fmt: skip
