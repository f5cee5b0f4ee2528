"""The common-sense knowledge behind the questions: what the tabletop's objects are for."""

from __future__ import annotations

# Each task is a bare verb phrase that needs exactly this category and never names it. The last three of each are held
# out for the unseen phrasings.
TASKS = {
    "mug": ("hold hot coffee", "drink hot tea", "have some cocoa", "keep my coffee warm", "pour hot tea into",
            "serve an espresso", "sip a hot chocolate",
            "have my morning coffee", "pour the hot cocoa into", "sip some tea"),
    "bowl": ("eat soup", "mix a salad", "have cereal with milk", "serve porridge", "beat some eggs",
             "pour the noodle soup into", "toss a salad",
             "have some soup", "eat my cereal", "serve the salad"),
    "bottle": ("carry water on a hike", "keep juice under a cap", "take water to the gym", "store lemonade for later",
               "close my water with a cap", "bring juice on a trip", "refill my water",
               "take juice on a hike", "store water for the trip", "carry lemonade to the gym"),
    "can": ("open a pull tab", "recycle some tin", "have a fizzy soda", "pop open a cold soda", "throw tin in the bin",
            "crush tin for recycling", "drink soda from tin",
            "open a fizzy soda", "recycle the tin", "pull the tab of a soda"),
    "hammer": ("drive a nail into wood", "pound a peg", "put a nail in the wall", "hit a chisel", "knock a tent peg in",
               "bang in some nails", "drive this nail in",
               "pound a nail into the wall", "knock the nail in", "hit the tent peg"),
    "screwdriver": ("tighten a loose screw", "open the battery cover", "fasten the screws of a shelf", "turn a screw",
                    "take the screw out", "undo these screws", "tighten the hinge screw",
                    "turn the loose screw", "fasten a screw", "take out the screws of the cover"),
    "banana": ("feed a monkey", "eat a fruit with a long peel", "peel a yellow fruit", "take off a peel and eat",
               "bring the monkey a treat", "have a curved fruit", "peel a snack",
               "peel and eat a fruit", "give the monkey a fruit", "have a yellow fruit with a peel"),
    "apple": ("bake a fruit pie", "bite into a round fruit", "make cider", "feed a horse", "bring the teacher a fruit",
              "fill a pie with fruit", "eat a crunchy fruit",
              "give a horse a fruit", "make a fruit pie", "eat a round crunchy fruit"),
    "book": ("read a story", "study for the exam", "learn about history", "look up a chapter", "turn some pages",
             "read at bedtime", "press a flower between pages",
             "read a chapter", "study some history", "learn for the exam"),
    "knife": ("slice bread", "spread butter", "cut the cheese", "chop an onion", "carve the meat", "slice a tomato",
              "butter my toast",
              "cut the bread", "chop a tomato", "slice some cheese"),
    "sponge": ("wash the dishes", "wipe a spill", "scrub the sink", "clean a dirty plate", "soak up water",
               "wipe the counter", "rinse the greasy pan",
               "wipe the dirty counter", "scrub the dishes", "soak up a spill"),
    "pen": ("sign a document", "write a note", "fill in a form", "draw a sketch", "write my name",
            "put my signature on a letter", "jot down a number",
            "write a letter", "sign a form", "draw my signature"),
    "flashlight": ("light a dark room", "see at night", "look under the bed in the dark", "find my way in a blackout",
                   "shine light into a cave", "search the dark attic", "light up the path at night",
                   "see in a dark cave", "shine light under the bed", "find the path at night"),
    "scissors": ("cut paper", "trim a ribbon", "cut out a picture", "snip a thread", "trim my hair",
                 "cut a coupon from the newspaper", "snip some ribbon",
                 "cut the ribbon", "snip the paper", "cut a thread"),
}  # fmt: skip

REASONS = {
    "mug": "hot drinks need a mug",
    "bowl": "soup and cereal need a bowl",
    "bottle": "carrying drinks needs a bottle",
    "can": "soda in tin is a can",
    "hammer": "nails need a hammer",
    "screwdriver": "screws need a screwdriver",
    "banana": "a long peel means a banana",
    "apple": "a round fruit is an apple",
    "book": "reading needs a book",
    "knife": "slicing food needs a knife",
    "sponge": "cleaning needs a sponge",
    "pen": "writing needs a pen",
    "flashlight": "the dark needs a flashlight",
    "scissors": "snipping needs scissors",
}

# Tasks that fit several categories: categories, reason, tasks. The last two are held out for the unseen phrasings.
SHARED_TASKS = (
    (("mug", "bottle", "can"), "a drink comes in a mug, bottle or can",
     ("drink something", "quench my thirst", "get a drink", "have a sip of any drink", "stop being thirsty",
      "drink anything", "have a drink")),
    (("banana", "apple"), "a fruit snack is a banana or apple",
     ("eat a snack", "have some fruit", "eat something healthy", "stop being hungry", "make a fruit salad",
      "have a healthy snack", "eat some fruit")),
    (("hammer", "screwdriver"), "repairs need a hammer or screwdriver",
     ("repair a chair", "fix the furniture", "do some handiwork", "mend the broken shelf", "build a bird house",
      "repair the shelf", "fix a broken chair")),
    (("knife", "scissors"), "cutting needs a knife or scissors",
     ("cut something", "cut a piece of string", "open a sealed bag", "cut open a package", "cut this rope",
      "cut a string", "open the package")),
    (("book", "pen"), "school work needs a book or pen",
     ("do my homework", "prepare for school", "work at my desk", "take a class", "go to school",
      "do some school work", "prepare for class")),
)  # fmt: skip

# Secondary colours of an object. Questions by colour alone avoid them.
SECONDARY_COLORS = {
    "bottle": ("white", "black"),
    "can": ("white",),
    "book": ("white",),
    "flashlight": ("black", "white"),
    "hammer": ("black",),
    "sponge": ("black", "green"),
    "pen": ("black",),
    "apple": ("green",),
}

# What a part is for: category, part, questions. The object may be named here.
PART_QUESTIONS = (
    ("mug", "handle", ("the handle of the mug", "where should i hold the mug?", "the part of the mug to grip")),
    ("hammer", "handle", ("the handle of the hammer", "where should i grip the hammer?")),
    ("hammer", "head", ("the head of the hammer", "the part of the hammer that hits the nail")),
    ("screwdriver", "handle", ("the handle of the screwdriver", "where should i hold the screwdriver?")),
    ("screwdriver", "shaft", ("the shaft of the screwdriver", "the metal part of the screwdriver")),
    ("knife", "handle", ("the handle of the knife", "where can i safely hold the knife?")),
    ("knife", "blade", ("the blade of the knife", "the sharp part of the knife")),
    ("bottle", "cap", ("the cap of the bottle", "what do i twist to open the bottle?")),
    ("scissors", "handles", ("the handles of the scissors", "where do my fingers go in the scissors?")),
    ("flashlight", "head", ("the head of the flashlight", "the end of the flashlight where the light comes out")),
    ("pen", "cap", ("the cap of the pen", "the part of the pen to pull off before writing")),
)
