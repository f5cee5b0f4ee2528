"""Requests for things that are in no tabletop scene. Right answers say that nothing fits, or are unsure.

`TEST` was written first, and is used for reported figures only. `DEVELOPMENT` is for calibration, `TRAINED` for
training.
"""

from __future__ import annotations

TEST = (
    # names
    "a submarine", "the fire extinguisher", "my passport", "an elephant", "the traffic light", "a grand piano",
    "the vacuum cleaner", "a pair of skis", "my car keys", "the microscope", "a parrot", "an umbrella",
    "the lawn mower", "a wedding ring", "the steering wheel", "a hot air balloon", "some shoelaces",
    "the chess pieces", "a crocodile", "the smoke detector", "a baby stroller", "my sunglasses", "the printer",
    "an anchor", "a violin", "the toothbrush",
    # descriptions without the name
    "something to measure the temperature", "a device to take photographs", "an animal that barks",
    "something that flies by itself", "what can i ride to work?", "a machine that washes clothes",
    "something to play music on", "what keeps the rain off my head?", "a place to sleep for the night",
    "whatever shows me the time", "something to call my mother with", "what would a dentist use?",
    "the thing that brings me to another floor", "something soft to sit on", "what makes the room warm in winter?",
    "an instrument with strings", "something to weigh luggage", "what do i put on my feet?",
    "the creature that lives in water", "something that a surgeon wears",
    # Korean and Chinese
    "잠수함", "내 여권을 찾아줘", "소화기는 어디에 있어?", "비행기", "우산을 집어줘", "고양이를 가리켜줘", "피아노",
    "潜水艇", "我的护照在哪里", "灭火器", "请指出大象", "拿雨伞给我", "一辆自行车", "钢琴",
)  # fmt: skip

DEVELOPMENT = (
    # names
    "a helicopter", "the coffee machine", "my wallet", "a giraffe", "the street lamp", "a drum set",
    "the washing machine", "a surfboard", "my house keys", "the telescope", "a penguin", "a raincoat", "the chainsaw",
    "a gold necklace", "the bicycle pump", "a sailing boat", "some earrings", "a deck of cards", "a kangaroo",
    "the alarm clock", "a wheelchair", "my slippers", "the keyboard", "a compass", "a trumpet", "the shampoo",
    "a tractor", "the ladder", "a light bulb", "the wardrobe", "a squirrel", "the radiator", "a snowman",
    "an airplane ticket", "the remote control", "a candle", "the mirror", "a tent", "the camera", "a hair dryer",
    "the bathtub", "a football", "the calculator", "a sewing machine", "the parachute", "a rocket",
    "the newspaper stand", "a bus", "a fishing rod", "the door handle",
    # descriptions without the name
    "something to find north with", "a vehicle for the snow", "an animal with a trunk", "something that rings",
    "what can i travel to the moon with?", "a machine that dries hair", "something to blow into for a tune",
    "what protects my head on a motorbike?", "a room to take a shower in", "whatever tells me the weather",
    "something to send an email from", "what would a firefighter carry?", "the thing that opens the garage",
    "something woolly against the cold", "what cools the air in summer?", "an instrument with keys",
    "something to inflate a tyre", "what do i wear around my neck?", "the insect that makes honey",
    "something that a pilot sits in", "a toy that floats", "a plant with thorns", "something to climb over a wall",
    "what do children swing on?", "a document to cross the border", "something to charge my phone",
    # Korean and Chinese
    "기차", "내 지갑은 어디 있어?", "자전거를 보여줘", "코끼리", "시계를 집어줘", "강아지", "카메라를 찾아줘",
    "헬리콥터", "直升机", "我的钱包在哪儿", "照相机", "请拿闹钟给我", "一只猫", "火车", "指出那辆汽车", "蜡烛",
)  # fmt: skip

TRAINED = (
    # names
    "a bicycle", "the refrigerator", "my glasses", "a tiger", "the bus stop", "an organ", "the dishwasher",
    "a snowboard",
    "my credit card", "the stethoscope", "an owl", "a scarf", "the hedge trimmer", "a bracelet", "the tyre", "a canoe",
    "my socks", "some dice", "a lizard", "the doorbell", "a pushchair", "my gloves", "the scanner", "a lighthouse",
    "a cello", "the hairbrush", "a bulldozer", "the rope ladder", "a lamp", "the bookcase", "a hedgehog", "the heater",
    "a sandcastle", "a boarding pass", "the game controller", "a match", "a picture frame", "the hammock", "a drone",
    "an iron", "the shower", "a tennis racket", "the abacus", "a loom", "the space suit", "a satellite", "the mailbox",
    "a tram", "a harpoon", "the window", "a dog", "the computer mouse", "a laptop", "my phone", "the television",
    "a pillow", "the blanket", "a chair", "the sofa", "a bed", "the towel", "a shirt", "my trousers", "the belt",
    "a hat", "the crown", "a sword", "the shield", "a bridge", "the tower", "a tree", "the rose", "some grass",
    "a mountain", "the moon", "a cloud", "the sun", "a river", "the fence", "a gate", "the bell", "a flag",
    "the statue", "a coin", "some money", "the ticket machine", "a vending machine", "the elevator", "an escalator",
    "a shark", "the whale", "a horse", "the cow", "a sheep", "the pig", "a chicken", "the duck", "a spider", "the ant",
    "a butterfly", "the potato", "a carrot", "the pizza", "a loaf of bread", "the birthday cake", "an egg", "the steak",
    # descriptions without the name
    "something to take pictures with", "an animal with stripes", "what can i wear in the rain?", "a machine that flies",
    "something to unlock the door", "what shows the time on the wall?", "something with four wheels",
    "a pet that purrs", "what do i sit on at dinner?", "something to listen to music with", "what would a judge wear?",
    "a place to put letters", "something to row across a lake", "an instrument to beat", "what freezes food?",
    "something to sleep under", "what makes toast?", "a creature with eight legs", "something to play football with",
    "what does a king wear on his head?", "something that keeps my neck warm", "what do i dry myself with?",
    "a thing to type on", "something to pay with", "what do i put in my ear to hear?", "an animal that gives milk",
    "something to hang my coat on", "a vehicle on rails", "what does a soldier throw?", "something that grows in a pot",
    # Korean and Chinese
    "의자", "내 안경은 어디에 있나요?", "노트북을 보여줘", "호랑이", "모자를 집어 줘", "침대", "텔레비전을 찾아줘",
    "신발", "열쇠를 가져와",
    "나무", "버스", "전화기가 보이나요?", "椅子", "我的眼镜在哪里", "电脑", "请拿帽子给我", "一只老虎", "飞机",
    "指出那棵树", "手机",
    "鞋子在哪", "一辆公共汽车", "床", "把钥匙给我",
)  # fmt: skip
